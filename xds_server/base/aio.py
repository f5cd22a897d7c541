"""Asyncio patterns of the program: a mailbox that coalesces, and named tasks.

What to coalesce by and how long to wait are parameters of the callers.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Debounce:
    """Decides when a burst of items is over: after `quiet` seconds without an item, and at most `at_most`
    seconds after the first. A burst that is known to be complete is over at once, but only `few` times in
    `lately` seconds."""

    def __init__(self, *, quiet: float, at_most: float, few: int = 0, lately: float = 0.0) -> None:
        self.quiet = quiet
        self.at_most = at_most
        self._few, self._lately = few, lately
        self._hurried: deque[float] = deque(maxlen=few)

    def hurries(self, now: float) -> bool:
        """Whether a complete burst is over at `now`, in seconds. If so, it counts against `few`."""
        if self._few == 0 or (len(self._hurried) == self._few and now - self._hurried[0] < self._lately):
            return False
        self._hurried.append(now)
        return True


class Mailbox(Generic[T]):
    """Holds the latest item of each key until it is taken, so its size is bounded by the number of keys.

    An item for which `completes` is true ends the burst; see `Debounce`.

    One consumer takes all items at once. A newer item with an equal key replaces the older one and moves to
    the end, because only the latest state matters. `since` is when the oldest item in the mailbox arrived, or
    None; `taken_since` is the same for the items that were taken last. Both are seconds of the monotonic
    clock.
    """

    def __init__(
        self, key: Callable[[T], Hashable], completes: Callable[[T], bool] = lambda _: False
    ) -> None:
        self._key = key
        self._completes = completes
        self._complete = False
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
            self._complete = self._complete or self._completes(item)
        if self._items:
            if self.since is None:
                self.since = time.monotonic()
            self._filled.set()

    async def take(self, debounce: Debounce) -> list[T]:
        """Wait for the first item and the end of its burst; return all items, oldest first."""
        await self._filled.wait()
        clock = asyncio.get_running_loop().time
        deadline = clock() + debounce.at_most
        while (left := deadline - clock()) > 0:
            if self._complete and debounce.hurries(clock()):
                break
            self._filled.clear()
            try:
                async with asyncio.timeout(min(debounce.quiet, left)):
                    await self._filled.wait()
            except TimeoutError:
                break
        return self.take_now()

    def take_now(self) -> list[T]:
        """Return all items without waiting, oldest first."""
        items, self._items = list(self._items.values()), {}
        self.taken_since, self.since, self._complete = self.since, None, False
        self._filled.clear()
        return items


def spawn(group: asyncio.TaskGroup, name: str, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Start `work` in `group` as a named task, so that messages about a leaked or failed task identify it."""
    return group.create_task(work, name=f"xds-shadow/{name}")
