"""The bootstrap configuration of an Envoy in the fleet, after Envoy's "Configuring Envoy as an edge proxy".
It has the control plane's address and bounds the process; everything else comes over ADS. Also the parts that
an Envoy with its own bootstrap and listeners needs to get routes and clusters over ADS."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePath

import envoy_data_plane.envoy.config.bootstrap.v3 as bootstrap
import envoy_data_plane.envoy.config.cluster.v3 as cluster
import envoy_data_plane.envoy.config.core.v3 as core
import envoy_data_plane.envoy.config.endpoint.v3 as endpoint
import envoy_data_plane.envoy.config.listener.v3 as listener
import envoy_data_plane.envoy.config.route.v3 as route
import envoy_data_plane.envoy.extensions.filters.http.lua.v3 as lua
import envoy_data_plane.envoy.extensions.filters.http.router.v3 as router
import envoy_data_plane.envoy.extensions.filters.network.direct_response.v3 as direct_response
import envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 as http_manager
import envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 as tls
import envoy_data_plane.envoy.extensions.upstreams.http.v3 as http
import envoy_data_plane.envoy.type.matcher.v3 as matcher
import yaml
from betterproto2 import Casing, Message
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy_data_plane.google.protobuf import Any, Struct
from google.protobuf.json_format import MessageToJson

from xds_server.base.address import Address
from xds_server.base.sizes import MIB
from xds_server.base.yaml_text import dumped
from xds_server.core.plan import GATEWAY
from xds_server.translate import pacing
from xds_server.translate.comparing import BODIES_CLUSTER
from xds_server.translate.mirroring import UPSTREAM_FILTERS
from xds_server.translate.node_metadata import ACCESS_LOGS, GATEWAY_ADDRESS, GATEWAY_PORT, NAMESPACES
from xds_server.translate.overload import overload_manager
from xds_server.translate.upstream_log import CONTROL_PLANE, upstream_log
from xds_server.translate.wire import packed
from xds_server.xds.stream_events import Variant

_ADMIN_CLUSTER = "admin"
_ADMIN_ADDRESS = "127.0.0.1"
_SHOWN = ("/stats/prometheus", "/ready")
"""The paths of the admin interface that the listener for statistics serves. Other paths can stop Envoy and
change its log level."""

_CERTIFICATE, _ROOTS = "certificate", "roots"
_SDS_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BODIES_AT_ONCE = 16

_PARTS = """\
# What an Envoy with listeners of its own needs to have its routes and clusters from xds-shadow. Envoy merges
# this document with another bootstrap: envoy --config-path BOOTSTRAP --config-yaml "$(cat THIS_FILE)".
# The clusters of canaries have upstream filters, which every release of Envoy has built in:
# {filters}.
"""
_STANZA = """\
# For every connection manager whose requests are to be routed and mirrored: rds in place of route_config, the
# filter directly before the router, and upstream_log in the router. Envoy listens once it has routes; without
# the timeout of 0 it would listen 15 s after its start and answer 404. Without the filter nothing is mirrored
# to a canary with max-rps. Without upstream_log there is no verdict on a canary.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapTls:
    """Mutual TLS to the control plane, whose certificate must be valid for `server_name`. The paths are on
    Envoy's machine. `sds` is the directory with the files of `sds_files`."""

    certificate: PurePath
    key: PurePath
    ca: PurePath
    server_name: str
    sds: PurePath


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapOptions:
    """What differs between Envoys. If `gateway_port` or `gateway_address` is None, the control plane decides.
    Empty `namespaces` mean all. With a `ready_port`, a TCP check shows whether Envoy is configured. `stats`
    is the address for statistics and readiness; it needs an `admin_port` other than 0. `route_config` is for
    Envoys with their own listeners."""

    node_id: str
    node_cluster: str = "xds-shadow"
    xds_address: Address
    further_xds_addresses: tuple[Address, ...] = ()
    mode: Variant = Variant.DELTA
    admin_port: int = 9901
    gateway_port: int | None = None
    gateway_address: str | None = None
    ready_port: int | None = None
    stats: Address | None = None
    namespaces: tuple[str, ...] = ()
    max_heap_mib: int = 1024
    tls: BootstrapTls | None = None
    route_config: str = GATEWAY


