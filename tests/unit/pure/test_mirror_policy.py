"""What stands in a route for each canary: little, whatever its policy is, and never more than its bound."""

from dataclasses import replace

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.v3 import percent_pb2
from hypothesis import given
from hypothesis import strategies as st

from xds_server.shadows.plan import Endpoint, Mirror
from xds_server.shadows.terms import UNTREATED, Treatment
from xds_server.shadows.values import LONGEST_VALUE, MAX_HEADERS, SAFE_FORMATTERS
from xds_server.translate.copies import mirror_policy, mirror_policy_bytes

CLUSTER = "staging/myapp/80/shadow/canary"


def mirror(treatment: Treatment) -> Mirror:
    endpoints = (Endpoint("10.0.0.1", 80),)
    return Mirror(deployment="c", marker="staging/c", endpoints=endpoints, per_million=1, treatment=treatment)


def size(treatment: Treatment, cluster: str, per_million: int | None = None) -> int:
    """What the policy adds to a route."""
    million = percent_pb2.FractionalPercent.MILLION
    fraction = per_million and base_pb2.RuntimeFractionalPercent(
        default_value=percent_pb2.FractionalPercent(numerator=per_million, denominator=million)
    )
    policy = mirror_policy(cluster, mirror(treatment), fraction or None)
    return len(route_components_pb2.RouteAction(request_mirror_policies=[policy]).SerializeToString())


formatters = st.sampled_from(
    [*(f"%{name}%" for name in SAFE_FORMATTERS if name != "REQ"), "%REQ(host)%", "%%"]
)
treatments = st.builds(
    Treatment,
    set_headers=st.lists(
        st.tuples(
            st.sampled_from(["x-a", "x-b"]), st.lists(formatters | st.just("v"), min_size=1).map("".join)
        )
    ).map(tuple),
    host=st.sampled_from(["preserve", "shadow-suffix", "h" * 253]),
    timeout_ms=st.integers(10, 600_000),
)


@given(treatments, st.text("abc/", min_size=1, max_size=300), st.none() | st.integers(1, 1_000_000))
def test_a_policy_is_no_larger_than_its_bound(
    treatment: Treatment, cluster: str, per_million: int | None
) -> None:
    assert size(treatment, cluster, per_million) <= mirror_policy_bytes(treatment, cluster)
    assert size(treatment, cluster, 1_000_000) == mirror_policy_bytes(treatment, cluster)


@pytest.mark.parametrize("value", ["v" * LONGEST_VALUE, "%REQ(x-a)%" * (LONGEST_VALUE // 10), "%HOSTNAME%"])
def test_header_changes_take_no_room_in_a_route(value: str) -> None:
    headers = tuple((f"x-{number}", value) for number in range(MAX_HEADERS))
    much = replace(UNTREATED, set_headers=headers, remove_headers=tuple(name for name, _ in headers))
    assert size(much, CLUSTER) == size(UNTREATED, CLUSTER)


def test_a_value_of_the_clients_connection_is_carried_once() -> None:
    headers = tuple((f"x-{number}", "%PROTOCOL%" * 100) for number in range(MAX_HEADERS))
    policy = mirror_policy(CLUSTER, mirror(replace(UNTREATED, set_headers=headers)), None)
    carried = [
        m.append.header for m in policy.request_headers_mutations if m.append.header.value == "%PROTOCOL%"
    ]
    assert [header.key for header in carried] == ["x-xds-shadow-protocol"]


def test_a_doubled_percent_sign_begins_no_formatter() -> None:
    doubled = replace(UNTREATED, set_headers=(("x-a", "%%PROTOCOL%%"),))
    assert size(doubled, CLUSTER) == size(UNTREATED, CLUSTER)
