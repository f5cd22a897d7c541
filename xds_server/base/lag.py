"""How long an event loop is kept from its work: everything on it waits as long."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from xds_server.base.latency import Latencies, Latency

_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Lag:
    """By how much wake-ups were late, and the most of it in seconds."""

    late: Latency = field(default_factory=Latency)
    longest_s: float = 0.0


class LoopLag:
    """Wakes up twenty times a second and sees how late that is. What holds the loop for less than the step
    may fall between two wake-ups; what holds it for longer cannot."""

    def __init__(self) -> None:
        self._late = Latencies()
        self._longest_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _STEP_S
            await asyncio.sleep(_STEP_S)
            late = max(clock() - due, 0.0)
            self._late.note(late)
            self._longest_s = max(self._longest_s, late)

    def view(self) -> Lag:
        """So far."""
        return Lag(self._late.view(), self._longest_s)
