"""The access log: one JSON line for each request of a client, on Envoy's standard output.

Mirrored requests have no line, because they do not pass the connection manager. The metadata of a request's
route has the canaries that it was mirrored to, because the route alone decides that.
"""

from collections.abc import Sequence
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from google.protobuf.struct_pb2 import Struct

from xds_server.translate.wire import packed

_METADATA: Final = "xds-shadow"
_MIRRORED_TO: Final = "mirrored_to"

ACCESS_LOG: Final = (
    ("time", "%START_TIME%", "When the request began."),
    ("request_id", "%REQ(X-REQUEST-ID)%", "As the primary and the canary see it."),
    ("method", "%REQ(:METHOD)%", ""),
    ("host", "%REQ(:AUTHORITY)%", "As sent."),
    ("path", "%PATH(NQ)%", "Without the query, which may hold secrets."),
    ("protocol", "%PROTOCOL%", ""),
    ("status", "%RESPONSE_CODE%", "0: the client disconnected before there was one."),
    ("flags", "%RESPONSE_FLAGS%", "Envoy's reasons for a response of its own, or `-`."),
    ("bytes_received", "%BYTES_RECEIVED%", "The size of the request's body."),
    ("bytes_sent", "%BYTES_SENT%", "The size of the response's body."),
    ("duration_ms", "%DURATION%", "Until the last byte of the response."),
    (
        "client",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "The client's address, as far as forwarded headers are trusted.",
    ),
    ("peer", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "The address of the connected peer."),
    ("service", "%UPSTREAM_CLUSTER%", "The Service and its port."),
    ("endpoint", "%UPSTREAM_HOST%", "The endpoint that responded."),
    ("route", "%ROUTE_NAME%", ""),
    (
        _MIRRORED_TO,
        f"%METADATA(ROUTE:{_METADATA}:{_MIRRORED_TO})%",
        "The canaries that it was mirrored to, as a list of `NAMESPACE/NAME`; null if none.",
    ),
)
"""Each field: its name, Envoy's format, and its meaning."""


def set_mirrored_to(metadata: base_pb2.Metadata, canaries: Sequence[str]) -> None:
    """Record in a route's metadata to which canaries its requests are mirrored."""
    metadata.filter_metadata[_METADATA].get_or_create_list(_MIRRORED_TO).extend(canaries)


def to_stdout() -> accesslog_pb2.AccessLog:
    """The access log of a connection manager."""
    fields = Struct()
    for name, written, _ in ACCESS_LOG:
        fields[name] = written
    form = substitution_format_string_pb2.SubstitutionFormatString(json_format=fields)
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.stdout",
        typed_config=packed(stream_pb2.StdoutAccessLog(log_format=form)),
    )
