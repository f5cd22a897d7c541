"""Clusters: a Service's own cluster, which avoids unreachable hosts, and a canary's cluster, which is bounded
so that a canary cannot harm the primary.

The settings of a Service's own cluster were measured with one of two and two of three hosts dead;
docs/operate.md has the figures.
"""

from functools import cache

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.core.v3 import address_pb2, protocol_pb2, socket_option_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.any_pb2 import Any

from xds_server.core.plan import Mirror, Protocol
from xds_server.translate.comparing import comparing
from xds_server.translate.local_replies import refuse_local_replies
from xds_server.translate.mirroring import shadow_filters
from xds_server.translate.names import cluster_key, endpoints_key, secret_key
from xds_server.translate.wire import over_ads, packed, seconds, serialized, uint32
from xds_server.xds.framing import text
from xds_server.xds.resource import Resource, ResourceKey

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT_TIMEOUT_S = 1.0
"""Only this timeout detects a host that drops packets. Within a cluster, connecting takes milliseconds."""
_IDLE_S = 4.0
"""Servers close idle connections (Node.js, Apache and uvicorn after 5 s), which makes requests in flight
fail. So Envoy closes them first."""
# Envoy's edge best practices: bound what one connection may buffer.
_BUFFER_BYTES = 32 * 1024
# Envoy's default of 1,024 would be an arbitrary limit; the overload manager bounds the process.
_UNLIMITED = 2**32 - 1

_RETRIES_AT_ONCE = 1_000
"""When connecting times out, all requests that wait for a connection to the host are retried at once; Envoy's
default allows three. A retried attempt was never sent, so this bounds only Envoy's own work."""
_PERCENT_OF_REQUESTS = 100

_FAILURES_IN_A_ROW = 5
_ERRORS_IN_A_ROW = 20
_CANARY_EJECTED_S = 30
_CANARY_EJECTED_AT_MOST_S = 300
"""Outlier detection ejects the canary after 5 consecutive connection failures or timeouts, or 20 consecutive
5xx responses, for 30 s, growing to 300 s. The 5xx threshold is higher because observing errors is the purpose
of a canary."""

_EJECTED_S = 10
_EJECTED_AT_MOST_S = 60
_UNLESS_ALL_PERCENT = 1
"""An unreachable host is ejected for this time, growing with each ejection. Kubernetes takes about 50 s to
detect a dead node; a host that it removes and adds again is new to Envoy. If fewer than this percentage of
hosts are healthy, which means none, Envoy uses all of them."""

_KEEPALIVE_S, _KEEPALIVE_PAUSE_S, _KEEPALIVE_PROBES = 30, 10, 3
"""TCP keepalive ends requests to a host that died before it responded, after one minute."""
_UNACKNOWLEDGED_MS = 20_000
"""The same for data that is not acknowledged; gRPC uses the same value. Only for HTTP/2, where all requests
to a host share one connection: Linux also counts the time of a full receive window, and an HTTP/1 application
may leave an upload unread for longer."""
_SOL_SOCKET, _SO_SNDBUF = 1, 7  # Linux, on all its processors that Envoy runs on
_IPPROTO_TCP, _TCP_USER_TIMEOUT = 6, 18
_SEND_BUFFER_BYTES = 256 * 1024
"""How much a worker can hand to the kernel at once. Without a limit, the kernel takes megabytes of a large
mirrored request in one call, and the clients of that worker wait for it (bench/policy)."""


def primary_cluster(name: str, protocol: Protocol, *, scope: str = "") -> Resource:
    """The cluster of a Service's port."""
    return _cluster(name, _primary(protocol), scope)


def shadow_cluster(name: str, protocol: Protocol, mirror: Mirror, *, scope: str = "") -> Resource:
    """The cluster of a canary's mirrored requests. With a credential, it refers to the secret with the
    cluster's name."""
    credential = name if mirror.credential else None
    rest = _shadow(protocol, mirror, credential)
    return _cluster(name, rest, scope, *([secret_key(credential)] if credential else []))


def _cluster(name: str, rest: bytes, scope: str, *refs: ResourceKey) -> Resource:
    # The name is the first field, and the only field that differs between clusters of the same kind.
    body = text(cluster_pb2.Cluster.NAME_FIELD_NUMBER, name) + rest
    return Resource(cluster_key(name), body, refs=(endpoints_key(name), *refs), scope=scope)


