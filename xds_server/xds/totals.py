"""What all streams together have done since the start. Counters outlive the streams that they count.

Mutable here, as every push and every acknowledgement passes through; what is handed out is immutable. Keyed
by variant, cause and type: values that are known beforehand, never by what a client says.
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
    """One type: responses and their bytes, the answers to them, and from sending one to its ACK. Of this
    moment are `unanswered`, responses, and `refusing`, streams that keep what they had instead."""

    pushes: int
    size: int
    acks: int
    nacks: int
    unanswered: int
    refusing: int
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Everything since the start; `connected` is of this moment, and `ended` has those too that were never
    opened. All variants, causes and served types are
    there from the beginning: a metric that exists can be alerted on."""

    connected: Mapping[Variant, int] = field(default_factory=lambda: MappingProxyType({}))
    opened: Mapping[Variant, int] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[Cause, int] = field(default_factory=lambda: MappingProxyType({}))
    types: Mapping[TypeUrl, TypeTraffic] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class TypeTotals:
    """Counts one type."""

    pushes: int = 0
    size: int = 0
    acks: int = 0
    nacks: int = 0
    unanswered: int = 0
    refusing: int = 0
    latency: Latencies = field(default_factory=Latencies)

    def view(self) -> TypeTraffic:
        """As it is now."""
        return TypeTraffic(
            pushes=self.pushes,
            size=self.size,
            acks=self.acks,
            nacks=self.nacks,
            unanswered=self.unanswered,
            refusing=self.refusing,
            latency=self.latency.view(),
        )


@dataclass(slots=True)
class Totals:
    """Counts everything."""

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
        """As it is now."""
        return Traffic(
            connected=MappingProxyType({v: self.opened[v] - self.closed[v] for v in Variant}),
            opened=MappingProxyType({variant: self.opened[variant] for variant in Variant}),
            ended=MappingProxyType({cause: self.ended[cause] for cause in Cause}),
            types=MappingProxyType({url: each.view() for url, each in self.types.items()}),
        )
