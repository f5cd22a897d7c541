"""Measures the delay of the event loop, which delays everything that runs on it."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from xds_server.base.latency import Latencies, Latency

_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Lag:
    """The observed delays, and the longest in seconds."""

    late: Latency = field(default_factory=Latency)
    longest_s: float = 0.0


class LoopLag:
    """Wakes up twenty times per second and measures how late it is. A delay that is shorter than the step may
    fall between two wake-ups; a longer one cannot."""

    def __init__(self) -> None:
        self._late = Latencies()
        self._longest_s = 0.0

    async def run(self) -> None:
        """Run until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _STEP_S
            await asyncio.sleep(_STEP_S)
            late = max(clock() - due, 0.0)
            self._late.note(late)
            self._longest_s = max(self._longest_s, late)

    def view(self) -> Lag:
        """The delays observed so far."""
        return Lag(self._late.view(), self._longest_s)
