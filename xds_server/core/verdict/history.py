"""The requests of a shadow over the last half hour, for its picture."""

from array import array
from typing import Final, NamedTuple

from xds_server.core.verdict.figures import Figures

STEP_S: Final = 20
"""Seconds of one step. Envoys report loads more often."""

MOST_STEPS: Final = 90


class Series(NamedTuple):
    """Requests in each step, the oldest first, by load reports: those of the primary, and those that were
    mirrored."""

    primary: tuple[int, ...] = ()
    primary_failed: tuple[int, ...] = ()
    mirrored: tuple[int, ...] = ()
    mirrored_failed: tuple[int, ...] = ()


_FIELDS: Final = len(Series._fields)
_NOTHING: Final = array("Q", (0,) * _FIELDS)


class History:
    """The last steps of one shadow, in about 3 KB. It begins `now`, in seconds of any steady clock."""

    __slots__ = ("_counts", "_first", "_step")

    def __init__(self, now: float) -> None:
        self._counts = _NOTHING * MOST_STEPS
        self._first = self._step = int(now // STEP_S)

    def add(self, gained: Figures, now: float) -> None:
        """Add what the shadow gained since the last call, in equal parts to the steps since then."""
        step = int(now // STEP_S)
        passed = range(max(self._step + 1, step - MOST_STEPS + 1), step + 1)
        for each in passed:
            self._counts[_place(each) : _place(each) + _FIELDS] = _NOTHING
        self._step = step
        primary, mirrored = gained.primary, gained.mirrored
        counts = (primary.issued, primary.failed, mirrored.issued, mirrored.failed)
        steps = passed or (step,)
        for number, each in enumerate(steps):
            for at, count in enumerate(counts, _place(each)):
                self._counts[at] += count * (number + 1) // len(steps) - count * number // len(steps)

    def series(self) -> Series:
        """The steps that have ended. The history may have begun within the first."""
        at, ended = _place(self._step), self._step - self._first
        ordered = self._counts[at + _FIELDS :] + self._counts[:at]
        known = ordered[max(len(ordered) - ended * _FIELDS, 0) :]
        return Series(*(tuple(known[field::_FIELDS]) for field in range(_FIELDS)))


def _place(step: int) -> int:
    return step % MOST_STEPS * _FIELDS
