"""Records of shadows, as a replica would have them."""

from collections import Counter

from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus, State
from xds_server.core.verdict.bodies import Bodies, Field
from xds_server.core.verdict.joining import Answer, Pair, Side
from xds_server.core.verdict.record import Record, Requests

CANARY = NamespacedName("staging", "web-canary")
GOOD = Answer(failed=False, code=200, latency_s=0.010, content_type="application/json")
BAD = Answer(failed=True, code=500, latency_s=0.100, content_type="text/plain")


def shadow(canary: NamespacedName = CANARY, state: State = State.ACTIVE) -> ShadowStatus:
    """The state of a shadow of the Service ``web``."""
    message = "100 percent of the requests are mirrored."
    return ShadowStatus(canary.namespace, canary.name, "web", state, "Mirroring", message, percent="100")


def record(
    pairs: int = 2_000,
    failed: int = 0,
    *,
    canary: NamespacedName = CANARY,
    since: float = 1_000.0,
    template: str = "a",
    envoy: str = "envoy-1",
    arrived: float = 1.0,
    differing: dict[Field, int] | None = None,
) -> Record:
    """A record of pairs of ``GET /``, in `failed` of which the canary alone failed. `arrived` is the share of
    the expected pairs that they are."""
    found = Record(
        canary=canary,
        service="web",
        since=since,
        template=template,
        primary=Requests(pairs, pairs, 0, 0),
        mirrored=Requests(pairs, pairs - failed, failed, 0),
        expected=pairs / arrived,
        envoys=frozenset({envoy}),
    )
    for number in range(pairs):
        pair = Pair((Side.CANARY, canary.name), "GET /", GOOD, BAD if number < failed else GOOD)
        found.tally.add(pair)
    if differing:
        found.bodies = Bodies(compared=Counter({"GET /": pairs}), differing=Counter(differing))
    return found
