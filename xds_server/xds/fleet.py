"""The state of every connected Envoy. Pure: events in, immutable records out; time is an argument.

`apply` is on the serving path: every push and every ACK calls it. So it updates private, mutable state, and
records are made when somebody reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version
from xds_server.base.text import plain
from xds_server.xds.nack_summary import summary
from xds_server.xds.stream_events import (
    Acked,
    Event,
    Nacked,
    Node,
    Resumed,
    RoutesSubscribed,
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
"""How many characters of a NACK's message are kept, because the client chooses the text."""

_LONGEST_NAME: Final = 100
"""How many characters of a subscribed route configuration's name are kept."""

_MOST_WAITING: Final = 64
"""For how many unanswered responses of one type and stream the time of sending is kept, in case a client
never answers."""

_NO_VERSION: Final = Version("")
_NO_NONCE: Final = Nonce("")


_OfType = Sent | Acked | Nacked | Subscribed | Resumed | Withheld


class Sync(StrEnum):
    """The state of one type at a node, in CSDS's terms (csds.proto, ConfigStatus)."""

    SYNCED = "SYNCED"
    NOT_SENT = "NOT_SENT"
    STALE = "STALE"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Nack:
    """A NACK: the rejected version, the client's message, and the time (seconds since the epoch). The message
    is shortened to one line without control characters."""

    version: Version
    message: str
    at: float


class TypeState(NamedTuple):
    """One type on one stream. `nack` is the last NACK, kept after a later ACK; `sync` says whether it still
    applies. `pushes` and `size` (bytes) count all responses. `since` is the time of the last response, or of
    resuming, or of the first request for the type (seconds since the epoch). `sent` and `nonce` are empty
    until a response was sent."""

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
        """Whether the Envoy has its own listeners. An Envoy that gets its listeners here subscribes to them
        before any routes."""
        return ROUTE in self.types and LISTENER not in self.types


class RouteSubscription(NamedTuple):
    """The route configurations that a node subscribes to, sorted, and since when (seconds since the epoch).
    The client chooses the names; they are truncated."""

    node: NodeId
    routes: tuple[str, ...]
    since: float


class StandingNack(NamedTuple):
    """A NACK without a later ACK: the node keeps what it had of the type."""

    node: NodeId
    type_url: TypeUrl
    nack: Nack


@dataclass(slots=True)
class _Type:
    """The mutable form of `TypeState`. `waiting` has the time of sending of each unanswered response."""

    totals: TypeTotals
    since: float
    sent: Version = _NO_VERSION
    nonce: Nonce = _NO_NONCE
    sync: Sync = Sync.NOT_SENT
    acked: Version | None = None
    nack: Nack | None = None
    pushes: int = 0
    size: int = 0
    rejecting: bool = False
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
        self._set_rejecting(rejecting=False)

    def note_acked(self, event: Acked, now: float) -> None:
        self.acked = event.version
        if event.nonce == self.nonce:
            self.sync = Sync.ERROR if event.rejecting else Sync.SYNCED
            self._set_rejecting(rejecting=event.rejecting)
        self.totals.acks += 1
        sent_at = self._settle(event.nonce)
        if sent_at is not None:
            self.totals.latency.note(now - sent_at)

    def note_nacked(self, event: Nacked, now: float) -> None:
        self.nack = Nack(event.version, summary(event.message, _LONGEST_MESSAGE), now)
        if event.nonce == self.nonce:
            self.sync = Sync.ERROR
            self._set_rejecting(rejecting=True)
        self.totals.nacks += 1
        self._settle(event.nonce)

    def note_withheld(self, event: Withheld, now: float) -> None:
        """The node keeps what it had, as after a NACK. It is not at fault, but lacks the new version."""
        message = f"not sent: the response has {event.size:,} bytes, which is more than gRPC allows"
        self.nack = Nack(event.version, message, now)
        self.sync = Sync.ERROR
        self._set_rejecting(rejecting=True)

    def note_closed(self) -> None:
        self.totals.unanswered -= len(self.waiting)
        self._set_rejecting(rejecting=False)

    def _set_rejecting(self, *, rejecting: bool) -> None:
        """Unlike `sync`, this does not change while another response is unanswered."""
        self.totals.rejecting += rejecting - self.rejecting
        self.rejecting = rejecting

    def _settle(self, nonce: Nonce) -> float | None:
        """The time of sending of the response, if known. Also settles all earlier responses, because clients
        answer in order."""
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
    """The mutable form of `Connection`."""

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
    """The connected streams. Closed streams are dropped, but the totals include them."""

    def __init__(self) -> None:
        self._streams: dict[StreamId, _Stream] = {}
        self._totals = Totals()

    def connections(self) -> list[Connection]:
        """All open streams, sorted by node and then by the order of opening."""
        return [stream.view() for stream in self._ordered()]

    def nacks(self) -> list[StandingNack]:
        """All NACKs without a later ACK, in the order of `connections`."""
        return [
            StandingNack(stream.node.id, url, state.nack)
            for stream in self._ordered()
            for url, state in stream.types.items()
            if state.sync is Sync.ERROR and state.nack is not None
        ]

    def route_subscriptions(self) -> list[RouteSubscription]:
        """The route configurations that each node subscribes to, in the order of `connections`."""
        return [
            RouteSubscription(stream.node.id, stream.routes, stream.routes_since)
            for stream in self._ordered()
        ]

    def traffic(self) -> Traffic:
        """The totals of all streams."""
        return self._totals.view()

    def apply(self, event: Event, *, now: float) -> None:
        """Apply one event. Events of streams that are not open are ignored."""
        stream = self._streams.get(event.stream)
        if stream is None:
            if isinstance(event, StreamOpened):
                self._open(event, now)
            elif isinstance(event, StreamDenied):
                self._totals.ended[event.cause] += 1
        elif isinstance(event, _OfType):
            self._note(stream, event, now)
        elif isinstance(event, RoutesSubscribed):
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
            # Types that are not served are not kept: clients can invent them.
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
                pass  # it only creates the state of the type