def bootstrap_yaml(options: BootstrapOptions) -> str:
    """The bootstrap as YAML for ``envoy --config-path``."""
    return _text(_bootstrap(options))


def routes_only_yaml(options: BootstrapOptions) -> str:
    """What an Envoy with its own listeners needs, as two YAML documents with comments: parts of a bootstrap,
    which ``envoy --config-yaml`` merges into another one (it reads the first document), and a part of a
    connection manager. The `options` for listeners, heap and the admin interface have no effect."""
    waiting = _over_ads(waits=True)
    parts = bootstrap.Bootstrap(
        node=_node(replace(options, gateway_address=None, gateway_port=None), logs=False),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            ads_config=_ads(options.mode), cds_config=waiting
        ),
        cluster_manager=_load_reports(),
        static_resources=bootstrap.BootstrapStaticResources(
            clusters=[_xds_cluster(options), _bodies_cluster(options)]
        ),
    )
    stanza = http_manager.HttpConnectionManager(
        rds=http_manager.Rds(route_config_name=options.route_config, config_source=waiting),
        http_filters=[_pacing_filter()],
    )
    filters = ", ".join(UPSTREAM_FILTERS)
    lines = stanza.to_dict(casing=Casing.SNAKE)
    lines["http_filters"].append(_router())
    return f"{_PARTS.format(filters=filters)}{_text(parts)}---\n{_STANZA}{dumped(lines)}"


def _text(message: Message) -> str:
    return yaml.safe_dump(message.to_dict(casing=Casing.SNAKE), sort_keys=False)


def _pacing_filter() -> http_manager.HttpFilter:
    """`pacing.pacing_filter` as a message of the bootstrap."""
    script = lua.Lua(default_source_code=core.DataSource(inline_string=pacing.SCRIPT))
    return http_manager.HttpFilter(name=pacing.FILTER, typed_config=Any.pack(script), disabled=True)


def _router() -> dict[str, object]:
    """The filter of a connection manager that logs for the control plane, as JSON data."""
    config = router_pb2.Router(upstream_log=[upstream_log()])
    message = HttpFilter(name="envoy.filters.http.router", typed_config=packed(config))
    # By way of text, as an Any comes decoded into a kind of dictionary that YAML does not know.
    found: dict[str, object] = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    return found


def sds_files(tls: BootstrapTls) -> dict[str, str]:
    """The names and contents of the SDS files with Envoy's certificates. Envoy reads them again when their
    directory changes; certificates in the bootstrap itself are read only once."""
    certificate = {
        "certificate_chain": {"filename": str(tls.certificate)},
        "private_key": {"filename": str(tls.key)},
        "watched_directory": {"path": str(tls.certificate.parent)},
    }
    roots = {
        "trusted_ca": {"filename": str(tls.ca)},
        "watched_directory": {"path": str(tls.ca.parent)},
    }
    secrets = {
        _CERTIFICATE: {"tls_certificate": certificate},
        _ROOTS: {"validation_context": roots},
    }
    return {
        f"{name}.yaml": yaml.safe_dump(
            {"resources": [{"@type": _SDS_TYPE, "name": name, **secret}]}, sort_keys=False
        )
        for name, secret in secrets.items()
    }


def _bootstrap(options: BootstrapOptions) -> bootstrap.Bootstrap:
    over_ads = _over_ads(waits=bool(options.ready_port or options.stats))
    listeners = [_ready_listener(options.ready_port)] if options.ready_port else []
    clusters = [_xds_cluster(options), _bodies_cluster(options)]
    if options.stats:
        listeners.append(_stats_listener(options.stats))
        clusters.append(_admin_cluster(options.admin_port))
    return bootstrap.Bootstrap(
        node=_node(options, logs=True),
        admin=bootstrap.Admin(address=_address(Address(_ADMIN_ADDRESS, options.admin_port))),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            ads_config=_ads(options.mode), cds_config=over_ads, lds_config=over_ads
        ),
        cluster_manager=_load_reports(),
        static_resources=bootstrap.BootstrapStaticResources(listeners=listeners, clusters=clusters),
        overload_manager=overload_manager(options.max_heap_mib * MIB),
    )


