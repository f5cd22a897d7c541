"""What is known of every connected Envoy. Pure: events in, immutable records out; time is an argument.

`apply` is on the serving path: it is called for every push and every acknowledgement. So what it writes to
is mutable and private, and the records are made when somebody reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version
from xds_server.base.text import plain
from xds_server.xds.nack_summary import words
from xds_server.xds.stream_events import (
    Acked,
    Event,
    Nacked,
    Node,
    Resumed,
    RoutesAsked,
    Sent,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Subscribed,
    Variant,
    Withheld,
)
from xds_server.xds.totals import Totals, Traffic, TypeTotals
from xds_server.xds.types import LISTENER, ROUTE

_LONGEST_MESSAGE: Final = 2000
"""A client chooses the text of its NACK; this much of it is kept, in characters."""

_LONGEST_NAME: Final = 100
"""Characters that are kept of the name of a route configuration that is asked for."""

_MOST_WAITING: Final = 64
"""Responses of one type and stream whose time of sending is remembered, for a client that never answers."""

_NO_VERSION: Final = Version("")
_NO_NONCE: Final = Nonce("")


_OfType = Sent | Acked | Nacked | Subscribed | Resumed | Withheld


class Sync(StrEnum):
    """Where a node stands with one type, in the words of CSDS (csds.proto, ConfigStatus)."""

    SYNCED = "SYNCED"
    NOT_SENT = "NOT_SENT"
    STALE = "STALE"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Nack:
    """A NACK: the version it was about, the client's message, when (seconds since the epoch). The message is
    cut to what a person reads, on one line, with nothing in it that steers a terminal."""

    version: Version
    message: str
    at: float


class TypeState(NamedTuple):
    """One type on one stream. `nack` is the last NACK, kept after a later ACK; `sync` says whether it
    still stands. `pushes` and `size` (bytes) count every response. `since` is when what the client has or
    should have last changed: the last response, or what it resumed with, or else its first request for the
    type (seconds since the epoch). While nothing was sent, `sent` and `nonce` are empty."""

    sent: Version
    nonce: Nonce
    sync: Sync
    acked: Version | None = None
    nack: Nack | None = None
    pushes: int = 0
    size: int = 0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Connection:
    """One stream of one node; `since` is seconds since the epoch."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str
    since: float
    types: Mapping[TypeUrl, TypeState] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def routes_only(self) -> bool:
        """Whether its listeners are its own. Who has them from here asks for them before any routes."""
        return ROUTE in self.types and LISTENER not in self.types


class Asking(NamedTuple):
    """The route configurations that a node requests, sorted, and since when (seconds since the epoch). A
    client chooses the names; they are cut to what a person reads."""

    node: NodeId
    routes: tuple[str, ...]
    since: float


class StandingNack(NamedTuple):
    """A NACK that no later ACK has followed: the node keeps what it had of the type."""

    node: NodeId
    type_url: TypeUrl
    nack: Nack


@dataclass(slots=True)
class _Type:
    """`TypeState` while it changes. `waiting` holds when each unanswered response was sent."""

    totals: TypeTotals
    since: float
    sent: Version = _NO_VERSION
    nonce: Nonce = _NO_NONCE
    sync: Sync = Sync.NOT_SENT
    acked: Version | None = None
    nack: Nack | None = None
    pushes: int = 0
    size: int = 0
    refuses: bool = False
    waiting: dict[Nonce, float] = field(default_factory=dict)

    def view(self) -> TypeState:
        return TypeState(
            self.sent,
            self.nonce,
            self.sync,
            self.acked,
            self.nack,
            self.pushes,
            self.size,
            self.since,
        )

    def note_sent(self, event: Sent, now: float) -> None:
        self.sent, self.nonce, self.sync, self.since = event.version, event.nonce, Sync.STALE, now
        self.pushes += 1
        self.size += event.size
        self.waiting[event.nonce] = now
        if len(self.waiting) > _MOST_WAITING:
            del self.waiting[next(iter(self.waiting))]
        else:
            self.totals.unanswered += 1
        self.totals.pushes += 1
        self.totals.size += event.size

    def note_resumed(self, version: Version, now: float) -> None:
        self.sent, self.nonce, self.sync, self.since = version, _NO_NONCE, Sync.SYNCED, now
        self.acked = version
        self._note_refuses(refuses=False)

    def note_acked(self, event: Acked, now: float) -> None:
        self.acked = event.version
        if event.nonce == self.nonce:
            self.sync = Sync.ERROR if event.refusing else Sync.SYNCED
            self._note_refuses(refuses=event.refusing)
        self.totals.acks += 1
        sent_at = self._settle(event.nonce)
        if sent_at is not None:
            self.totals.latency.note(now - sent_at)

    def note_nacked(self, event: Nacked, now: float) -> None:
        self.nack = Nack(event.version, words(event.message, _LONGEST_MESSAGE), now)
        if event.nonce == self.nonce:
            self.sync = Sync.ERROR
            self._note_refuses(refuses=True)
        self.totals.nacks += 1
        self._settle(event.nonce)

    def note_withheld(self, event: Withheld, now: float) -> None:
        """The node keeps what it had, as where it refuses: it is not to blame, but what it lacks is."""
        message = f"not sent: the response has {event.size:,} bytes, which is more than gRPC allows"
        self.nack = Nack(event.version, message, now)
        self.sync = Sync.ERROR
        self._note_refuses(refuses=True)

    def note_closed(self) -> None:
        self.totals.unanswered -= len(self.waiting)
        self._note_refuses(refuses=False)

    def _note_refuses(self, *, refuses: bool) -> None:
        """Unlike `sync` this lasts while another response is on its way."""
        self.totals.refusing += refuses - self.refuses
        self.refuses = refuses

    def _settle(self, nonce: Nonce) -> float | None:
        """When the response was sent, if that is known. It settles those before it too: a client answers in
        order."""
        sent_at = self.waiting.get(nonce)
        if sent_at is not None:
            in_order = list(self.waiting)
            settled = in_order[: in_order.index(nonce) + 1]
            for each in settled:
                del self.waiting[each]
            self.totals.unanswered -= len(settled)
        return sent_at


