"""The gateway's listeners and their connection managers, from the gateway file.

The hardened profile follows Envoy's "Configuring Envoy as an edge proxy". The bounds on memory (HTTP/2
limits, buffers, header timeout) are the same in both profiles.
"""

from collections.abc import Sequence
from functools import cache, lru_cache

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, protocol_pb2, socket_option_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from xds_server.base.sizes import MIB
from xds_server.translate.access_log import to_stdout
from xds_server.translate.gateway import (
    AccessLog,
    GatewayConfig,
    GatewayListener,
    OtherMethods,
    OtherUpgrades,
    Underscores,
)
from xds_server.translate.gateway_values import EVERY_IPV4, EVERY_IPV6, Cidr
from xds_server.translate.names import listener_key, routes_key
from xds_server.translate.pacing import pacing_filter
from xds_server.translate.upstream_log import upstream_log
from xds_server.translate.wire import over_ads, packed, resource, seconds, serialized, true, uint32
from xds_server.xds.resource import Resource

_HCM = http_connection_manager_pb2.HttpConnectionManager
_Http = protocol_pb2.HttpProtocolOptions
_Chain = listener_components_pb2.FilterChain
_LISTENERS = 64
_BUFFER_BYTES = 32 * 1024
_HTTP2_STREAMS = 100
_HTTP2_STREAM_WINDOW = 64 * 1024
_HTTP2_CONNECTION_WINDOW = MIB
_KEEPALIVE = (("SO_KEEPALIVE", 1, 9, 1), ("TCP_KEEPIDLE", 6, 4, 300), ("TCP_KEEPINTVL", 6, 5, 30))
"""Socket options as name, level, option and value on Linux; in seconds. With the kernel's 9 probes, a dead
peer is detected in less than ten minutes."""

_UNDERSCORES = {
    Underscores.ALLOW: _Http.ALLOW,
    Underscores.DROP: _Http.DROP_HEADER,
    Underscores.REJECT: _Http.REJECT_REQUEST,
}

# Envoy holds the data after an upgrade request until the backend accepts the upgrade. A backend that responds
# only after the body would wait forever, and so would Envoy. A server may ignore an upgrade (RFC 9110, 7.8).
_NO_UPGRADE_WITH_A_BODY = """\
function envoy_on_request(request)
  local headers = request:headers()
  local length = headers:get("content-length")
  if length and length ~= "0" then
    headers:remove("upgrade")
    headers:remove("connection")
  end
end
"""


def gateway_listener(listener: GatewayListener, gateway: GatewayConfig, *, port: int) -> Resource:
    """A listener; on `port` unless it names another."""
    message = listener_pb2.Listener(
        name=listener.name,
        filter_chains=_chains(listener.name, gateway),
        per_connection_buffer_limit_bytes=uint32(_BUFFER_BYTES),
        # Independent of the file: with other options Envoy opens new sockets, and connections that are being
        # opened when a socket closes are reset.
        socket_options=_keepalive(),
    )
    _listen(message, listener.addresses, listener.port or port)
    return resource(listener_key(listener.name), message, refs=(routes_key(listener.name),))


def _keepalive() -> list[socket_option_pb2.SocketOption]:
    """Options of the listening socket, which its connections inherit. If the file has no idle timeout, only
    these options end the requests of dead clients."""
    prebind = socket_option_pb2.SocketOption.STATE_PREBIND
    return [
        socket_option_pb2.SocketOption(
            description=name, level=level, name=option, int_value=value, state=prebind
        )
        for name, level, option, value in _KEEPALIVE
    ]


def moved(listener: Resource, *, port: int | None, address: str | None) -> Resource:
    """The listener with another port, or with only one, other address; None keeps the value."""
    message = listener_pb2.Listener.FromString(listener.body)
    known = [message.address, *(more.address for more in message.additional_addresses)]
    addresses = [address] if address else [each.socket_address.address for each in known]
    _listen(message, addresses, port or message.address.socket_address.port_value)
    return Resource(listener.key, serialized(message), listener.refs)


def logging(listener: Resource) -> Resource:
    """The listener with the log for the control plane in its routers."""
    return Resource(listener.key, _logging(listener.body), listener.refs)


@lru_cache(_LISTENERS)
def _logging(body: bytes) -> bytes:
    message = listener_pb2.Listener.FromString(body)
    for chain in message.filter_chains:
        for each in chain.filters:
            manager = _HCM.FromString(each.typed_config.value)
            # The routers of upgrades are left out: upgrades are not mirrored.
            router = router_pb2.Router.FromString(manager.http_filters[-1].typed_config.value)
            router.upstream_log.append(upstream_log())
            manager.http_filters[-1].typed_config.CopyFrom(packed(router))
            each.typed_config.CopyFrom(packed(manager))
    return serialized(message)


def _listen(message: listener_pb2.Listener, addresses: Sequence[str], port: int) -> None:
    first, *others = (_address(each, port, addresses) for each in addresses)
    message.address.CopyFrom(first)
    del message.additional_addresses[:]
    message.additional_addresses.extend(listener_pb2.AdditionalAddress(address=each) for each in others)


def _address(address: str, port: int, beside: Sequence[str]) -> address_pb2.Address:
    # Not if IPv4 has a socket of its own, which could not be bound then.
    both = address == EVERY_IPV6 and EVERY_IPV4 not in beside
    socket = address_pb2.SocketAddress(address=address, port_value=port, ipv4_compat=both)
    return address_pb2.Address(socket_address=socket)