def _node(options: BootstrapOptions, *, logs: bool) -> core.Node:
    metadata = {ACCESS_LOGS: "true"} if logs else {}
    if options.gateway_address is not None:
        metadata[GATEWAY_ADDRESS] = options.gateway_address
    if options.gateway_port is not None:
        metadata[GATEWAY_PORT] = str(options.gateway_port)
    if options.namespaces:
        metadata[NAMESPACES] = ",".join(options.namespaces)
    return core.Node(
        id=options.node_id,
        cluster=options.node_cluster,
        metadata=Struct.from_dict(metadata) if metadata else None,
    )


def _over_ads(*, waits: bool) -> core.ConfigSource:
    """A configuration source for the stream of `_ads`. Unless `waits` is set, Envoy starts after 15 s even if
    it received nothing, and then looks ready."""
    return core.ConfigSource(
        ads=core.AggregatedConfigSource(),
        resource_api_version=core.ApiVersion.V3,
        initial_fetch_timeout=timedelta() if waits else None,
    )


def _ready_listener(port: int) -> listener.Listener:
    """A listener that accepts and closes connections once Envoy is configured; listeners do not open earlier.
    For the probe of a Pod whose gateway listener is on loopback, where the kubelet cannot reach it."""
    closing = listener.Filter(
        name="envoy.filters.network.direct_response", typed_config=Any.pack(direct_response.Config())
    )
    return listener.Listener(
        name="ready",
        address=_address(Address("0.0.0.0", port)),  # noqa: S104 - for the kubelet; it says nothing
        filter_chains=[listener.FilterChain(filters=[closing])],
    )


def _stats_listener(address: Address) -> listener.Listener:
    """A listener that serves GET for the paths in `_SHOWN` and nothing else. Like all listeners, it opens
    once Envoy is configured."""
    only_get = route.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact="GET"))
    shown = [
        route.Route(
            match=route.RouteMatch(path=path, headers=[only_get]),
            route=route.RouteAction(cluster=_ADMIN_CLUSTER),
        )
        for path in _SHOWN
    ]
    host = route.VirtualHost(name="stats", domains=["*"], routes=shown)
    manager = http_manager.HttpConnectionManager(
        stat_prefix="stats",
        route_config=route.RouteConfiguration(name="stats", virtual_hosts=[host]),
        http_filters=[
            http_manager.HttpFilter(name="envoy.filters.http.router", typed_config=Any.pack(router.Router()))
        ],
    )
    http_filter = listener.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(manager)
    )
    return listener.Listener(
        name="stats",
        address=_address(address),
        filter_chains=[listener.FilterChain(filters=[http_filter])],
        # Statistics are most important while Envoy is overloaded.
        ignore_global_conn_limit=True,
        bypass_overload_manager=True,
    )


def _admin_cluster(port: int) -> cluster.Cluster:
    return cluster.Cluster(
        name=_ADMIN_CLUSTER,
        type=cluster.ClusterDiscoveryType.STATIC,
        load_assignment=_load_assignment(_ADMIN_CLUSTER, [Address(_ADMIN_ADDRESS, port)]),
    )


def _ads(mode: Variant) -> core.ApiConfigSource:
    delta = core.ApiConfigSourceApiType.DELTA_GRPC
    sotw = core.ApiConfigSourceApiType.GRPC
    # From 0.5 to 5 s: a fleet finds a restarted control plane quickly and does not overload it.
    back_off = core.BackoffStrategy(
        base_interval=timedelta(milliseconds=500), max_interval=timedelta(seconds=5)
    )
    service = core.GrpcServiceEnvoyGrpc(
        cluster_name=CONTROL_PLANE, retry_policy=core.RetryPolicy(retry_back_off=back_off)
    )
    return core.ApiConfigSource(
        api_type=delta if mode is Variant.DELTA else sotw,
        transport_api_version=core.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[core.GrpcService(envoy_grpc=service)],
    )


