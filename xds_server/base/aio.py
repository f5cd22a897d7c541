"""The few asyncio patterns the program is built of: a mailbox that coalesces, and a group of named tasks.

No policy lives here: what to coalesce by and how long to wait are the callers' values.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds the latest item of each key until it is taken; so it is bounded by the number of keys.

    One consumer takes everything at once. A newer item with an equal key replaces the older and moves to
    the end, as the latest state is the only one that matters. `since` is when the first came of what is here
    now, or None; `taken_since` the same of what was taken last; in seconds of the monotonic clock.
    """

    def __init__(self, key: Callable[[T], Hashable]) -> None:
        self._key = key
        self._items: dict[Hashable, T] = {}
        self._filled = asyncio.Event()
        self.since: float | None = None
        self.taken_since: float | None = None

    def put(self, items: Iterable[T]) -> None:
        """Add items without waiting."""
        for item in items:
            key = self._key(item)
            self._items.pop(key, None)
            self._items[key] = item
        if self._items:
            if self.since is None:
                self.since = time.monotonic()
            self._filled.set()

    async def take(self, *, quiet: float, at_most: float) -> list[T]:
        """Wait for a first item, then until nothing came for `quiet` seconds or `at_most` seconds passed;
        return everything, oldest first."""
        await self._filled.wait()
        clock = asyncio.get_running_loop().time
        deadline = clock() + at_most
        while (left := deadline - clock()) > 0:
            self._filled.clear()
            try:
                async with asyncio.timeout(min(quiet, left)):
                    await self._filled.wait()
            except TimeoutError:
                break
        return self.take_now()

    def take_now(self) -> list[T]:
        """Everything that is here, oldest first, without waiting."""
        items, self._items = list(self._items.values()), {}
        self.taken_since, self.since = self.since, None
        self._filled.clear()
        return items


def spawn(group: asyncio.TaskGroup, name: str, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Start `work` in `group` under a name, so that a leaked or failed task says whose it was."""
    return group.create_task(work, name=f"xds-shadow/{name}")
