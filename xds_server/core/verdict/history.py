"""The requests of a shadow over the last half hour, for its picture."""

from array import array
from typing import Final, NamedTuple

from xds_server.core.verdict.figures import Figures

STEP_S: Final = 20
"""Seconds of one point. Envoys report loads more often."""

MOST_POINTS: Final = 90

_FIELDS: Final = 4


class Point(NamedTuple):
    """The requests of one step by load reports: those of the primary, and those that were mirrored."""

    primary: int
    primary_failed: int
    mirrored: int
    mirrored_failed: int


class History:
    """The last points of one shadow, in about 3 KB."""

    __slots__ = ("_counts", "_first", "_step")

    def __init__(self, now: float) -> None:
        self._counts = array("Q", bytes(8 * _FIELDS * MOST_POINTS))
        self._first = self._step = int(now // STEP_S)

    def add(self, gained: Figures, now: float) -> None:
        """Add what the shadow gained. `now` is in seconds of any steady clock."""
        step = int(now // STEP_S)
        for passed in range(max(self._step + 1, step - MOST_POINTS + 1), step + 1):
            at = _place(passed)
            self._counts[at : at + _FIELDS] = array("Q", (0,) * _FIELDS)
        self._step = step
        at = _place(step)
        primary, mirrored = gained.primary, gained.mirrored
        for field, count in enumerate((primary.issued, primary.failed, mirrored.issued, mirrored.failed)):
            self._counts[at + field] += count

    def points(self) -> tuple[Point, ...]:
        """The steps that have ended, the oldest first. The first step is left out if it was not complete."""
        steps = range(max(self._first + 1, self._step - MOST_POINTS + 1), self._step)
        return tuple(Point(*self._counts[_place(step) : _place(step) + _FIELDS]) for step in steps)


def _place(step: int) -> int:
    return step % MOST_POINTS * _FIELDS
