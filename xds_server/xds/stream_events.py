"""Events of the streams, for the fleet's state, the log and metrics. Immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version

_NO_NODE: Final = NodeId("")


class Variant(StrEnum):
    """The two variants of the protocol."""

    DELTA = "delta"
    SOTW = "sotw"


class Cause(StrEnum):
    """Why a stream ended. A fixed set of values, because they are labels of a metric."""

    CLIENT = "client"
    INVALID = "invalid_request"
    DENIED = "denied"
    LIMIT = "limit"
    RATE = "rate"
    PEER = "peer_limit"
    SILENT = "no_request"
    SLOW = "slow_reader"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A client, from the ``node`` in its first request. `metadata` is JSON data; events leave it out, as it
    may be large. `release` is Envoy's major and minor version; zeros if the client is not an Envoy.
    `log_filters` are the extensions that it has as filters of access logs."""

    id: NodeId
    cluster: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    build: str = ""
    release: tuple[int, int] = (0, 0)
    log_filters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """The first request of a stream was accepted."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The client subscribed to a type for the first time on this stream. Only for types that are served,
    because clients can invent others."""

    stream: StreamId
    type_url: TypeUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesSubscribed:
    """The route configurations that the client subscribes to from now on, sorted; empty if there are more
    than a few."""

    stream: StreamId
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A response is about to be written. `resources` and `removed` are counts; `size` is in bytes."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    nonce: Nonce
    resources: int
    removed: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The client holds all of this version from an earlier stream, so nothing was sent (rule 30)."""

    stream: StreamId
    type_url: TypeUrl
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A response was not sent because it exceeds gRPC's limit and cannot be split. The client keeps what it
    had. `size` is in bytes."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    """The client sent an ACK for the response `nonce`. `rejecting` says that it still rejects another
    resource of the type."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    nonce: Nonce
    rejecting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nacked:
    """The client sent a NACK for the response `nonce` and keeps what it had. `message` is the client's."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    nonce: Nonce
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed:
    """The stream of `node` closed. `reason` is for people, as far as it is known; `cause` is for metrics."""

    stream: StreamId
    node: NodeId = _NO_NODE
    reason: str = ""
    cause: Cause = Cause.CLIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDenied:
    """A stream ended before it was opened: it was not admitted, its client was not authorized, or its first
    request was invalid. `cause` is not CLIENT. A stream that was not admitted has the number 0."""

    stream: StreamId
    peer: str
    reason: str
    cause: Cause


Event = (
    StreamOpened
    | Subscribed
    | RoutesSubscribed
    | Sent
    | Resumed
    | Withheld
    | Acked
    | Nacked
    | StreamClosed
    | StreamDenied
)