@cache
def _primary(protocol: Protocol) -> bytes:
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=uint32(_UNLIMITED),
        max_pending_requests=uint32(_UNLIMITED),
        max_requests=uint32(_UNLIMITED),
        retry_budget=circuit_breaker_pb2.CircuitBreakers.Thresholds.RetryBudget(
            budget_percent=percent_pb2.Percent(value=_PERCENT_OF_REQUESTS),
            min_retry_concurrency=uint32(_RETRIES_AT_ONCE),
        ),
    )
    more = _avoiding_the_unreachable()
    if protocol is Protocol.HTTP2:
        unacknowledged = _option("TCP_USER_TIMEOUT", _IPPROTO_TCP, _TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        more.upstream_bind_config.socket_options.append(unacknowledged)
    return _nameless(packed(_options(protocol)), limits, more)


def _avoiding_the_unreachable() -> cluster_pb2.Cluster:
    """Ejects hosts that cannot be connected to. Responses of the application do not count, whatever their
    status, and the last host is never ejected."""
    return cluster_pb2.Cluster(
        outlier_detection=outlier_detection_pb2.OutlierDetection(
            split_external_local_origin_errors=True,
            consecutive_local_origin_failure=uint32(_FAILURES_IN_A_ROW),
            enforcing_consecutive_5xx=uint32(0),
            enforcing_success_rate=uint32(0),
            enforcing_local_origin_success_rate=uint32(0),
            interval=seconds(1),
            base_ejection_time=seconds(_EJECTED_S),
            max_ejection_time=seconds(_EJECTED_AT_MOST_S),
            max_ejection_percent=uint32(100),
        ),
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            healthy_panic_threshold=percent_pb2.Percent(value=_UNLESS_ALL_PERCENT),
            # Without this, Envoy delays the second ejection within one second.
            update_merge_window=seconds(0),
        ),
        upstream_connection_options=cluster_pb2.UpstreamConnectionOptions(
            tcp_keepalive=address_pb2.TcpKeepalive(
                keepalive_time=uint32(_KEEPALIVE_S),
                keepalive_interval=uint32(_KEEPALIVE_PAUSE_S),
                keepalive_probes=uint32(_KEEPALIVE_PROBES),
            )
        ),
    )


def _shadow(protocol: Protocol, mirror: Mirror, credential: str | None) -> bytes:
    options, treatment = _options(protocol), mirror.treatment
    # Bounds the whole mirrored request, whatever the canary does.
    options.common_http_protocol_options.max_stream_duration.CopyFrom(seconds(treatment.timeout_ms / 1000))
    options.http_filters.extend([*comparing(mirror), *shadow_filters(mirror, credential)])
    refuse_local_replies(options.http_filters)
    most = uint32(treatment.max_concurrent)
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=uint32(0)
    )
    return _nameless(packed(options), limits, _kept_off())


@cache
def _kept_off() -> cluster_pb2.Cluster:
    """Ejects a failing canary, even if it is the only host, and bounds the time for which a mirrored request
    occupies a worker."""
    return cluster_pb2.Cluster(
        outlier_detection=outlier_detection_pb2.OutlierDetection(
            consecutive_5xx=uint32(_ERRORS_IN_A_ROW),
            split_external_local_origin_errors=True,
            consecutive_local_origin_failure=uint32(_FAILURES_IN_A_ROW),
            enforcing_success_rate=uint32(0),
            enforcing_local_origin_success_rate=uint32(0),
            interval=seconds(1),
            base_ejection_time=seconds(_CANARY_EJECTED_S),
            max_ejection_time=seconds(_CANARY_EJECTED_AT_MOST_S),
            max_ejection_percent=uint32(100),
        ),
        upstream_bind_config=address_pb2.BindConfig(
            socket_options=[_option("SO_SNDBUF", _SOL_SOCKET, _SO_SNDBUF, _SEND_BUFFER_BYTES)]
        ),
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            healthy_panic_threshold=percent_pb2.Percent(value=0)
        ),
    )


def _option(description: str, level: int, name: int, value: int) -> socket_option_pb2.SocketOption:
    return socket_option_pb2.SocketOption(
        description=description,
        level=level,
        name=name,
        int_value=value,
        state=socket_option_pb2.SocketOption.STATE_PREBIND,
    )


def _nameless(
    options: Any,
    limits: circuit_breaker_pb2.CircuitBreakers.Thresholds,
    more: cluster_pb2.Cluster,
) -> bytes:
    message = cluster_pb2.Cluster(
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=over_ads()),
        connect_timeout=seconds(_CONNECT_TIMEOUT_S),
        per_connection_buffer_limit_bytes=uint32(_BUFFER_BYTES),
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        typed_extension_protocol_options={_HTTP_OPTIONS: options},
    )
    message.MergeFrom(more)
    return serialized(message)


def _options(protocol: Protocol) -> http_protocol_options_pb2.HttpProtocolOptions:
    explicit = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig()
    match protocol:
        case Protocol.HTTP1:
            # The listener decides which protocols are accepted.
            explicit.http_protocol_options.enable_trailers = True
        case Protocol.HTTP2:
            explicit.http2_protocol_options.SetInParent()
    return http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=seconds(_IDLE_S)),
        explicit_http_config=explicit,
    )
