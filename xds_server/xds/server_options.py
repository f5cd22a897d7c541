"""What the fleet's gRPC server is set to: how large messages may be, and how long connections live."""

from typing import Final

from xds_server.base.sizes import MIB

MAX_MESSAGE_BYTES: Final = 64 * MIB
"""Of a response."""

MAX_REQUEST_BYTES = 16 * MIB
"""gRPC's default of 4 MiB is less than one acknowledgement of 40,000 names (rule 19). Of this size every peer
may have one in memory before this program sees it."""

HANDSHAKE_S = 20.0
"""In which a connection has to come to its first HTTP/2 frame, with a TLS handshake before it or without.
gRPC's own default is two minutes."""

IDLE_S = 60.0
"""For which a connection may be without a call."""

MAX_AGE_S: Final = 1800.0
AGE_SPREAD: Final = 0.1
_GRACE_S = 5.0
"""Of a connection that has reached its age: gRPC tells the client to go away, and cuts what is left after
this. An Envoy keeps its one stream till then, and everything that it was configured with beyond."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # An Envoy has one stream. What one connection may hold open bounds what one peer can cost.
    ("grpc.max_concurrent_streams", 100),
    # Rule 20: find dead peers, allow Envoy's own pings.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


def connection_options(handshake_s: float = HANDSHAKE_S, idle_s: float = IDLE_S) -> list[tuple[str, int]]:
    """Of any gRPC server: connections that come to nothing end."""
    return [
        ("grpc.server_handshake_timeout_ms", round(handshake_s * 1000)),
        ("grpc.max_connection_idle_ms", round(idle_s * 1000)),
    ]


def server_options(
    *,
    max_age_s: float = MAX_AGE_S,
    grace_s: float = _GRACE_S,
    handshake_s: float = HANDSHAKE_S,
    idle_s: float = IDLE_S,
) -> list[tuple[str, int]]:
    """Of the server of a fleet. A connection lives `max_age_s`, which gRPC spreads by a tenth, so that a
    fleet spreads over the replicas (rule 20)."""
    return [
        *_OPTIONS,
        *connection_options(handshake_s, idle_s),
        ("grpc.max_connection_age_ms", round(max_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(grace_s * 1000)),
        # Two servers must never share a port by accident: the fleet would be split between them.
        ("grpc.so_reuseport", 0),
    ]
