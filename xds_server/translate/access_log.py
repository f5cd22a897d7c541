"""A line of JSON for each request of a user, on Envoy's standard output.

Mirrored requests have none: the connection manager never sees them.
"""

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from google.protobuf.struct_pb2 import Struct

from xds_server.translate.wire import packed

ACCESS_LOG: Final = (
    ("time", "%START_TIME%", "When the request began."),
    ("request_id", "%REQ(X-REQUEST-ID)%", "As the stable version and the canary see it."),
    ("method", "%REQ(:METHOD)%", ""),
    ("host", "%REQ(:AUTHORITY)%", "As sent."),
    ("path", "%PATH(NQ)%", "Without the query, which may hold secrets."),
    ("protocol", "%PROTOCOL%", ""),
    ("status", "%RESPONSE_CODE%", "0: the client went away before there was one."),
    ("flags", "%RESPONSE_FLAGS%", "Envoy's reasons for a response of its own, or `-`."),
    ("bytes_received", "%BYTES_RECEIVED%", "Of the body."),
    ("bytes_sent", "%BYTES_SENT%", "Of the body."),
    ("duration_ms", "%DURATION%", "Until the last byte of the response."),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "As far as it is trusted."),
    ("peer", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "Who is connected."),
    ("service", "%UPSTREAM_CLUSTER%", "Namespace, Service and port."),
    ("endpoint", "%UPSTREAM_HOST%", "Which of its endpoints answered."),
    ("route", "%ROUTE_NAME%", ""),
)
"""Each field: its name, Envoy's format, and what it says."""


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
