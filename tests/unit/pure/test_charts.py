"""Services as popular charts shape them: each port is routed, or a notice or a problem says why it is not.

`charts/services.in.yaml` holds the Services, `services.out.yaml` what each comes to; written anew as
`test_golden` says. `tests/envoy/test_charts.py` sends requests to them.
"""

import os
from pathlib import Path
from typing import Any

from tests.unit.pure.kube import from_yaml, world_of
from xds_server.base.ids import NamespacedName
from xds_server.base.yaml_text import dumped
from xds_server.core.conditions import errors, notices
from xds_server.core.objects import Service
from xds_server.core.plan import NOTHING, Plan
from xds_server.core.resolve import resolve

FOLDER = Path(__file__).parent / "charts"
SERVICES = FOLDER / "services.in.yaml"
EXPECTED = FOLDER / "services.out.yaml"
LEAST = 30


def test_each_service_comes_to_what_is_recorded() -> None:
    objects = from_yaml(SERVICES.read_text())
    plan = resolve(world_of(*objects))
    services = [each for each in objects if isinstance(each, Service)]
    assert len(services) >= LEAST
    result = dumped({each.name: _outcome(plan, each) for each in services})
    if os.environ.get("UPDATE_GOLDEN"):
        EXPECTED.write_text(result)
    assert result == EXPECTED.read_text()


def test_no_port_is_left_out_in_silence() -> None:
    objects = from_yaml(SERVICES.read_text())
    plan = resolve(world_of(*objects))
    for each in objects:
        if isinstance(each, Service) and "xds-shadow.io/http-ports" not in each.annotations:
            found = plan.services.get(NamespacedName(each.namespace, each.name), NOTHING)
            messages = [one.message for one in found.conditions]
            said = " ".join(messages)
            routed = {port.number for port in found.ports}
            assert all(port.port in routed or str(port.port) in said for port in each.ports), each.name
            assert found.ports or said, each.name


def _outcome(plan: Plan, service: Service) -> dict[str, Any]:
    found = plan.services.get(NamespacedName(service.namespace, service.name), NOTHING)
    shown: dict[str, Any] = {"routed": {port.number: port.protocol.value for port in found.ports}}
    for name, of_severity in (("notices", notices), ("problems", errors)):
        if said := [f"{each.reason}: {each.message}" for each in of_severity(found.conditions)]:
            shown[name] = said
    return shown
