"""Histograms of durations."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The inclusive upper bounds of the buckets; one more bucket is above the last. An Envoy that warms a cluster
may send its ACK up to 15 s late."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The number of durations in each bucket, and their sum in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    total_s: float = 0.0


@dataclass(slots=True)
class Latencies:
    """Counts durations."""

    total_s: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def note(self, seconds: float) -> None:
        """Count one duration. It may be negative if a clock that is not monotonic was set back."""
        took = max(seconds, 0.0)
        self.total_s += took
        self.counts[bisect_left(BOUNDS_S, took)] += 1

    def view(self) -> Latency:
        """The current values."""
        return Latency(tuple(self.counts), self.total_s)
