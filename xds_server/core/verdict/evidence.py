"""How strongly counted pairs speak for or against a canary: two e-values.

A pair is the response of the primary and the response of the canary to one request. It is discordant if
exactly one side failed. An e-value is at most 1 on average while its hypothesis holds, at whatever moment
it is read. So `1 / alpha` may be compared with it after every pair, and the chance of ever being wrong is
at most `alpha` (Ville's inequality). Both depend on counts alone, so the counts of several replicas add up.
"""

from math import ceil, exp, log, log1p
from typing import Final, NamedTuple

_SHARES: Final = tuple(percent / 100 for percent in range(55, 100, 5))
"""Alternatives to "as often as the stable version": the canary's share of the discordant pairs."""

_STAKES: Final = tuple(0.96 / 2**power for power in range(10))
"""Stakes of the bets against "worse by the tolerance". Small stakes win where both sides fail often."""

_STEPS: Final = 40
"""Bisections of `excess_bound`: its error is under 1e-12."""


_MANY: Final = 1_000
"""`pairs_needed` looks no further ahead than so many times the pairs that there are."""


class Counts(NamedTuple):
    """Pairs of one canary: all, those in which only the canary failed, those in which only the primary
    did."""

    pairs: int = 0
    canary_failed: int = 0
    stable_failed: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """The counts of both."""
        return Counts(
            self.pairs + other.pairs,
            self.canary_failed + other.canary_failed,
            self.stable_failed + other.stable_failed,
        )

    def minus(self, other: "Counts") -> "Counts":
        """Those that came after `other`."""
        return Counts(
            self.pairs - other.pairs,
            self.canary_failed - other.canary_failed,
            self.stable_failed - other.stable_failed,
        )


NO_PAIRS: Final = Counts()


def worse(counts: Counts) -> float:
    """Natural logarithm of the e-value against "the canary fails no more often than the primary".

    Under that hypothesis a discordant pair is the canary's failure with a probability of at most one half, so
    each alternative `p` is a bet with a non-positive expectation; the e-value is the mean of the bets.
    """
    return _log_mean(
        [counts.canary_failed * log(2 * p) + counts.stable_failed * log(2 * (1 - p)) for p in _SHARES]
    )


def no_worse(counts: Counts, tolerance: float) -> float:
    """Natural logarithm of the e-value against "the canary fails more often, by `tolerance` or more".

    `tolerance` is a difference of two shares of all pairs, between 0 and 1. With X = 1 where only the
    canary failed, -1 where only the primary did and 0 elsewhere, that hypothesis says that X is `tolerance`
    or more on average, so ``1 + stake * (tolerance - X)`` is 1 or less.
    """
    return _no_worse(*counts, tolerance)


def _no_worse(pairs: float, canary_failed: float, stable_failed: float, tolerance: float) -> float:
    same = pairs - canary_failed - stable_failed
    return _log_mean(
        [
            same * log1p(stake * tolerance)
            + canary_failed * log1p(stake * (tolerance - 1))
            + stable_failed * log1p(stake * (tolerance + 1))
            for stake in _STAKES
        ]
    )


def excess_bound(counts: Counts, alpha: float) -> float:
    """The share of requests by which the canary fails more often is at most this, with confidence ``1 -
    alpha`` at whatever moment it is read; 1 if nothing can be said yet."""
    needed = log(1 / alpha)
    low, high = 0.0, 1.0
    if no_worse(counts, high) < needed:
        return 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if no_worse(counts, middle) < needed:
            low = middle
        else:
            high = middle
    return high


def pairs_needed(counts: Counts, tolerance: float, alpha: float) -> int | None:
    """About how many pairs it takes until `no_worse` is known with confidence ``1 - alpha``, if both sides go
    on to fail as often as in `counts`, to two digits; None if that is more than `_MANY` times as many."""
    needed = log(1 / alpha)

    def known(times: float) -> bool:
        pairs, canary_failed, stable_failed = (each * times for each in counts)
        return _no_worse(pairs, canary_failed, stable_failed, tolerance) >= needed

    if not counts.pairs or not known(_MANY):
        return None
    low, high = 0.0, float(_MANY)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if known(middle) else (middle, high)
    total = ceil(counts.pairs * high)
    unit: int = 10 ** max(0, len(str(total)) - 2)
    return ceil(total / unit) * unit


def _log_mean(logs: list[float]) -> float:
    most = max(logs)
    return most + log(sum(exp(each - most) for each in logs) / len(logs))
