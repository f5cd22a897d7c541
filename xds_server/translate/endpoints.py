"""ClusterLoadAssignments. They are joined by hand (`xds.framing`), because most translated resources are
endpoints, and two of them differ only in their addresses."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from xds_server.core.plan import Endpoint
from xds_server.translate.names import endpoints_key
from xds_server.xds.framing import field, number, text
from xds_server.xds.resource import Resource

_NAME: Final = endpoint_pb2.ClusterLoadAssignment.CLUSTER_NAME_FIELD_NUMBER
_LOCALITIES: Final = endpoint_pb2.ClusterLoadAssignment.ENDPOINTS_FIELD_NUMBER
_ENDPOINTS: Final = endpoint_components_pb2.LocalityLbEndpoints.LB_ENDPOINTS_FIELD_NUMBER
_ENDPOINT: Final = endpoint_components_pb2.LbEndpoint.ENDPOINT_FIELD_NUMBER
_METADATA: Final = endpoint_components_pb2.LbEndpoint.METADATA_FIELD_NUMBER
_ADDRESS: Final = endpoint_components_pb2.Endpoint.ADDRESS_FIELD_NUMBER
_SOCKET: Final = address_pb2.Address.SOCKET_ADDRESS_FIELD_NUMBER
_IP: Final = address_pb2.SocketAddress.ADDRESS_FIELD_NUMBER
_PORT: Final = address_pb2.SocketAddress.PORT_VALUE_FIELD_NUMBER
_SHAPES: Final = 1024
"""How many lengths of addresses with ports are cached."""


def load_assignment(
    cluster_name: str, endpoints: Iterable[Endpoint], *, scope: str = "", metadata: bytes = b""
) -> Resource:
    """The ClusterLoadAssignment of a cluster, each endpoint with this Metadata message. With no endpoints,
    Envoy responds 503."""
    parts: list[bytes] = []
    for endpoint in endpoints:
        address = endpoint.address.encode()
        before, after = _around(len(address), endpoint.port, metadata)
        parts += (before, address, after)
    body = text(_NAME, cluster_name) + (field(_LOCALITIES, b"".join(parts)) if parts else b"")
    return Resource(endpoints_key(cluster_name), body, scope=scope)


@lru_cache(_SHAPES)
def _around(length: int, port: int, metadata: bytes) -> tuple[bytes, bytes]:
    """The bytes before and after an address of this length, in a field of a LocalityLbEndpoints."""
    blank = bytes(length)
    framed = field(_IP, blank) + number(_PORT, port)
    for outer in (_SOCKET, _ADDRESS, _ENDPOINT):
        framed = field(outer, framed)
    framed = field(_ENDPOINTS, framed + (field(_METADATA, metadata) if metadata else b""))
    before, _, after = framed.partition(blank)
    return before, after
