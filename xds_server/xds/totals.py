"""Totals of all streams since start. They include streams that have closed.

Mutable here, because every push and every ACK updates them; the values that are returned are immutable. Keyed
by variant, cause and type, which are known in advance, and never by what a client sends.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from xds_server.base.ids import TypeUrl
from xds_server.base.latency import Latencies, Latency
from xds_server.xds.stream_events import Cause, Variant
from xds_server.xds.types import SHORT_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeTraffic:
    """One type: its responses and their bytes, ACKs, NACKs, and the time from sending to ACK. `unanswered`
    responses and `rejecting` streams, whose last response was rejected, are current counts."""

    pushes: int
    size: int
    acks: int
    nacks: int
    unanswered: int
    rejecting: int
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Totals since start. `connected` is the current count; `ended` includes streams that were never opened.
    All variants, causes and served types are present from the start, so that alerts can refer to the
    metrics."""

    connected: Mapping[Variant, int] = field(default_factory=lambda: MappingProxyType({}))
    opened: Mapping[Variant, int] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[Cause, int] = field(default_factory=lambda: MappingProxyType({}))
    types: Mapping[TypeUrl, TypeTraffic] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class TypeTotals:
    """The totals of one type."""

    pushes: int = 0
    size: int = 0
    acks: int = 0
    nacks: int = 0
    unanswered: int = 0
    rejecting: int = 0
    latency: Latencies = field(default_factory=Latencies)

    def view(self) -> TypeTraffic:
        """The current values."""
        return TypeTraffic(
            pushes=self.pushes,
            size=self.size,
            acks=self.acks,
            nacks=self.nacks,
            unanswered=self.unanswered,
            rejecting=self.rejecting,
            latency=self.latency.view(),
        )


@dataclass(slots=True)
class Totals:
    """The totals of all streams."""

    opened: Counter[Variant] = field(default_factory=Counter)
    closed: Counter[Variant] = field(default_factory=Counter)
    ended: Counter[Cause] = field(default_factory=Counter)
    types: dict[TypeUrl, TypeTotals] = field(
        default_factory=lambda: {type_url: TypeTotals() for type_url in SHORT_NAMES}
    )

    def note_opened(self, variant: Variant) -> None:
        self.opened[variant] += 1

    def note_closed(self, variant: Variant, cause: Cause) -> None:
        self.closed[variant] += 1
        self.ended[cause] += 1

    def view(self) -> Traffic:
        """The current values."""
        return Traffic(
            connected=MappingProxyType({v: self.opened[v] - self.closed[v] for v in Variant}),
            opened=MappingProxyType({variant: self.opened[variant] for variant in Variant}),
            ended=MappingProxyType({cause: self.ended[cause] for cause in Cause}),
            types=MappingProxyType({url: each.view() for url, each in self.types.items()}),
        )
