"""Which share of the requests of a Service is compared. Pure.

Requests are selected by the last digits of their id: all of them, a sixteenth, and so on. An id is chosen at
random, so a share of the ids is a share of the requests, and both sides of a request are selected.
"""

from typing import Final

MOST_A_SECOND: Final = 1_000.0
"""Pairs of one Service. 10,000 pairs tell most canaries apart, and this many come within some minutes from a
sixteenth of it."""

_WAITING_OF_ONE: Final = 12_000.0
_WAITING: Final = 40_000.0
"""Requests that may wait for their window to end: of one Service, and of all."""

_DIGITS: Final = 16
_LONGEST_TAIL: Final = 4
_ROOM: Final = 0.5
"""A larger share needs so much room below the bound, so that a share is not changed back at once."""


def share_of(tail: str) -> float:
    """The share of the requests whose id ends in `tail`."""
    return float(_DIGITS) ** -len(tail)


def most_pairs(window_s: float, services: int) -> float:
    """The pairs a second that are wanted of one of so many `services`, if its requests wait for `window_s`
    seconds."""
    return min(MOST_A_SECOND, _WAITING_OF_ONE / window_s, _WAITING / window_s / max(1, services))


def tail_for(rate: float, most: float, tail: str) -> str:
    """The tail of the ids to select, if `rate` requests a second are mirrored, at most `most` of them are to
    be compared, and `tail` was selected before."""
    length = len(tail)
    while length < _LONGEST_TAIL and rate * share_of("0" * length) > most:
        length += 1
    if length == len(tail):
        while length and rate * share_of("0" * (length - 1)) <= _ROOM * most:
            length -= 1
    return "0" * length
