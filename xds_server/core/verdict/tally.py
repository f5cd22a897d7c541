"""What is counted of a canary's pairs. Integers alone, so the tallies of replicas add up."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from xds_server.core.verdict.evidence import NO_PAIRS, Counts
from xds_server.core.verdict.joining import Answer, Lost, Pair, Unpaired
from xds_server.core.verdict.paths import OTHER, admitted

BOUNDS_S: Final = tuple(0.001 * 2 ** (step / 4) for step in range(68))
"""Upper bounds of the latency histogram's buckets, 1 ms to 110 s, each 1.19 times the one before; one more
bucket holds what is slower."""

_MOST_CODES: Final = 40
"""Different pairs of codes of one group; a caller can make a backend answer any code."""


class Latencies:
    """A histogram of latencies."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def quantile(self, share: float) -> float | None:
        """The upper bound of the bucket that reaches this share of all, in seconds; None without any."""
        total = self.buckets.total()
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= share * total:
                return BOUNDS_S[min(bucket, len(BOUNDS_S) - 1)]
        return None


@dataclass(slots=True)
class Group:
    """The pairs of one group of requests. `codes` counts (of the primary, of the canary)."""

    counts: Counts = NO_PAIRS
    differing_types: int = 0
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    primary: Latencies = field(default_factory=Latencies)
    shadow: Latencies = field(default_factory=Latencies)

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        primary, shadow = pair.primary, pair.shadow
        self.counts = self.counts.plus(
            Counts(1, shadow.failed and not primary.failed, primary.failed and not shadow.failed)
        )
        self.differing_types += primary.content_type != shadow.content_type
        codes = code(primary), code(shadow)
        self.codes[codes if codes in self.codes or len(self.codes) < _MOST_CODES else (OTHER, OTHER)] += 1
        self.primary.add(primary.latency_s)
        self.shadow.add(shadow.latency_s)

    def update(self, other: "Group") -> None:
        """Add what another replica counted."""
        self.counts = self.counts.plus(other.counts)
        self.differing_types += other.differing_types
        self.codes.update(other.codes)
        self.primary.buckets.update(other.primary.buckets)
        self.shadow.buckets.update(other.shadow.buckets)


class Tally:
    """All pairs of one canary since its evidence began."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.lost: Counter[Lost] = Counter()

    @property
    def counts(self) -> Counts:
        """Of all groups."""
        total = NO_PAIRS
        for each in self.groups.values():
            total = total.plus(each.counts)
        return total

    def add(self, outcome: Pair | Unpaired) -> None:
        """Count a pair, or a request that made none."""
        if isinstance(outcome, Unpaired):
            self.lost[outcome.lost] += 1
        else:
            self._group(outcome.group).add(outcome)

    def update(self, other: "Tally") -> None:
        """Add what another replica counted. Its groups count as the first ones do: in sorted order."""
        for name, group in sorted(other.groups.items()):
            self._group(name).update(group)
        self.lost.update(other.lost)

    def _group(self, name: str) -> Group:
        return self.groups.setdefault(admitted(name, self.groups), Group())


def together(tallies: Iterable[Tally]) -> Tally:
    """The sum of what several replicas counted."""
    total = Tally()
    for each in tallies:
        total.update(each)
    return total


def code(answer: Answer) -> str:
    """Such as ``200``, ``grpc 14``, or ``none`` where no status came."""
    if answer.grpc is not None:
        return f"grpc {answer.grpc}"
    return str(answer.code) if answer.code else "none"
