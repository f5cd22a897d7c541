"""What Envoys report of the load on their clusters. Pure: reports in, sums out; time is an argument.

A report counts what happened in one cluster of one Envoy since its last report. The sums of all Envoys are
kept by cluster: since it was first asked for, and for the last few intervals.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xds_server.base.ids import NodeId, StreamId

INTERVALS_S: Final = (3, 10, 30)
"""Between two reports of an Envoy, by how much all of them together report."""

RECENT: Final = 3
"""Intervals that `Loads.recent` covers."""

_MOST_ENTRIES: Final = 10_000
"""Clusters in the reports of all Envoys that one second may bring."""

_LEAST_ENTRIES: Final = 100
"""A report costs as much as so many clusters in it: Envoy repeats its node, which has 60 KB, in each."""

LARGEST: Final = 10**9
"""A count beyond it is no count of one Envoy's requests in an interval."""


class Load(NamedTuple):
    """Requests of one cluster: sent to it, those that succeeded and failed, and those that Envoy did not
    send as the cluster had as many as it may have. `in_flight` is how many were not answered at the end of
    the last report."""

    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    dropped: int = 0
    in_flight: int = 0

    def plus(self, other: "Load") -> "Load":
        """The sum of two Envoys, or of two times."""
        return Load(
            self.issued + other.issued,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.dropped + other.dropped,
            self.in_flight + other.in_flight,
        )

    def valid(self) -> bool:
        """Whether all of it can be counts."""
        return min(self) >= 0 and max(self) <= LARGEST


NO_LOAD: Final = Load()


class Reporter(NamedTuple):
    """An Envoy that opened a stream of load reports at `since`, and reported last at `last`, or not yet."""

    node: NodeId
    since: float
    last: float | None


class Reports(NamedTuple):
    """Counts of load reports: the open streams, and since the start the entries by what became of them."""

    streams: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(slots=True)
class _Interval:
    began: float
    loads: dict[str, Load] = field(default_factory=dict)


class Loads:
    """The reports of all Envoys. Times are seconds of any steady clock. `intervals_s` are the times between
    two reports of an Envoy of which `interval_s` chooses."""

    def __init__(self, intervals_s: Sequence[float] = INTERVALS_S) -> None:
        self._intervals_s = intervals_s
        self._wanted: frozenset[str] = frozenset()
        self._totals: dict[str, Load] = {}
        self._recent: deque[_Interval] = deque()
        self._reporters: dict[StreamId, Reporter] = {}
        self.accepted = 0
        """Entries that count."""
        self.rejected = 0
        """Entries for clusters that the Envoy was not asked for, or with counts that cannot be true."""

    def want(self, clusters: Collection[str]) -> None:
        """Keep sums of these clusters, and forget those of others."""
        self._wanted = frozenset(clusters)
        for each in [*(self._totals.keys() - self._wanted)]:
            del self._totals[each]

    def interval_s(self) -> float:
        """How often an Envoy is to report, so that all of them together bring no more than is affordable; as
        rarely as possible if nothing is wanted."""
        if not self._wanted:
            return self._intervals_s[-1]
        entries = len(self._reporters) * max(len(self._wanted), _LEAST_ENTRIES)
        affordable = (each for each in self._intervals_s if entries <= each * _MOST_ENTRIES)
        return next(affordable, self._intervals_s[-1])

    @property
    def longest_s(self) -> float:
        """The longest time between two reports of an Envoy."""
        return self._intervals_s[-1]

    def join(self, stream: StreamId, node: NodeId, *, now: float) -> None:
        """An Envoy opened a stream."""
        self._reporters[stream] = Reporter(node, now, None)

    def leave(self, stream: StreamId) -> None:
        """Its stream has ended."""
        self._reporters.pop(stream, None)

    def reporters(self) -> list[Reporter]:
        """The Envoys with a stream of reports."""
        return list(self._reporters.values())

    def report(
        self, stream: StreamId, loads: Iterable[tuple[str, Load]], asked: Collection[str], *, now: float
    ) -> None:
        """An Envoy reported the loads of clusters, of which only those that it was `asked` for count."""
        self._reporters[stream] = self._reporters[stream]._replace(last=now)
        interval = self._interval(now)
        for cluster, load in loads:
            if cluster not in asked or not load.valid():
                self.rejected += 1
                continue
            self.accepted += 1
            if cluster in self._wanted:
                self._totals[cluster] = self._totals.get(cluster, NO_LOAD).plus(load)
                interval.loads[cluster] = interval.loads.get(cluster, NO_LOAD).plus(load)

    def counts(self) -> Reports:
        """What was reported so far."""
        return Reports(len(self._reporters), self.accepted, self.rejected)

    def total(self, cluster: str) -> Load:
        """Of a cluster, since it was first wanted. `in_flight` has no meaning."""
        return self._totals.get(cluster, NO_LOAD)

    def recent(self, now: float) -> Mapping[str, Load]:
        """By cluster, of the last intervals."""
        self._drop(now)
        sums: dict[str, Load] = {}
        for interval in self._recent:
            for cluster, load in interval.loads.items():
                sums[cluster] = sums.get(cluster, NO_LOAD).plus(load)
        return sums

    def _interval(self, now: float) -> _Interval:
        self._drop(now)
        if not self._recent or now - self._recent[-1].began >= self.interval_s():
            self._recent.append(_Interval(now))
        return self._recent[-1]

    def _drop(self, now: float) -> None:
        oldest = now - RECENT * self.interval_s()
        while self._recent and self._recent[0].began < oldest:
            self._recent.popleft()
