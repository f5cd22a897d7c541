"""The counts of a shadow that metrics and pictures show, and what was added to them since the last look.

A record begins again when the evidence does. A counter does not, so what a record gained is added to a total
that is kept apart from it.
"""

from collections.abc import Callable, Collection
from operator import add
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.evidence import NO_PAIRS, Counts
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.record import NO_REQUESTS, Record, Requests
from xds_server.core.verdict.tally import BOUNDS_S, Latencies, Tally

_FINE: Final = range(4, 57, 4)
"""Of the bounds of a tally, those that a metric has: each is twice the one before."""

LATENCY_BOUNDS_S: Final = tuple(BOUNDS_S[fine] for fine in _FINE)
"""Upper bounds of a metric's buckets, 2 ms to 16.4 s; one more bucket holds what is slower."""

_NO_LATENCIES: Final = (0,) * (len(LATENCY_BOUNDS_S) + 1)


class Figures(NamedTuple):
    """Counts of one shadow, which add up. `primary` and `mirrored` are by load reports. `unpaired` are the
    requests that made no pair, in the order of `Lost`. The latencies are of pairs, by the buckets of
    `LATENCY_BOUNDS_S`."""

    primary: Requests = NO_REQUESTS
    mirrored: Requests = NO_REQUESTS
    counts: Counts = NO_PAIRS
    unpaired: tuple[int, ...] = (0,) * len(Lost)
    primary_latency: tuple[int, ...] = _NO_LATENCIES
    canary_latency: tuple[int, ...] = _NO_LATENCIES

    def plus(self, other: "Figures") -> "Figures":
        """The sum of both."""
        return _each(self, other, add)

    def gained(self, before: "Figures") -> "Figures":
        """What was added since `before`. A count that is lower than before has gained nothing."""
        return _each(self, before, lambda now, then: max(now - then, 0))


NO_FIGURES: Final = Figures()


def figures(record: Record) -> Figures:
    """The figures of a record."""
    primary, canary = _latencies(record.tally)
    return Figures(
        record.primary,
        record.mirrored,
        record.tally.counts,
        tuple(record.tally.lost[reason] for reason in Lost),
        primary,
        canary,
    )


class Gains:
    """What each shadow has gained since the last look at its record."""

    def __init__(self) -> None:
        self._seen: dict[NamespacedName, tuple[float, str, Figures]] = {}

    def of(self, record: Record) -> Figures:
        """What was added to the record since the last call. Evidence that began since then was added as a
        whole."""
        now = figures(record)
        since, template, before = self._seen.get(record.canary, (record.since, record.template, NO_FIGURES))
        self._seen[record.canary] = record.since, record.template, now
        same = (since, template) == (record.since, record.template)
        return now.gained(before) if same else now

    def keep(self, canaries: Collection[NamespacedName]) -> None:
        """Forget all shadows but these."""
        for gone in self._seen.keys() - set(canaries):
            del self._seen[gone]


def _each(one: Figures, other: Figures, combine: Callable[[int, int], int]) -> Figures:
    primary, mirrored, counts, *rest = (
        tuple(map(combine, mine, its)) for mine, its in zip(one, other, strict=True)
    )
    return Figures(Requests(*primary), Requests(*mirrored), Counts(*counts), *rest)


def _latencies(tally: Tally) -> tuple[tuple[int, ...], tuple[int, ...]]:
    primary, canary = list(_NO_LATENCIES), list(_NO_LATENCIES)
    for group in tally.groups.values():
        _add(primary, group.primary)
        _add(canary, group.shadow)
    return tuple(primary), tuple(canary)


def _add(coarse: list[int], latencies: Latencies) -> None:
    for fine, count in latencies.buckets.items():
        coarse[min((max(fine, 1) - 1) // 4, len(coarse) - 1)] += count
