"""The log of a router's requests to backends: what the primary and canaries answered, for the control plane.

Envoy logs each attempt at the primary and each mirrored request. Those that are logged are selected by the
request id, so both sides of a request are. How many that are is said by metadata of the mirrored routes and
of the canaries' endpoints: changing it costs no listener, and no connection of a cluster.

The filter runs for every request of the listener, so it is ordered by cost. An expression on metadata takes
1 to 2 µs, a header matcher a tenth of it.
"""

from functools import cache
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2, grpc_service_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.type.matcher.v3 import string_pb2

from xds_server.translate.names import SHADOW_HEADER
from xds_server.translate.wire import packed, seconds, serialized, uint32

CONTROL_PLANE: Final = "xds-shadow"
"""The name of the cluster of the control plane in every generated bootstrap."""

LOG_NAME: Final = "xds-shadow"
CEL_EXTENSION: Final = "envoy.access_loggers.extension_filters.cel"
"""The extension that the filter needs. An Envoy without it rejects the listener."""

_ALL: Final = "xds-shadow.all-pairs"
_SAMPLED: Final = "xds-shadow.pairs"
_TAIL: Final = "tail"
"""Keys of metadata. The first is there if all requests are logged. The second has the last characters of the
ids of those that are; UUIDs of any version end in random digits."""

_CHEAP_TAIL: Final = "0"
_ID: Final = "x-request-id"

_FLUSH_S: Final = 1.0
_BUFFER_BYTES: Final = 16 * 1024


def set_sampled(metadata: base_pb2.Metadata, tail: str) -> None:
    """Let the requests of a mirrored route, or of a canary's endpoint, be logged whose ids end in `tail`:
    zeros, or nothing for all requests."""
    if tail:
        metadata.filter_metadata[_SAMPLED][_TAIL] = tail
    else:
        metadata.filter_metadata[_ALL].SetInParent()


@cache
def sampled(tail: str) -> bytes:
    """The metadata of a canary's endpoints."""
    metadata = base_pb2.Metadata()
    set_sampled(metadata, tail)
    return serialized(metadata)


def upstream_log() -> accesslog_pb2.AccessLog:
    """The log for every router whose requests are mirrored. It has the status, the sizes, the times and the
    flags of a response, the method and path of the request, and no body and no other header."""
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=CONTROL_PLANE)
    )
    logged = als_pb2.HttpGrpcAccessLogConfig(
        common_config=als_pb2.CommonGrpcAccessLogConfig(
            log_name=LOG_NAME,
            grpc_service=service,
            transport_api_version=config_source_pb2.V3,
            # Both bound what Envoy holds. A server that takes nothing loses entries and delays no request.
            buffer_flush_interval=seconds(_FLUSH_S),
            buffer_size_bytes=uint32(_BUFFER_BYTES),
        ),
        additional_response_headers_to_log=["content-type", "grpc-status"],
        additional_response_trailers_to_log=["grpc-status"],
    )
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.http_grpc", filter=_filter(), typed_config=packed(logged)
    )


def _filter() -> accesslog_pb2.AccessLogFilter:
    # Only mirrored requests have the header when they are logged, and those that callers sent with it, which
    # are not mirrored and have none of the metadata.
    mirrored = route_components_pb2.HeaderMatcher(name=SHADOW_HEADER, present_match=True)
    others = route_components_pb2.HeaderMatcher(name=SHADOW_HEADER, present_match=True, invert_match=True)
    return _either(
        _both(_header(mirrored), _sampled("xds.upstream_host_metadata")),
        _both(_header(others), _sampled("xds.route_metadata")),
    )


def _sampled(metadata: str) -> accesslog_pb2.AccessLogFilter:
    tail = route_components_pb2.HeaderMatcher(
        name=_ID, string_match=string_pb2.StringMatcher(suffix=_CHEAP_TAIL)
    )
    found = f"{metadata}.filter_metadata"
    return _either(
        _expression(f"'{_ALL}' in {found}"),
        _both(
            _header(tail), _expression(f"request.headers['{_ID}'].endsWith({found}['{_SAMPLED}']['{_TAIL}'])")
        ),
    )


def _expression(text: str) -> accesslog_pb2.AccessLogFilter:
    """Without metadata the expression fails, and Envoy logs nothing."""
    expression = packed(cel_pb2.ExpressionFilter(expression=text))
    return accesslog_pb2.AccessLogFilter(
        extension_filter=accesslog_pb2.ExtensionFilter(name=CEL_EXTENSION, typed_config=expression)
    )


def _header(matcher: route_components_pb2.HeaderMatcher) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _both(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=filters))


def _either(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(or_filter=accesslog_pb2.OrFilter(filters=filters))
