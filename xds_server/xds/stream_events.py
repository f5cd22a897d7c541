"""What happens on the streams, for whoever keeps count (`fleet`, later metrics). Immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version

_NO_NODE: Final = NodeId("")


class Variant(StrEnum):
    """The two forms of the protocol."""

    DELTA = "delta"
    SOTW = "sotw"


class Cause(StrEnum):
    """Why a stream ended, in few words that do not grow: a metric's label has them."""

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
    """Who a stream belongs to, from the first request's ``node``. `metadata` is plain JSON data, and left out
    of events: it may be large. `release` is the major and minor number of its Envoy, zeros if it is none."""

    id: NodeId
    cluster: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    build: str = ""
    release: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """The first request of a stream was accepted."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The client asked for a type for the first time on this stream. Only of types that are served: what a
    client makes up must not be kept."""

    stream: StreamId
    type_url: TypeUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesAsked:
    """The route configurations that the client asks for from now on, sorted; none where it asks for more
    than a few."""

    stream: StreamId
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A response is about to be written. `resources` and `removed` are counts, `size` is bytes."""

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
    """A response that was not sent, as it cannot be split and is larger than gRPC sends; the client keeps
    what it had. `size` is bytes."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    """The client accepted the response `nonce`; `refusing` says that it still refuses another of the type."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    nonce: Nonce
    refusing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nacked:
    """The client refused the response `nonce` and keeps what it had; `message` is its own."""

    stream: StreamId
    type_url: TypeUrl
    version: Version
    nonce: Nonce
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed:
    """The stream of `node` is gone; `reason` says why, as far as that is known, `cause` in one word."""

    stream: StreamId
    node: NodeId = _NO_NODE
    reason: str = ""
    cause: Cause = Cause.CLIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDenied:
    """A stream that was ended before it was opened: its client may not have it, or not now, or asked for
    nothing that can be served. `cause` is not CLIENT. A stream that was not admitted has no number: 0."""

    stream: StreamId
    peer: str
    reason: str
    cause: Cause


Event = (
    StreamOpened
    | Subscribed
    | RoutesAsked
    | Sent
    | Resumed
    | Withheld
    | Acked
    | Nacked
    | StreamClosed
    | StreamDenied
)
