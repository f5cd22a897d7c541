"""Clusters: a Service's own, a plain upstream; and a canary's, bounded so that it can hurt nobody."""

from functools import cache

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import config_source_pb2, protocol_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.any_pb2 import Any

from xds_server.shadows.plan import Protocol
from xds_server.snapshot.framing import text
from xds_server.snapshot.resource import Resource
from xds_server.translate.names import cluster_key, endpoints_key
from xds_server.translate.wire import packed, seconds, serialized, uint32

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT_TIMEOUT_S = 2.0
# Envoy's edge best practices: bound what one connection may buffer.
_BUFFER_BYTES = 32 * 1024
# Envoy's own default of 1,024 would be a limit nobody asked for; the overload manager bounds the process.
_UNLIMITED = 2**32 - 1

SHADOW_TIMEOUT_S = 10.0
"""Bound on a whole mirrored stream. Without one, a canary that does not read holds uploads back for ever
(ENVOY-MIRRORING, "Body and back-pressure")."""

SHADOW_MAX_CONCURRENT = 100
"""Copies in flight per Envoy and canary; one more is dropped, which the primary does not notice."""


def primary_cluster(name: str, protocol: Protocol, *, scope: str = "") -> Resource:
    """The cluster of a Service's port."""
    return _cluster(name, _primary(protocol), scope)


def shadow_cluster(name: str, protocol: Protocol, *, scope: str = "") -> Resource:
    """The cluster of a canary's copies."""
    return _cluster(name, _shadow(protocol), scope)


def _cluster(name: str, rest: bytes, scope: str) -> Resource:
    # Its name is its first field, and all that it does not share with every other cluster of its kind.
    body = text(cluster_pb2.Cluster.NAME_FIELD_NUMBER, name) + rest
    return Resource(cluster_key(name), body, refs=(endpoints_key(name),), scope=scope)


@cache
def _primary(protocol: Protocol) -> bytes:
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=uint32(_UNLIMITED),
        max_pending_requests=uint32(_UNLIMITED),
        max_requests=uint32(_UNLIMITED),
    )
    return _nameless(packed(_options(protocol)), limits)


@cache
def _shadow(protocol: Protocol) -> bytes:
    options = _options(protocol)
    options.common_http_protocol_options.max_stream_duration.CopyFrom(seconds(SHADOW_TIMEOUT_S))
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=uint32(SHADOW_MAX_CONCURRENT),
        max_pending_requests=uint32(SHADOW_MAX_CONCURRENT),
        max_requests=uint32(SHADOW_MAX_CONCURRENT),
        max_retries=uint32(0),
    )
    return _nameless(packed(options), limits)


def _nameless(options: Any, limits: circuit_breaker_pb2.CircuitBreakers.Thresholds) -> bytes:
    message = cluster_pb2.Cluster(
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=_over_ads()),
        connect_timeout=seconds(_CONNECT_TIMEOUT_S),
        per_connection_buffer_limit_bytes=uint32(_BUFFER_BYTES),
        lb_policy=cluster_pb2.Cluster.LEAST_REQUEST,
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        typed_extension_protocol_options={_HTTP_OPTIONS: options},
    )
    return serialized(message)


def _options(protocol: Protocol) -> http_protocol_options_pb2.HttpProtocolOptions:
    explicit = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig()
    match protocol:
        case Protocol.HTTP1:
            explicit.http_protocol_options.SetInParent()
        case Protocol.HTTP2:
            explicit.http2_protocol_options.SetInParent()
    return http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(), explicit_http_config=explicit
    )


def _over_ads() -> config_source_pb2.ConfigSource:
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )
