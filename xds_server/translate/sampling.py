"""Independent samples for several canaries of one Service.

Envoy decides every fraction of a request with one random number of its stream, modulo the denominator: two
mirrors of 50 percent each copy the very same half (measured on Envoy 1.40: 2,025 both, 1,975 neither, of
4,000). So where several canaries are sampled, the choice is made by routes instead: the range of the random
number is cut into one interval for each combination of canaries, as wide as that combination is probable,
and each interval is a route that mirrors to its combination always. Routes are tried in order with ever
larger fractions, which makes the intervals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from xds_server.shadows.plan import MILLION


@dataclass(frozen=True, slots=True)
class Outcome:
    """The requests whose random number, of a million, is below `below` and in no outcome before: those
    that go to the canaries at these `chosen` indices."""

    below: int
    chosen: tuple[int, ...]


def outcomes(shares: Sequence[int]) -> Iterator[Outcome]:
    """Cut the million for canaries that are each sampled at so many of a million. The last outcome ends at
    a million; empty ones are left out. Each canary's share is exact to 2^n millionths, the first one's
    exactly."""
    whole = MILLION ** len(shares)
    reached = below = 0
    for combination in product((True, False), repeat=len(shares)):
        width = 1
        for taken, share in zip(combination, shares, strict=True):
            width *= share if taken else MILLION - share
        reached += width
        # Rounded half up, in integers, so that every replica cuts alike.
        bound = (2 * reached * MILLION + whole) // (2 * whole)
        if bound > below:
            below = bound
            yield Outcome(below, tuple(index for index, taken in enumerate(combination) if taken))
