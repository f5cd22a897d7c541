"""What stands in a route for each canary: little, whatever its policy is."""

from dataclasses import replace

import pytest
from envoy.config.route.v3 import route_components_pb2

from xds_server.core.annotations import UNTREATED, Treatment
from xds_server.core.plan import Endpoint, Mirror
from xds_server.core.values import MAX_HEADERS, MAX_VALUE_LENGTH
from xds_server.translate.mirroring import mirror_policy

CLUSTER = "staging/myapp/80/shadow/canary"


def mirror(treatment: Treatment) -> Mirror:
    endpoints = (Endpoint("10.0.0.1", 80),)
    return Mirror(canary="c", marker="staging/c", endpoints=endpoints, per_million=1, treatment=treatment)


def size(treatment: Treatment, cluster: str) -> int:
    """What the policy adds to a route."""
    policy = mirror_policy(cluster, mirror(treatment))
    return len(route_components_pb2.RouteAction(request_mirror_policies=[policy]).SerializeToString())


@pytest.mark.parametrize(
    "value", ["v" * MAX_VALUE_LENGTH, "%REQ(x-a)%" * (MAX_VALUE_LENGTH // 10), "%HOSTNAME%"]
)
def test_header_changes_take_no_room_in_a_route(value: str) -> None:
    headers = tuple((f"x-{number}", value) for number in range(MAX_HEADERS))
    much = replace(UNTREATED, set_headers=headers, remove_headers=tuple(name for name, _ in headers))
    assert size(much, CLUSTER) == size(UNTREATED, CLUSTER)


def test_a_value_of_the_clients_connection_is_carried_once() -> None:
    headers = tuple((f"x-{number}", "%PROTOCOL%" * 100) for number in range(MAX_HEADERS))
    policy = mirror_policy(CLUSTER, mirror(replace(UNTREATED, set_headers=headers)))
    carried = [
        m.append.header for m in policy.request_headers_mutations if m.append.header.value == "%PROTOCOL%"
    ]
    assert [header.key for header in carried] == ["x-xds-shadow-protocol"]


def test_a_doubled_percent_sign_begins_no_formatter() -> None:
    doubled = replace(UNTREATED, set_headers=(("x-a", "%%PROTOCOL%%"),))
    assert size(doubled, CLUSTER) == size(UNTREATED, CLUSTER)