@dataclass(slots=True)
class _Stream:
    """`Connection` while it changes."""

    stream: StreamId
    node: Node
    variant: Variant
    peer: str
    since: float
    types: dict[TypeUrl, _Type] = field(default_factory=dict)
    routes: tuple[str, ...] = ()
    routes_since: float = 0.0

    def view(self) -> Connection:
        types = MappingProxyType({url: each.view() for url, each in self.types.items()})
        return Connection(self.stream, self.node, self.variant, self.peer, self.since, types)


class Fleet:
    """The connected streams. A closed stream is forgotten; the counters remember what it did."""

    def __init__(self) -> None:
        self._streams: dict[StreamId, _Stream] = {}
        self._totals = Totals()

    def connections(self) -> list[Connection]:
        """Every open stream, by node and then in the order of opening."""
        return [stream.view() for stream in self._ordered()]

    def nacks(self) -> list[StandingNack]:
        """Every NACK that still stands, in the order of `connections`."""
        return [
            StandingNack(stream.node.id, url, state.nack)
            for stream in self._ordered()
            for url, state in stream.types.items()
            if state.sync is Sync.ERROR and state.nack is not None
        ]

    def asking(self) -> list[Asking]:
        """The route configurations that every node requests, in the order of `connections`."""
        return [Asking(stream.node.id, stream.routes, stream.routes_since) for stream in self._ordered()]

    def traffic(self) -> Traffic:
        """What all streams together have done."""
        return self._totals.view()

    def apply(self, event: Event, *, now: float) -> None:
        """Take one event; events of streams that are not open are ignored."""
        stream = self._streams.get(event.stream)
        if stream is None:
            if isinstance(event, StreamOpened):
                self._open(event, now)
            elif isinstance(event, StreamDenied):
                self._totals.ended[event.cause] += 1
        elif isinstance(event, _OfType):
            self._note(stream, event, now)
        elif isinstance(event, RoutesAsked):
            stream.routes = tuple(plain(name, _LONGEST_NAME) for name in event.names)
            stream.routes_since = now
        elif isinstance(event, StreamClosed):
            del self._streams[event.stream]
            for state in stream.types.values():
                state.note_closed()
            self._totals.note_closed(stream.variant, event.cause)

    def _ordered(self) -> list[_Stream]:
        return sorted(self._streams.values(), key=lambda each: (each.node.id, each.stream))

    def _open(self, event: StreamOpened, now: float) -> None:
        self._streams[event.stream] = _Stream(event.stream, event.node, event.variant, event.peer, now)
        self._totals.note_opened(event.variant)

    def _note(self, stream: _Stream, event: _OfType, now: float) -> None:
        state = stream.types.get(event.type_url)
        if state is None:
            totals = self._totals.types.get(event.type_url)
            # A type that is not served is one that a client made up: it is not kept.
            if totals is None or isinstance(event, Acked | Nacked):
                return
            state = stream.types[event.type_url] = _Type(totals, since=now)
        match event:
            case Sent():
                state.note_sent(event, now)
            case Acked():
                state.note_acked(event, now)
            case Nacked():
                state.note_nacked(event, now)
            case Withheld():
                state.note_withheld(event, now)
            case Resumed():
                state.note_resumed(event.version, now)
            case Subscribed():
                pass  # that there is a state for the type is what it says
