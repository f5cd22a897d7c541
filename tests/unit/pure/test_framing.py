"""What is joined by hand is what protobuf would have written."""

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import TypeUrl
from xds_server.xds.framing import field, text
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.types import CLUSTER

# Where the length of a length grows: protobuf.dev, "Base 128 Varints".
EDGES = (0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21)

lengths = st.one_of(st.sampled_from(EDGES[:6]), st.integers(0, 300))
names = st.one_of(lengths.map(lambda length: "n" * length), st.text(max_size=40))
bodies = st.one_of(lengths.map(lambda length: b"b" * length), st.binary(max_size=40))
resources = st.builds(Resource, st.builds(ResourceKey, st.just(CLUSTER), names), bodies)


@pytest.mark.parametrize("length", EDGES)
def test_a_field_of_any_length_is_protobufs_own(length: int) -> None:
    payload = b"x" * length
    assert BytesValue.FromString(field(1, payload)).value == payload
    if length:
        assert field(1, payload) == BytesValue(value=payload).SerializeToString()


@pytest.mark.parametrize("number", [1, 15, 16, 2047, 2048, 2**29 - 1])
def test_a_field_of_any_number_is_skipped_whole_by_a_parser_that_does_not_know_it(number: int) -> None:
    known = BytesValue(value=b"kept").SerializeToString()
    unknown = field(number, b"dropped") if number > 1 else b""
    assert BytesValue.FromString(unknown + known + unknown).value == b"kept"


def test_an_empty_string_is_left_out() -> None:
    assert text(1, "") == b""
    assert discovery_pb2.DiscoveryResponse.FromString(text(1, "ä")).version_info == "ä"


@given(st.lists(resources, max_size=4))
def test_sotw_frames_parse_as_the_resources_of_a_response(found: list[Resource]) -> None:
    joined = text(1, "v") + b"".join(resource.sotw_frame for resource in found) + text(5, "nonce")
    response = discovery_pb2.DiscoveryResponse.FromString(joined)

    assert [(any_.type_url, any_.value) for any_ in response.resources] == [(CLUSTER, r.body) for r in found]
    assert (response.version_info, response.nonce) == ("v", "nonce")
    assert joined == response.SerializeToString()


@given(st.lists(resources, max_size=4))
def test_delta_frames_parse_as_the_resources_of_a_response(found: list[Resource]) -> None:
    joined = b"".join(resource.delta_frame for resource in found) + text(4, CLUSTER)
    response = discovery_pb2.DeltaDiscoveryResponse.FromString(joined)

    assert [(r.name, r.version, r.resource.type_url, r.resource.value) for r in response.resources] == [
        (r.name, r.version, CLUSTER, r.body) for r in found
    ]
    assert response.type_url == CLUSTER


def test_a_frame_is_made_once() -> None:
    resource = Resource(ResourceKey(CLUSTER, "a"), b"body")
    assert resource.sotw_frame is resource.sotw_frame
    assert resource.delta_frame is resource.delta_frame


def test_a_resource_without_type_has_an_empty_any() -> None:
    resource = Resource(ResourceKey(TypeUrl(""), "a"), b"")
    assert list(discovery_pb2.DiscoveryResponse.FromString(resource.sotw_frame).resources) == [
        discovery_pb2.DiscoveryResponse().resources.add()
    ]
