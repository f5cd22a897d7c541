"""Assignments: the addresses of a cluster."""

from collections.abc import Iterable
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.shadows.plan import Endpoint
from xds_server.snapshot.resource import Resource
from xds_server.translate.names import endpoints_key
from xds_server.translate.wire import resource


def load_assignment(cluster_name: str, endpoints: Iterable[Endpoint], *, scope: str = "") -> Resource:
    """The ClusterLoadAssignment of a cluster; an empty one answers every request with 503."""
    hosts = [_lb_endpoint(endpoint) for endpoint in endpoints]
    localities = [{"lb_endpoints": hosts}] if hosts else []
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster_name, endpoints=localities)
    return resource(endpoints_key(cluster_name), message, scope=scope)


def _lb_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    # Plain values: protobuf takes them in a third of the time that it takes to nest messages, and most of
    # what is translated is endpoints.
    socket = {"address": endpoint.address, "port_value": endpoint.port}
    return {"endpoint": {"address": {"socket_address": socket}}}
