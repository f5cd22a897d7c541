"""The options of the fleet's gRPC server: message sizes and connection lifetimes."""

from typing import Final

from xds_server.base.sizes import MIB

MAX_MESSAGE_BYTES: Final = 64 * MIB
"""The most bytes of a response."""

MAX_REQUEST_BYTES = 16 * MIB
"""The most bytes of a request. One ACK with 40,000 names exceeds gRPC's default of 4 MiB (rule 19). gRPC
holds up to this much for every peer before this program sees it."""

HANDSHAKE_S = 20.0
"""The time in which a connection must reach its first HTTP/2 frame, with or without a TLS handshake. gRPC's
default is two minutes."""

IDLE_S = 60.0
"""How long a connection may exist without a call."""

MAX_AGE_S: Final = 1800.0
AGE_SPREAD: Final = 0.1
_GRACE_S = 5.0
"""The grace period of a connection that has reached its maximum age: gRPC sends GOAWAY and closes the
connection after it. An Envoy keeps its stream until then, and its configuration beyond."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # An Envoy has one stream. This limit bounds what one peer can cost.
    ("grpc.max_concurrent_streams", 100),
    # Rule 20: detect dead peers, allow Envoy's own pings.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


def connection_options(handshake_s: float = HANDSHAKE_S, idle_s: float = IDLE_S) -> list[tuple[str, int]]:
    """Options of any gRPC server: close connections that are not used."""
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
    """Options of the fleet's server. gRPC varies the maximum connection age by a tenth, so that a fleet
    spreads over the replicas (rule 20)."""
    return [
        *_OPTIONS,
        *connection_options(handshake_s, idle_s),
        ("grpc.max_connection_age_ms", round(max_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(grace_s * 1000)),
        # Two servers must not share a port by accident, or the fleet would be split between them.
        ("grpc.so_reuseport", 0),
    ]
