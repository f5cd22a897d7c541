"""Notices when sampled pairs do not arrive, and keeps what was counted before that apart from what came
after.

Lost access log entries look like requests that were not made. While pairs are missing a verdict is `Blind`.
When they arrive again, the pairs before still count against a canary, but `NoWorse` needs pairs enough from
then on: nobody knows what the canary did in between.
"""

from collections import deque
from math import sqrt
from typing import Final, NamedTuple

from xds_server.core.verdict.evidence import NO_PAIRS, Counts
from xds_server.core.verdict.tally import Tally

LEAST_SHARE: Final = 0.9
"""The share of the expected pairs that has to arrive."""

_WINDOW_S: Final = 60.0
_LATE_S: Final = 30.0
"""Pairs are not expected before they can have arrived. They can be so much earlier than that."""

_SPACING_S: Final = 5.0
_ENOUGH: Final = 20.0
"""Expected pairs that have to arrive before pairs count as arriving again."""


class Gap(NamedTuple):
    """The last time in which pairs were missing. Adds up over replicas. `since` is when it began, and None if
    no pairs are missing now; `ended` is when the last one ended. `before`, `arrived`
    and `expected` are the pairs, the requests of which both sides arrived, and the expected ones until then.
    Times are in seconds since the epoch."""

    since: float | None = None
    ended: float | None = None
    before: Counts = NO_PAIRS
    arrived: int = 0
    expected: float = 0.0

    def plus(self, other: "Gap") -> "Gap":
        """Both: since the first began, until the last ended."""
        since = [each for each in (self.since, other.since) if each is not None]
        ended = [each for each in (self.ended, other.ended) if each is not None]
        return Gap(
            min(since, default=None),
            max(ended, default=None),
            self.before.plus(other.before),
            self.arrived + other.arrived,
            self.expected + other.expected,
        )


NO_GAP: Final = Gap()


def missing(pairs: float, expected: float) -> bool:
    """Whether so few of the expected pairs arrived that it is no chance: the sample is a random one."""
    return pairs < LEAST_SHARE * expected - 3 * sqrt(expected)


class _Point(NamedTuple):
    at: float
    arrived: int
    expected: float


class GapWatch:
    """Watches the counts of one shadow in one replica. They only grow."""

    def __init__(self) -> None:
        self.gap = NO_GAP
        self._points: deque[_Point] = deque()

    def look(self, tally: Tally, expected: float, now: float) -> Gap:
        """The gap as of now. It is called every few seconds."""
        points, arrived = self._points, tally.arrived
        if points and now - points[-1].at < _SPACING_S:
            return self.gap
        points.append(_Point(now, arrived, expected))
        while points[0].at < now - _WINDOW_S - _LATE_S:
            points.popleft()
        recent = next(each for each in points if each.at >= now - _WINDOW_S)
        due = expected - recent.expected
        if self.gap.since is None:
            lacking = missing(arrived - points[0].arrived, due)
            if lacking or missing(arrived - self.gap.arrived, expected - self.gap.expected):
                self.gap = self.gap._replace(since=recent.at)
        elif due >= _ENOUGH and not missing(arrived - recent.arrived, due):
            self.gap = Gap(None, now, tally.counts, arrived, expected)
            points.clear()
        return self.gap
