"""Responses joined by hand are what protobuf would have written (discovery.proto)."""

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import Nonce, Version
from xds_server.xds.batch import Batch
from xds_server.xds.encode import Encoder
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.responses import Response
from xds_server.xds.types import SHORT_NAMES

_names = st.text(max_size=20) | st.just("x" * 200)
_types = st.sampled_from(sorted(SHORT_NAMES))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    """Any response, empty names and bodies included."""
    type_url = draw(_types)
    bodies = draw(st.lists(st.tuples(_names, st.binary(max_size=300)), max_size=4))
    return Response(
        type_url=type_url,
        version=Version(draw(_names)),
        nonce=Nonce(draw(_names)),
        batch=Batch(
            tuple(Resource(ResourceKey(type_url, name), body) for name, body in bodies),
            tuple(draw(st.lists(_names, max_size=3))),
        ),
    )


@given(responses(), _names)
def test_rule_23_a_sotw_response_is_what_protobuf_writes(response: Response, identifier: str) -> None:
    message = discovery_pb2.DiscoveryResponse(
        version_info=response.version,
        resources=[Any(type_url=r.key.type_url, value=r.body) for r in response.resources],
        type_url=response.type_url,
        nonce=response.nonce,
    )
    message.control_plane.identifier = identifier
    assert Encoder(identifier).sotw(response) == message.SerializeToString(deterministic=True)


@given(responses(), _names)
def test_rule_23_a_delta_response_is_what_protobuf_writes(response: Response, identifier: str) -> None:
    message = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info=response.version,
        resources=[
            discovery_pb2.Resource(
                name=r.name, version=r.version, resource=Any(type_url=r.key.type_url, value=r.body)
            )
            for r in response.resources
        ],
        type_url=response.type_url,
        nonce=response.nonce,
        removed_resources=response.removed,
    )
    message.control_plane.identifier = identifier
    assert Encoder(identifier).delta(response) == message.SerializeToString(deterministic=True)


@given(responses(), _names)
def test_rule_24_no_resource_has_a_time_to_live(response: Response, identifier: str) -> None:
    sotw = discovery_pb2.DiscoveryResponse.FromString(Encoder(identifier).sotw(response))
    delta = discovery_pb2.DeltaDiscoveryResponse.FromString(Encoder(identifier).delta(response))
    # In state of the world a time to live needs a ``Resource`` around each, which is a type of its own.
    assert all(each.type_url == response.type_url for each in sotw.resources)
    assert not any(each.HasField("ttl") for each in delta.resources)
