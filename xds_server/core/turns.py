"""Shares the time of the pipeline between namespaces: a namespace with expensive Services delays only itself.

In each step a namespace gets a slice of time, and over many steps a share of all time. If it uses more than a
burst beyond its share, it waits. Time is an argument, in seconds of any monotonic clock.
"""

from typing import Final

SLICE_S: Final = 0.05
"""The time of a namespace in one step. The rest of its changes are planned in the next step."""

_BURST_S: Final = 0.5
_SHARE: Final = 0.2
"""A namespace may use `_BURST_S` seconds at once, and the fraction `_SHARE` of the time permanently."""


class Turns:
    """The time that each namespace has used beyond its share."""

    def __init__(self) -> None:
        self._debts: dict[str, tuple[float, float]] = {}

    def wait(self, namespace: str, at: float) -> float:
        """Seconds until the namespace may be planned; 0 if it may be planned now."""
        return max(0.0, (self.spent(namespace, at) - _BURST_S) / _SHARE)

    def spent(self, namespace: str, at: float) -> float:
        """The seconds that the namespace has used beyond its share."""
        debt, since = self._debts.get(namespace, (0.0, at))
        rest = debt - (at - since) * _SHARE
        if rest <= 0:
            self._debts.pop(namespace, None)
            return 0.0
        return rest

    def charge(self, namespace: str, seconds: float, at: float) -> None:
        """Note that the namespace has used `seconds`, until `at`."""
        self._debts[namespace] = (self.spent(namespace, at) + seconds, at)
