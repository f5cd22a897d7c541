"""What all streams together have done since the start. Counters outlive the streams that they count.

Mutable here, as every push and every acknowledgement passes through; what is handed out is immutable. Keyed
by variant, cause and type: values that are known beforehand, never by what a client says.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from xds_server.ads.events import Cause, Variant
from xds_server.base.ids import TypeUrl
from xds_server.snapshot.types import SHORT_NAMES

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of latency, inclusive; beyond the last is one more. An Envoy that warms a
cluster acknowledges late, after 15 s at the worst."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram: how many took at most each of `BOUNDS_S`, and how many more than the last; in seconds."""

    counts: tuple[int, ...]
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeTraffic:
    """One type: responses and their bytes, the answers to them, and from sending one to its ACK."""

    pushes: int
    size: int
    acks: int
    nacks: int
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Everything since the start; `connected` is of this moment. All variants, causes and served types are
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
    waited_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def note_ack_after(self, seconds: float) -> None:
        """One response was acknowledged after so long. The clock may have been set back meanwhile."""
        waited = max(seconds, 0.0)
        self.waited_s += waited
        self.buckets[bisect_left(BOUNDS_S, waited)] += 1

    def view(self) -> TypeTraffic:
        """As it is now."""
        latency = Latency(tuple(self.buckets), self.waited_s)
        return TypeTraffic(
            pushes=self.pushes, size=self.size, acks=self.acks, nacks=self.nacks, latency=latency
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
