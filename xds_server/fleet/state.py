"""What is known of every connected Envoy. Pure: events in, immutable records out; time is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from xds_server.ads.events import (
    Acked,
    Event,
    Nacked,
    Node,
    Resumed,
    Sent,
    StreamClosed,
    StreamOpened,
    Subscribed,
    Variant,
)
from xds_server.base.ids import Nonce, StreamId, TypeUrl, Version

_LONGEST_MESSAGE = 2000
"""A client chooses the text of its NACK; this much of it is kept, in characters."""


class Sync(StrEnum):
    """Where a node stands with one type, in the words of CSDS (csds.proto, ClientConfigStatus)."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A NACK: the version it was about, the client's message, when (seconds since the epoch)."""

    version: Version
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class TypeState:
    """One type on one stream. `refusal` is the last NACK, kept after a later ACK; `sync` says whether it
    still stands. `pushes` and `size` (bytes) count every response."""

    sent: Version
    nonce: Nonce
    sync: Sync = Sync.STALE
    acked: Version | None = None
    refusal: Refusal | None = None
    pushes: int = 1
    size: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """One stream of one node; `since` is seconds since the epoch."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str
    since: float
    types: Mapping[TypeUrl, TypeState] = field(default_factory=dict)


class Fleet:
    """The connected streams. A closed stream is forgotten."""

    def __init__(self) -> None:
        self._connections: dict[StreamId, Connection] = {}

    def connections(self) -> list[Connection]:
        """Every open stream, by node and then in the order of opening."""
        return sorted(self._connections.values(), key=lambda c: (c.node.id, c.stream))

    def apply(self, event: Event, *, now: float) -> None:
        """Take one event; events of streams that are not open are ignored."""
        if isinstance(event, StreamOpened):
            self._connections[event.stream] = Connection(
                event.stream, event.node, event.variant, event.peer, since=now
            )
            return
        connection = self._connections.get(event.stream)
        if connection is None:
            return
        if isinstance(event, StreamClosed):
            del self._connections[event.stream]
            return
        if isinstance(event, Subscribed):
            return
        before = connection.types.get(event.type_url)
        after = _after(before, event, now)
        if after is not None:
            types = {**connection.types, event.type_url: after}
            self._connections[event.stream] = replace(connection, types=types)


def _after(before: TypeState | None, event: Sent | Resumed | Acked | Nacked, now: float) -> TypeState | None:
    match event:
        case Sent():
            if before is None:
                return TypeState(event.version, event.nonce, size=event.size)
            return replace(
                before,
                sent=event.version,
                nonce=event.nonce,
                sync=Sync.STALE,
                pushes=before.pushes + 1,
                size=before.size + event.size,
            )
        case Resumed():
            none = Nonce("")
            return TypeState(event.version, none, Sync.SYNCED, acked=event.version, pushes=0)
        case Acked() if before is not None:
            settled = Sync.ERROR if event.refusing else Sync.SYNCED
            sync = settled if event.nonce == before.nonce else before.sync
            return replace(before, acked=event.version, sync=sync)
        case Nacked() if before is not None:
            refusal = Refusal(event.version, event.message[:_LONGEST_MESSAGE], now)
            sync = Sync.ERROR if event.nonce == before.nonce else before.sync
            return replace(before, refusal=refusal, sync=sync)
    return None
