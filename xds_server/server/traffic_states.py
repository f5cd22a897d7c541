"""Decides when the state of a shadow's requests is reported: not at once, and the less often the more often
it changes. `status` shows each state at once; Events and the log have what lasts. Pure.
"""

from dataclasses import dataclass
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.traffic import Traffic

_HOLDS: Final = 2
_LONGEST: Final = 128
"""For how many intervals a state has to hold until it is reported: at first, and at most."""

_FREE: Final = 2
"""Reports after which the time doubles with each report. A state that holds for twice the longest time ends
that."""


@dataclass(slots=True)
class _State:
    current: Traffic
    held: int = 0
    reported: Traffic | None = None
    reports: int = 0

    @property
    def _holds(self) -> int:
        doublings = max(0, self.reports - _FREE + 1)
        return min(_HOLDS << min(doublings, 8), _LONGEST)

    def note(self, state: Traffic) -> bool:
        if state is not self.current:
            self.current, self.held = state, 0
        self.held += 1
        if self.held == 2 * _LONGEST:
            self.reports = 0
        if state is self.reported or self.held < self._holds:
            return False
        self.reported = state
        self.reports += 1
        return True


class TrafficStates:
    """The states of all shadows, once an interval."""

    def __init__(self) -> None:
        self._states: dict[NamespacedName, _State] = {}

    def note(self, canary: NamespacedName, state: Traffic) -> bool:
        """A shadow is in this state now. Returns whether that is to be reported."""
        return self._states.setdefault(canary, _State(state)).note(state)

    def forget(self, canary: NamespacedName) -> None:
        """The shadow is no longer active."""
        self._states.pop(canary, None)
