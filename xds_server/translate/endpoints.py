"""Assignments: the addresses of a cluster. Joined by hand (`xds.framing`): most of what is translated is
endpoints, and all that two of them do not share is an address."""

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
_ADDRESS: Final = endpoint_components_pb2.Endpoint.ADDRESS_FIELD_NUMBER
_SOCKET: Final = address_pb2.Address.SOCKET_ADDRESS_FIELD_NUMBER
_IP: Final = address_pb2.SocketAddress.ADDRESS_FIELD_NUMBER
_PORT: Final = address_pb2.SocketAddress.PORT_VALUE_FIELD_NUMBER
_SHAPES: Final = 1024
"""Lengths of addresses with their ports that are remembered."""


def load_assignment(cluster_name: str, endpoints: Iterable[Endpoint], *, scope: str = "") -> Resource:
    """The ClusterLoadAssignment of a cluster; an empty one answers every request with 503."""
    found = b"".join(_lb_endpoint(endpoint) for endpoint in endpoints)
    body = text(_NAME, cluster_name) + (field(_LOCALITIES, found) if found else b"")
    return Resource(endpoints_key(cluster_name), body, scope=scope)


def _lb_endpoint(endpoint: Endpoint) -> bytes:
    """As a field of a LocalityLbEndpoints."""
    address = endpoint.address.encode()
    before, after = _around(len(address), endpoint.port)
    return before + address + after


@lru_cache(_SHAPES)
def _around(length: int, port: int) -> tuple[bytes, bytes]:
    """What stands before and after an address of so many bytes."""
    blank = bytes(length)
    framed = field(_IP, blank) + number(_PORT, port)
    for outer in (_SOCKET, _ADDRESS, _ENDPOINT, _ENDPOINTS):
        framed = field(outer, framed)
    before, _, after = framed.rpartition(blank)
    return before, after