def _chains(name: str, gateway: GatewayConfig) -> list[listener_components_pb2.FilterChain]:
    """One filter chain for all peers, or one for trusted peers and one for the others. The others are treated
    as by a gateway that trusts nobody."""
    if not gateway.trusted_cidrs:
        return [_chain(_connection_manager(name, gateway, gateway.trusted_hops))]
    peers = listener_components_pb2.FilterChainMatch(
        direct_source_prefix_ranges=[_range(each) for each in gateway.trusted_cidrs]
    )
    trusted = _chain(_connection_manager(name, gateway, gateway.trusted_hops))
    trusted.filter_chain_match.CopyFrom(peers)
    return [trusted, _chain(_connection_manager(name, gateway, 0))]


def _range(network: Cidr) -> address_pb2.CidrRange:
    return address_pb2.CidrRange(address_prefix=network.address, prefix_len=uint32(network.bits))


def _chain(manager: http_connection_manager_pb2.HttpConnectionManager) -> listener_components_pb2.FilterChain:
    filter_ = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=packed(manager)
    )
    return _Chain(filters=[filter_])


def _connection_manager(
    name: str, gateway: GatewayConfig, hops: int
) -> http_connection_manager_pb2.HttpConnectionManager:
    manager = _HCM(
        stat_prefix=name,
        rds=http_connection_manager_pb2.Rds(
            route_config_name=routes_key(name).name,
            config_source=over_ads(),
        ),
        http_filters=[pacing_filter(), _router()],
        # Without this, every client could set Envoy's internal x-envoy-… headers.
        use_remote_address=true(),
        xff_num_trusted_hops=hops,
        preserve_external_request_id=gateway.keep_request_id,
        access_log=_access_logs(gateway),
        common_http_protocol_options=_Http(
            idle_timeout=seconds(gateway.connection_idle_timeout or 0),
            headers_with_underscores_action=_UNDERSCORES[gateway.header_underscores],
        ),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=uint32(_HTTP2_STREAMS),
            initial_stream_window_size=uint32(_HTTP2_STREAM_WINDOW),
            initial_connection_window_size=uint32(_HTTP2_CONNECTION_WINDOW),
        ),
        stream_idle_timeout=seconds(gateway.stream_idle_timeout or 0),
        request_headers_timeout=seconds(gateway.request_headers_timeout or 0),
        # Keep the Server header of the backend.
        server_header_transformation=_HCM.PASS_THROUGH,
        upgrade_configs=[_upgrade(each) for each in gateway.upgrades],
    )
    _set_paths(manager, gateway)
    _set_http1(manager, gateway)
    return manager


def _router() -> http_connection_manager_pb2.HttpFilter:
    # Do not add x-envoy-upstream-service-time and similar headers to responses.
    router = router_pb2.Router(suppress_envoy_headers=True)
    return http_connection_manager_pb2.HttpFilter(
        name="envoy.filters.http.router", typed_config=packed(router)
    )


def _upgrade(token: str) -> http_connection_manager_pb2.HttpConnectionManager.UpgradeConfig:
    """The HTTP filters for requests with this upgrade."""
    script = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=_NO_UPGRADE_WITH_A_BODY))
    bodies = http_connection_manager_pb2.HttpFilter(
        name="xds-shadow.no-upgrade-with-a-body", typed_config=packed(script)
    )
    return _HCM.UpgradeConfig(upgrade_type=token, filters=[bodies, _router()])


def _access_logs(gateway: GatewayConfig) -> list[accesslog_pb2.AccessLog]:
    return [to_stdout()] if gateway.access_log is AccessLog.JSON else []


def _set_paths(manager: http_connection_manager_pb2.HttpConnectionManager, gateway: GatewayConfig) -> None:
    # Set explicitly, because an Envoy's runtime may have other defaults.
    manager.normalize_path.value = gateway.normalize_paths
    manager.merge_slashes = gateway.normalize_paths
    manager.path_with_escaped_slashes_action = (
        _HCM.UNESCAPE_AND_REDIRECT if gateway.normalize_paths else _HCM.KEEP_UNCHANGED
    )


def _set_http1(manager: http_connection_manager_pb2.HttpConnectionManager, gateway: GatewayConfig) -> None:
    if gateway.http10:
        manager.http_protocol_options.accept_http_10 = True
    if gateway.http1_trailers:
        manager.http_protocol_options.enable_trailers = True
    if gateway.other_methods is OtherMethods.ALLOW:
        manager.http_protocol_options.allow_custom_methods = True
    if gateway.other_upgrades is OtherUpgrades.IGNORE:
        manager.http_protocol_options.ignore_http_11_upgrade.extend(_all_but(gateway.upgrades))


@cache
def _all_but(tokens: tuple[str, ...]) -> tuple[string_pb2.StringMatcher, ...]:
    """Matchers for every token but these, case-insensitively. RE2 has no negation, so there is one expression
    for each letter at which a text can leave all tokens, each far below Envoy 1.36's limit of 100
    instructions. Both cases are listed, because (?i) also matches other letters: the Kelvin sign is a k."""
    return tuple(_matching(each) for each in other_tokens(tokens))


def other_tokens(tokens: Sequence[str]) -> list[str]:
    """Regular expressions that together match every text but these, which are in lower case."""
    found = []
    for prefix in sorted({token[:length] for token in tokens for length in range(len(token) + 1)} | {""}):
        following = sorted(
            {token[len(prefix)] for token in tokens if token.startswith(prefix) and token != prefix}
        )
        other = f"[^{''.join(map(_cases, following))}]" if following else "."
        rest = f"{other}.*" if prefix in tokens else f"(?:{other}.*)?"
        found.append("".join(f"[{_cases(each)}]" for each in prefix) + rest)
    return found


def _cases(letter: str) -> str:
    """The two cases of a letter, for a character class."""
    if letter.isalpha():
        return letter.upper() + letter
    return letter if letter.isdigit() else "\\" + letter


def _matching(regex: str) -> string_pb2.StringMatcher:
    return string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=regex))
