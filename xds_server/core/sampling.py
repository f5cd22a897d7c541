"""Samples requests by routes: the route of a request determines to which canaries it is mirrored.

Envoy decides all fractions of a request with one random number of its stream, modulo the denominator. So two
mirrors of 50 percent each mirror the same half of the requests (measured on Envoy 1.40: of 4,000 requests,
2,025 to both and 1,975 to neither). Therefore the fractions of mirror policies are not used. The range of the
random number is divided into intervals, one for each combination of canaries, whose width is the probability
of the combination. Each interval is a route that always mirrors to its combination. Routes are tried in order
with increasing fractions, which yields the intervals. So the access log also shows to which canaries a
request was mirrored.

Canaries that sample the same requests (``sample: correlated``) are one choice together: a canary with a
larger share gets all the requests of those with a smaller one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

from xds_server.core.terms import MILLION


class Share(NamedTuple):
    """How many of a million requests are mirrored to a canary, whether its sample is correlated, and whether
    it has a limit per second."""

    per_million: int
    correlated: bool = False
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Requests whose random number of a million is below `below`, and not in an earlier outcome, are mirrored
    to the canaries at the indices `chosen`."""

    below: int
    chosen: tuple[int, ...]


class _Option(NamedTuple):
    """One option of a choice: `width` of a million requests are mirrored to the canaries `chosen`."""

    width: int
    chosen: tuple[int, ...]


def ways(shares: Sequence[Share]) -> int:
    """The number of routes that sampling these canaries takes: for each outcome, one for each set of canaries
    whose limits may admit a request. `outcomes` may return a few less."""
    found = 1
    for choice in _choices(shares):
        found *= sum(2 ** sum(shares[index].limited for index in option.chosen) for option in choice)
    return found


def outcomes(shares: Sequence[Share]) -> Iterator[Outcome]:
    """Divide the million into intervals. The last outcome ends at a million; empty ones are omitted. The
    share of the first choice is exact. The error of any other share is at most as many millionths as there
    are outcomes."""
    choices = _choices(shares)
    whole = MILLION ** len(choices)
    reached = below = 0
    for combination in product(*choices):
        width = 1
        for option in combination:
            width *= option.width
        reached += width
        # Rounded half up, in integers, so that all replicas have the same intervals.
        bound = (2 * reached * MILLION + whole) // (2 * whole)
        if bound > below:
            below = bound
            yield Outcome(below, tuple(sorted(index for option in combination for index in option.chosen)))


def _choices(shares: Sequence[Share]) -> list[list[_Option]]:
    together = [index for index, share in enumerate(shares) if share.correlated]
    alone = [index for index, share in enumerate(shares) if not share.correlated]
    return [
        *([_levels(shares, together)] if together else []),
        *(_either(shares[index].per_million, index) for index in alone),
    ]


def _either(per_million: int, index: int) -> list[_Option]:
    """The options of one canary: a request is mirrored to it or not. An option of width 0 is omitted."""
    options = _Option(per_million, (index,)), _Option(MILLION - per_million, ())
    return [option for option in options if option.width]


def _levels(shares: Sequence[Share], together: Sequence[int]) -> list[_Option]:
    """The options of correlated canaries: one with a larger share gets all the requests of a smaller one."""
    bounds = sorted({0, MILLION, *(shares[index].per_million for index in together)})
    return [
        _Option(high - low, tuple(index for index in together if shares[index].per_million >= high))
        for low, high in pairwise(bounds)
    ]
