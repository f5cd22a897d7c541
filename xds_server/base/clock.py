"""The two clocks of a process, as an argument."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple


class Clock(NamedTuple):
    """`monotonic` measures durations. `wall` is seconds since the epoch, and somebody may set it."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


SYSTEM: Final = Clock(time.monotonic, time.time)
