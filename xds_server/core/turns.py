"""Turns of namespaces at being built: whose Services take long to work out waits, and not its neighbours.

A namespace has a slice of each step, and over time a share of the builder. What it spends beyond a burst it
pays back by waiting. Time is an argument, in seconds of any steady clock.
"""

from typing import Final

SLICE_S: Final = 0.05
"""Of one step. What is left of a namespace then goes into the next one."""

_BURST_S: Final = 0.5
_SHARE: Final = 0.2
"""A namespace may spend this much at once, and this part of the time for as long as it likes."""


class Turns:
    """Who has spent how much."""

    def __init__(self) -> None:
        self._debts: dict[str, tuple[float, float]] = {}

    def wait(self, namespace: str, at: float) -> float:
        """Seconds until the namespace has its turn; 0 if it has it now."""
        return max(0.0, (self.spent(namespace, at) - _BURST_S) / _SHARE)

    def spent(self, namespace: str, at: float) -> float:
        """What it has not paid back, in seconds."""
        debt, since = self._debts.get(namespace, (0.0, at))
        rest = debt - (at - since) * _SHARE
        if rest <= 0:
            self._debts.pop(namespace, None)
            return 0.0
        return rest

    def charge(self, namespace: str, seconds: float, at: float) -> None:
        """The namespace has spent so much, until `at`."""
        self._debts[namespace] = (self.spent(namespace, at) + seconds, at)