def _load_reports() -> bootstrap.ClusterManager:
    """Reports how many requests each cluster was sent, and how they ended, to the control plane, which
    names the clusters."""
    service = core.GrpcService(envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CONTROL_PLANE))
    return bootstrap.ClusterManager(
        load_stats_config=core.ApiConfigSource(
            api_type=core.ApiConfigSourceApiType.GRPC,
            transport_api_version=core.ApiVersion.V3,
            grpc_services=[service],
        )
    )


def _xds_cluster(options: BootstrapOptions) -> cluster.Cluster:
    addresses = (options.xds_address, *options.further_xds_addresses)
    keepalive = core.KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5))
    http2 = http.HttpProtocolOptionsExplicitHttpConfig(
        http2_protocol_options=core.Http2ProtocolOptions(connection_keepalive=keepalive)
    )
    return cluster.Cluster(
        name=CONTROL_PLANE,
        type=cluster.ClusterDiscoveryType.STRICT_DNS,
        connect_timeout=timedelta(seconds=5),
        load_assignment=_load_assignment(CONTROL_PLANE, addresses),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: Any.pack(http.HttpProtocolOptions(explicit_http_config=http2))
        },
        transport_socket=_mutual_tls(options.tls) if options.tls else None,
    )


def _bodies_cluster(options: BootstrapOptions) -> cluster.Cluster:
    """The control plane, for bodies of mirrored requests. What is not sent yet takes memory, so few calls are
    in flight at once; a call beyond that fails at once. The bodies of one request have to reach one replica,
    so a further address is used only while those before it cannot be connected to."""
    addresses = (options.xds_address, *options.further_xds_addresses)
    most = cluster.CircuitBreakersThresholds(
        max_requests=_BODIES_AT_ONCE, max_pending_requests=_BODIES_AT_ONCE, max_retries=0
    )
    hosts = [_load_assignment(BODIES_CLUSTER, [each]).endpoints[0] for each in addresses]
    return replace(
        _xds_cluster(options),
        name=BODIES_CLUSTER,
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name=BODIES_CLUSTER,
            endpoints=[replace(each, priority=priority) for priority, each in enumerate(hosts)],
        ),
        circuit_breakers=cluster.CircuitBreakers(thresholds=[most]),
        outlier_detection=cluster.OutlierDetection(split_external_local_origin_errors=True),
    )


def _load_assignment(name: str, addresses: Iterable[Address]) -> endpoint.ClusterLoadAssignment:
    hosts = [
        endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=_address(address))) for address in addresses
    ]
    return endpoint.ClusterLoadAssignment(
        cluster_name=name, endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=hosts)]
    )


def _mutual_tls(security: BootstrapTls) -> core.TransportSocket:
    def over_sds(name: str) -> tls.SdsSecretConfig:
        path = core.PathConfigSource(path=str(security.sds / f"{name}.yaml"))
        return tls.SdsSecretConfig(name=name, sds_config=core.ConfigSource(path_config_source=path))

    # A signature of the right root is not sufficient: the certificates of other clients have it too.
    wanted = tls.SubjectAltNameMatcher(
        san_type=tls.SubjectAltNameMatcherSanType.DNS,
        matcher=matcher.StringMatcher(exact=security.server_name),
    )
    context = tls.CommonTlsContext(
        tls_params=tls.TlsParameters(
            # As a client, Envoy offers TLS 1.2 at most by default.
            tls_minimum_protocol_version=tls.TlsParametersTlsProtocol.TLSv1_3,
            tls_maximum_protocol_version=tls.TlsParametersTlsProtocol.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[over_sds(_CERTIFICATE)],
        combined_validation_context=tls.CommonTlsContextCombinedCertificateValidationContext(
            default_validation_context=tls.CertificateValidationContext(
                match_typed_subject_alt_names=[wanted]
            ),
            validation_context_sds_secret_config=over_sds(_ROOTS),
        ),
    )
    upstream = tls.UpstreamTlsContext(common_tls_context=context, sni=security.server_name)
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(upstream))


def _address(address: Address) -> core.Address:
    both = address.host == "::"  # IPv4, too
    socket = core.SocketAddress(address=address.host, port_value=address.port, ipv4_compat=both)
    return core.Address(socket_address=socket)
