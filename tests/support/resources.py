"""Small resources, made by hand from Envoy's messages: one cluster, one listener, as plain as they can be.

No fetch ever times out: what warms, warms until it gets what it waits for.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, config_source_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import any_pb2

from xds_server.base.address import Address
from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

ROUND_ROBIN = cluster_pb2.Cluster.LbPolicy.ROUND_ROBIN
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MAGLEV = cluster_pb2.Cluster.LbPolicy.MAGLEV


def cluster_with_secret(name: str, secret: str) -> Resource:
    """A cluster that sends the secret as ``Authorization``."""
    message = cluster_pb2.Cluster.FromString(cluster(name).body)
    generic = generic_pb2.Generic()
    generic.credential.name = secret
    generic.credential.sds_config.CopyFrom(over_ads())
    injector = credential_injector_pb2.CredentialInjector(overwrite=True)
    injector.credential.name = "envoy.http.injected_credentials.generic"
    injector.credential.typed_config.Pack(generic)
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http_protocol_options.SetInParent()
    options.http_filters.add(name="credential").typed_config.Pack(injector)
    options.http_filters.add(name="codec").typed_config.Pack(upstream_codec_pb2.UpstreamCodec())
    message.typed_extension_protocol_options[_HTTP_OPTIONS].Pack(options)
    return resource(CLUSTER, name, message, ResourceKey(ENDPOINT, name), ResourceKey(SECRET, secret))


def generic_secret(name: str, value: str) -> Resource:
    """A secret that is a text."""
    message = secret_pb2.Secret(name=name)
    message.generic_secret.secret.inline_string = value
    return resource(SECRET, name, message)


def cluster(name: str, *, policy: int = ROUND_ROBIN, connect_timeout_s: int = 5) -> Resource:
    """A cluster whose assignment has its name; another `policy` makes it another cluster, and a timeout of 0
    one that Envoy rejects."""
    message = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.DiscoveryType.EDS, lb_policy=policy)
    message.connect_timeout.FromSeconds(connect_timeout_s)
    message.eds_cluster_config.eds_config.CopyFrom(over_ads())
    return resource(CLUSTER, name, message, ResourceKey(ENDPOINT, name))


def assignment(name: str, *backends: Address, overprovisioning: int = 140) -> Resource:
    """The endpoints of the cluster of that name; Envoy rejects an overprovisioning factor of 0 percent."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    message.policy.overprovisioning_factor.value = overprovisioning
    locality = message.endpoints.add()
    locality.load_balancing_weight.value = 1  # grpcio skips a locality without one
    locality.locality.zone = "here"
    for backend in backends:
        endpoint = endpoint_components_pb2.Endpoint(address=_address(backend.host, backend.port))
        locality.lb_endpoints.add(endpoint=endpoint)
    return resource(ENDPOINT, name, message)


def listener(name: str, routes: str, *, prefix: str = "scenario") -> Resource:
    """A listener on a port that the system chooses; another `prefix` makes it another listener,
    and an empty one makes one that Envoy rejects."""
    message = listener_pb2.Listener(name=name, address=_address("127.0.0.1", 0))
    hcm = http_filters(routes)
    hcm.stat_prefix = prefix
    message.filter_chains.add().filters.add(name="http").typed_config.Pack(hcm)
    return resource(LISTENER, name, message, ResourceKey(ROUTE, routes))


def api_listener(name: str, routes: str) -> Resource:
    """A listener for clients that have the configuration inside them, as grpcio has."""
    message = listener_pb2.Listener(name=name)
    message.api_listener.api_listener.Pack(http_filters(routes))
    return resource(LISTENER, name, message, ResourceKey(ROUTE, routes))


def route_configuration(name: str, to: str, *, domain: str = "*", padding: int = 0) -> Resource:
    """Every request goes to the cluster `to`; Envoy rejects an empty name. `padding` is in bytes."""
    message = route_pb2.RouteConfiguration(name=name)
    host = message.virtual_hosts.add(name="everybody", domains=[domain])
    route = host.routes.add()
    route.match.prefix = ""
    route.route.cluster = to
    if padding:
        route.metadata.filter_metadata["padding"]["text"] = "x" * padding
    return resource(ROUTE, name, message, ResourceKey(CLUSTER, to))


def open_routes(name: str) -> Resource:
    """A route configuration whose virtual hosts are resources of their own."""
    message = route_pb2.RouteConfiguration(name=name)
    return Resource(ResourceKey(ROUTE, name), message.SerializeToString(deterministic=True), vhds=True)


def virtual_host(routes: str, name: str, domain: str, to: str) -> Resource:
    """Requests for `domain` go to the cluster `to`."""
    message = route_components_pb2.VirtualHost(name=f"{routes}/{name}", domains=[domain])
    route = message.routes.add()
    route.match.prefix = ""
    route.route.cluster = to
    body = message.SerializeToString(deterministic=True)
    refs = (ResourceKey(CLUSTER, to),)
    return Resource(ResourceKey(VIRTUAL_HOST, message.name), body, refs, claims=(domain,))


def resource(type_url: TypeUrl, name: str, message: Any, *refs: ResourceKey) -> Resource:
    """A message as a resource."""
    return Resource(ResourceKey(type_url, name), message.SerializeToString(deterministic=True), refs)


def over_ads() -> config_source_pb2.ConfigSource:
    """From the stream that it came by, waiting for ever."""
    source = config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
    )
    source.initial_fetch_timeout.FromSeconds(0)
    return source


def http_filters(routes: str) -> Any:
    """A connection manager that fetches its routes and forwards."""
    message = http_connection_manager_pb2.HttpConnectionManager()
    message.rds.route_config_name = routes
    message.rds.config_source.CopyFrom(over_ads())
    router = any_pb2.Any()
    router.Pack(router_pb2.Router())
    message.http_filters.add(name="router", typed_config=router)
    return message


def _address(host: str, port: int) -> address_pb2.Address:
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port))
