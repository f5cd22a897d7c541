"""Golden pairs: `golden/NAME.in.yaml` holds Kubernetes objects, `NAME.out.yaml` all that comes of them.

After a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/unit/pure/test_golden.py``, then read the diff.
The listener is the same for every world and appears in the pair ``empty-world`` alone. A first line
``# expose-all`` in the input stands for the option of that name.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.support.snapshots import dangling
from tests.unit.pure.kube import from_yaml, world_of
from xds_server.base.ids import TypeUrl
from xds_server.base.yaml_text import dumped
from xds_server.core.annotations import OF_SHADOW
from xds_server.core.conditions import errors, notices
from xds_server.core.plan import Plan, ShadowStatus
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.translate.mirroring import UPSTREAM_FILTERS
from xds_server.translate.translate import translate
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from xds_server.xds.variants import HostsMode, SnapshotAdapter

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
MESSAGES: Mapping[TypeUrl, type[Message]] = {
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    SECRET: secret_pb2.Secret,
}
HEADINGS = {
    LISTENER: "listeners",
    ROUTE: "routes",
    CLUSTER: "clusters",
    ENDPOINT: "endpoints",
    SECRET: "secrets",
}
EMPTY = "empty-world"


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_the_recorded_one(case: str) -> None:
    source = (FOLDER / f"{case}.in.yaml").read_text()
    rules = Rules(expose_all=source.startswith("# expose-all\n"))
    plan = resolve(world_of(*from_yaml(source)), rules)
    snapshot = translate(plan, gateway_port=8080)

    assert dangling(snapshot) == []
    assert snapshot.of(LISTENER) == translate(Plan(), gateway_port=8080).of(LISTENER)
    shown = SnapshotAdapter(HostsMode.INLINE).of(snapshot)
    result = dumped(_result(plan, shown, whole=case == EMPTY))
    expected = FOLDER / f"{case}.out.yaml"
    if UPDATE:
        expected.write_text(result)
    assert result == expected.read_text()


def test_every_input_has_its_result_and_every_result_its_input() -> None:
    results = {path.name.removesuffix(".out.yaml") for path in FOLDER.glob("*.out.yaml")}
    assert results == set(CASES)
    assert EMPTY in results


def test_every_annotation_and_every_bound_has_its_pair() -> None:
    assert {f"annotation-{name}" for name in OF_SHADOW} <= set(CASES)
    for row in OF_SHADOW.values():
        if row.bound:
            assert f"{'required' if row.bound.adds else 'not-allowed'}-{row.name}" in CASES


def test_the_filters_of_shadow_clusters_are_those_that_an_envoy_has_to_have() -> None:
    found = {
        name
        for path in FOLDER.glob("*.out.yaml")
        for name in re.findall(r"/envoy\.extensions\.filters\.http\.(\w+)\.v3\.", path.read_text())
    }
    assert found - {"router"} == set(UPSTREAM_FILTERS)


def _result(plan: Plan, snapshot: Snapshot, *, whole: bool) -> dict[str, Any]:
    shown = {
        "shadows": [_shadow(shadow) for shadow in plan.shadows()],
        "problems": [
            {"subject": str(p.subject), "reason": str(p.reason), "message": p.message}
            for p in errors(plan.conditions())
        ],
    }
    if infos := notices(plan.conditions()):
        shown["notices"] = [{"subject": str(n.subject), "reason": str(n.reason)} for n in infos]
    for type_url, heading in HEADINGS.items():
        found = snapshot.of(type_url).resources
        if (whole or type_url is not LISTENER) and (found or type_url is not SECRET):
            shown[heading] = [_decoded(type_url, found[name].body) for name in sorted(found)]
    return shown


def _shadow(shadow: ShadowStatus) -> dict[str, Any]:
    return {
        "deployment": f"{shadow.namespace}/{shadow.canary}",
        "service": shadow.service,
        "state": shadow.state.value,
        "reason": str(shadow.reason),
        "message": shadow.message,
        "percent": shadow.percent,
        "methods": list(shadow.methods),
        "settings": {each.name: f"{each.value} ({each.origin})" for each in shadow.settings},
        "endpoints": [str(endpoint) for endpoint in shadow.endpoints],
    }


def _decoded(type_url: TypeUrl, body: bytes) -> dict[str, Any]:
    message = MESSAGES[type_url].FromString(body)
    # By way of text, as an Any comes decoded into a kind of dictionary that YAML does not know.
    text = json_format.MessageToJson(message, preserving_proto_field_name=True)
    found: dict[str, Any] = json.loads(text, object_pairs_hook=_in_order)
    return found


def _in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Protobuf gives the keys of a map in another order in each process."""
    return {key: dict(sorted(each.items())) if key == "filter_metadata" else each for key, each in pairs}
