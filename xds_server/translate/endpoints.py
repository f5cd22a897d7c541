"""Assignments: the addresses of a cluster."""

from collections.abc import Iterable

from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from xds_server.shadows.plan import Endpoint
from xds_server.snapshot.resource import Resource
from xds_server.translate.names import endpoints_key
from xds_server.translate.wire import resource


def load_assignment(cluster_name: str, endpoints: Iterable[Endpoint], *, scope: str = "") -> Resource:
    """The ClusterLoadAssignment of a cluster; an empty one answers every request with 503."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster_name)
    hosts = [_lb_endpoint(endpoint) for endpoint in endpoints]
    if hosts:
        message.endpoints.append(endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=hosts))
    return resource(endpoints_key(cluster_name), message, scope=scope)


def _lb_endpoint(endpoint: Endpoint) -> endpoint_components_pb2.LbEndpoint:
    socket = address_pb2.SocketAddress(address=endpoint.address, port_value=endpoint.port)
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=address_pb2.Address(socket_address=socket))
    )
