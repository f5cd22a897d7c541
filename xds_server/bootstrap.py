"""The bootstrap configuration of an Envoy that joins the fleet, after Envoy's "Configuring Envoy as an edge
proxy": everything but the control plane's address comes over ADS, and the process is bounded.
"""

from dataclasses import dataclass
from datetime import timedelta

import envoy_data_plane.envoy.config.bootstrap.v3 as bootstrap
import envoy_data_plane.envoy.config.cluster.v3 as cluster
import envoy_data_plane.envoy.config.core.v3 as core
import envoy_data_plane.envoy.config.endpoint.v3 as endpoint
import envoy_data_plane.envoy.config.overload.v3 as overload
import envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 as connections
import envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap.v3 as heap
import envoy_data_plane.envoy.extensions.upstreams.http.v3 as http
import yaml
from betterproto2 import Casing
from envoy_data_plane.google.protobuf import Any, Struct

from xds_server.ads.events import Variant
from xds_server.base.address import Address
from xds_server.base.metadata import GATEWAY_PORT, NAMESPACES

_XDS_CLUSTER = "xds-shadow"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MAX_CONNECTIONS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapOptions:
    """What differs between Envoys. `gateway_port` None leaves it to the control plane; no `namespaces` are
    all."""

    node_id: str
    node_cluster: str = "xds-shadow"
    xds_address: Address
    further_xds_addresses: tuple[Address, ...] = ()
    mode: Variant = Variant.DELTA
    admin_port: int = 9901
    gateway_port: int | None = None
    namespaces: tuple[str, ...] = ()
    max_heap_mib: int = 1024


def bootstrap_yaml(options: BootstrapOptions) -> str:
    """The bootstrap as YAML for ``envoy --config-path``."""
    return yaml.safe_dump(_bootstrap(options).to_dict(casing=Casing.SNAKE), sort_keys=False)


def _bootstrap(options: BootstrapOptions) -> bootstrap.Bootstrap:
    over_ads = core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)
    metadata = {}
    if options.gateway_port is not None:
        metadata[GATEWAY_PORT] = str(options.gateway_port)
    if options.namespaces:
        metadata[NAMESPACES] = ",".join(options.namespaces)
    return bootstrap.Bootstrap(
        node=core.Node(
            id=options.node_id,
            cluster=options.node_cluster,
            metadata=Struct.from_dict(metadata) if metadata else None,
        ),
        admin=bootstrap.Admin(address=_address(Address("127.0.0.1", options.admin_port))),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            ads_config=_ads(options.mode), cds_config=over_ads, lds_config=over_ads
        ),
        static_resources=bootstrap.BootstrapStaticResources(
            clusters=[_xds_cluster([options.xds_address, *options.further_xds_addresses])]
        ),
        overload_manager=_overload_manager(options.max_heap_mib * 1024 * 1024),
    )


def _ads(mode: Variant) -> core.ApiConfigSource:
    delta = core.ApiConfigSourceApiType.DELTA_GRPC
    sotw = core.ApiConfigSourceApiType.GRPC
    # Half a second to five: a fleet finds a restarted control plane quickly and does not storm it.
    back_off = core.BackoffStrategy(
        base_interval=timedelta(milliseconds=500), max_interval=timedelta(seconds=5)
    )
    service = core.GrpcServiceEnvoyGrpc(
        cluster_name=_XDS_CLUSTER, retry_policy=core.RetryPolicy(retry_back_off=back_off)
    )
    return core.ApiConfigSource(
        api_type=delta if mode is Variant.DELTA else sotw,
        transport_api_version=core.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[core.GrpcService(envoy_grpc=service)],
    )


def _xds_cluster(addresses: list[Address]) -> cluster.Cluster:
    keepalive = core.KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5))
    http2 = http.HttpProtocolOptionsExplicitHttpConfig(
        http2_protocol_options=core.Http2ProtocolOptions(connection_keepalive=keepalive)
    )
    hosts = [
        endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=_address(address))) for address in addresses
    ]
    return cluster.Cluster(
        name=_XDS_CLUSTER,
        type=cluster.ClusterDiscoveryType.STRICT_DNS,
        connect_timeout=timedelta(seconds=5),
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name=_XDS_CLUSTER, endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=hosts)]
        ),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: Any.pack(http.HttpProtocolOptions(explicit_http_config=http2))
        },
    )


def _overload_manager(max_heap_bytes: int) -> overload.OverloadManager:
    heap_monitor = "envoy.resource_monitors.fixed_heap"

    def when_heap(action: str, share: float) -> overload.OverloadAction:
        trigger = overload.Trigger(name=heap_monitor, threshold=overload.ThresholdTrigger(value=share))
        return overload.OverloadAction(name=f"envoy.overload_actions.{action}", triggers=[trigger])

    return overload.OverloadManager(
        refresh_interval=timedelta(milliseconds=250),
        resource_monitors=[
            overload.ResourceMonitor(
                name=heap_monitor,
                typed_config=Any.pack(heap.FixedHeapConfig(max_heap_size_bytes=max_heap_bytes)),
            ),
            overload.ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections",
                typed_config=Any.pack(
                    connections.DownstreamConnectionsConfig(
                        max_active_downstream_connections=_MAX_CONNECTIONS
                    )
                ),
            ),
        ],
        actions=[when_heap("shrink_heap", 0.95), when_heap("stop_accepting_requests", 0.98)],
    )


def _address(address: Address) -> core.Address:
    socket = core.SocketAddress(address=address.host, port_value=address.port)
    return core.Address(socket_address=socket)
