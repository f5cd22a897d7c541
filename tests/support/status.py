"""A status service of a control plane that has nothing to tell."""

from typing import Final

from xds_server.server.facts import ServerState
from xds_server.server.status_api import StatusServicer
from xds_server.server.verdicts import Verdicts
from xds_server.xds.fleet import Fleet

STATE: Final = ServerState(
    version="",
    started=0.0,
    committed=0.0,
    build_failures=0,
    source="",
    outage_s=None,
    versions={},
    shadows=[],
    conditions=[],
    nacks={},
)

NO_VERDICTS: Final = Verdicts(name="one", records=dict, shadows=list)


def status_of(fleet: Fleet) -> StatusServicer:
    """What it says of this fleet."""
    return StatusServicer(state=lambda: STATE, explain=lambda _: None, fleet=fleet, verdicts=NO_VERDICTS)
