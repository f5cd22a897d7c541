"""The gateway listener, after Envoy's published "Configuring Envoy as an edge proxy": remote address, path
normalisation, header rules, HTTP/2 limits, idle timeouts, bounded buffers.
"""

from envoy.config.core.v3 import address_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xds_server.snapshot.resource import Resource
from xds_server.translate.names import GATEWAY, LISTENER_KEY, ROUTES_KEY
from xds_server.translate.wire import over_ads, packed, resource, seconds, true, uint32

_HCM = http_connection_manager_pb2.HttpConnectionManager
_BUFFER_BYTES = 32 * 1024
_CONNECTION_IDLE_S = 3600
_STREAM_IDLE_S = 300
_REQUEST_HEADERS_S = 10
_HTTP2_STREAMS = 100
_HTTP2_STREAM_WINDOW = 64 * 1024
_HTTP2_CONNECTION_WINDOW = 1024 * 1024


_EVERYWHERE = "0.0.0.0"  # noqa: S104 - a gateway


def gateway_listener(port: int, address: str = _EVERYWHERE) -> Resource:
    """The one listener; unless told otherwise, on all IPv4 addresses."""
    socket = address_pb2.SocketAddress(address=address, port_value=port)
    chain = listener_components_pb2.FilterChain(
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=packed(_connection_manager()),
            )
        ]
    )
    message = listener_pb2.Listener(
        name=GATEWAY,
        address=address_pb2.Address(socket_address=socket),
        filter_chains=[chain],
        per_connection_buffer_limit_bytes=uint32(_BUFFER_BYTES),
    )
    return resource(LISTENER_KEY, message, refs=(ROUTES_KEY,))


def moved(listener: Resource, *, port: int | None, address: str | None) -> Resource:
    """The listener at another port or address; None leaves what it has."""
    at = listener_pb2.Listener.FromString(listener.body).address.socket_address
    return gateway_listener(port or at.port_value, address or at.address)


def _connection_manager() -> http_connection_manager_pb2.HttpConnectionManager:
    return _HCM(
        stat_prefix=GATEWAY,
        rds=http_connection_manager_pb2.Rds(
            route_config_name=ROUTES_KEY.name,
            config_source=over_ads(),
        ),
        http_filters=[
            http_connection_manager_pb2.HttpFilter(
                name="envoy.filters.http.router", typed_config=packed(router_pb2.Router())
            )
        ],
        use_remote_address=true(),
        normalize_path=true(),
        merge_slashes=True,
        path_with_escaped_slashes_action=_HCM.UNESCAPE_AND_REDIRECT,
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=seconds(_CONNECTION_IDLE_S),
            headers_with_underscores_action=protocol_pb2.HttpProtocolOptions.REJECT_REQUEST,
        ),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=uint32(_HTTP2_STREAMS),
            initial_stream_window_size=uint32(_HTTP2_STREAM_WINDOW),
            initial_connection_window_size=uint32(_HTTP2_CONNECTION_WINDOW),
        ),
        stream_idle_timeout=seconds(_STREAM_IDLE_S),
        request_headers_timeout=seconds(_REQUEST_HEADERS_S),
        # As a plain reverse proxy: the backend's Server header, and WebSocket where a client asks for it.
        server_header_transformation=_HCM.PASS_THROUGH,
        upgrade_configs=[_HCM.UpgradeConfig(upgrade_type="websocket")],
    )
