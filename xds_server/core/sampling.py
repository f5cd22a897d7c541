"""Samples, by routes: which canaries a request is mirrored to is known by its route.

Envoy decides every fraction of a request with one random number of its stream, modulo the denominator: two
mirrors of 50 percent each copy the very same half (measured on Envoy 1.40: 2,025 both, 1,975 neither, of
4,000). So the fractions of mirror policies are not used. The range of the random number is cut into one
interval for each combination of canaries, as wide as that combination is probable, and each interval is a
route that mirrors to its combination always. Routes are tried in order with ever larger fractions, which
makes the intervals. So also the access log can say to whom a request was mirrored.

Canaries that are to see the same requests (``sample: correlated``) are one choice together: the more a
canary is sent, the more of the others' requests are among its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

from xds_server.core.terms import MILLION


class Share(NamedTuple):
    """How many of a million requests a canary gets, and whether it shares its choice."""

    per_million: int
    correlated: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The requests whose random number, of a million, is below `below` and in no outcome before: those
    that go to the canaries at these `chosen` indices."""

    below: int
    chosen: tuple[int, ...]


class _Option(NamedTuple):
    """One way that a choice can go: so many of a million times, for these canaries."""

    width: int
    chosen: tuple[int, ...]


def ways(shares: Sequence[Share]) -> int:
    """How many routes it takes to sample these canaries; a few more than `outcomes` gives, at most."""
    found = 1
    for choice in _choices(shares):
        found *= len(choice)
    return found


def outcomes(shares: Sequence[Share]) -> Iterator[Outcome]:
    """Cut the million. The last outcome ends at a million; empty ones are left out. Each canary's share is
    exact to as many millionths as there are outcomes, that of the first choice exactly."""
    choices = _choices(shares)
    whole = MILLION ** len(choices)
    reached = below = 0
    for combination in product(*choices):
        width = 1
        for option in combination:
            width *= option.width
        reached += width
        # Rounded half up, in integers, so that every replica cuts alike.
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
    """One canary by itself gets a request or not, as far as both are possible."""
    options = _Option(per_million, (index,)), _Option(MILLION - per_million, ())
    return [option for option in options if option.width]


def _levels(shares: Sequence[Share], together: Sequence[int]) -> list[_Option]:
    """The canaries of one choice: whoever gets more gets what the others get, too."""
    bounds = sorted({0, MILLION, *(shares[index].per_million for index in together)})
    return [
        _Option(high - low, tuple(index for index in together if shares[index].per_million >= high))
        for low, high in pairwise(bounds)
    ]
