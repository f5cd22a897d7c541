"""What happens on the streams, for whoever keeps count (`fleet`, later metrics). Immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version


class Variant(StrEnum):
    """The two forms of the protocol."""

    DELTA = "delta"
    SOTW = "sotw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Who a stream belongs to, from the first request's ``node``. `metadata` is plain JSON data."""

    id: NodeId
    cluster: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    build: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """The first request of a stream was accepted."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The client asked for a type that is served, for the first time on its stream."""

    stream: StreamId
    type_url: TypeUrl


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
    """The client holds all of this version from an earlier stream, so nothing was sent (line 30)."""

    stream: StreamId
    type_url: TypeUrl
    version: Version


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
    """The stream is gone; `reason` says why where it was we who ended it."""

    stream: StreamId
    reason: str = ""


Event = StreamOpened | Subscribed | Sent | Resumed | Acked | Nacked | StreamClosed
