"""The garbage collector, set for a process that holds many objects which live long and form no cycles; and
memory that is given back to the system.

With Python's own settings a control plane of 10,000 Services spends a third of its start in collections
that find nothing, and stalls for tenths of a second in each full one later.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (100_000, 50, 1000)
"""New objects before a young collection, young ones before a middle one, middle ones before a full one."""


_TRIM_AFTER_S: Final = 5.0


def expect_many_objects() -> None:
    """Collect seldom from now on."""
    gc.set_threshold(*_THRESHOLDS)


@contextmanager
def without_collections(at_most: float) -> Iterator[None]:
    """Nothing is collected meanwhile, for `at_most` seconds: for work that makes many objects that stay.
    Needs a running loop."""
    gc.disable()
    timer = asyncio.get_running_loop().call_later(at_most, gc.enable)
    try:
        yield
    finally:
        timer.cancel()
        gc.enable()


def keep_what_is_there() -> None:
    """No later collection looks at what exists now. What is garbage by now stays: to look for it among all
    there is takes a sixth of the start of a large fleet, and finds a megabyte."""
    gc.freeze()


class Trimmer:
    """Gives memory back to the system once what needed it is gone. By itself the C library keeps it wherever
    something small was allocated since: hundreds of megabytes after a flood of requests."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """In `_TRIM_AFTER_S` seconds, and not again before; needs a running loop."""
        if self._trim is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TRIM_AFTER_S, self._run, self._trim)

    def _run(self, trim: Callable[[int], int]) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, trim, 0)
