"""Waiting for a condition, never for a time."""

import asyncio
import inspect
from collections.abc import Callable

PATIENCE_S = 120.0
"""The deadline of every wait. It only decides how long a failure takes, so it allows for a machine on which
many other processes run."""


async def eventually(check: Callable[[], object], *, within: float = PATIENCE_S, what: str = "") -> None:
    """Wait until `check`, which may be a coroutine function, returns something true; fail after `within`
    seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not hold within {within:g} s")
        await asyncio.sleep(0.02)
