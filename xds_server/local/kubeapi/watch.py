"""One open watch: what it is still to be told, and telling it.

The store puts changes into a `Watch` as they happen; they wait there as references to what all watches share,
and are written when the client takes them. A client that takes too little loses the watch, not the server its
memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError, gone
from xds_server.local.kubeapi.history import Entry, Step
from xds_server.local.kubeapi.resources import Resource
from xds_server.local.kubeapi.store import Matches
from xds_server.local.kubeapi.views import View

INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}
"""Marks the bookmark that completes a streaming list."""

_BATCH: Final = 256
"""Events that are written at once."""


class Watch:
    """What one client is to be told. No I/O."""

    def __init__(
        self, resource: Resource, view: View, matches: Matches | None, *, bookmarks: bool, capacity: int
    ) -> None:
        self.resource = resource
        self.view = view
        self.bookmarks = bookmarks
        self.matches = matches
        self._capacity = capacity
        self._waiting: deque[tuple[str, Callable[[], bytes]]] = deque()  # types, and objects to be written
        self._news = asyncio.Event()
        self._ended = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to tell, and nothing will follow."""
        return self._ended and not self._waiting

    def start(self, entries: Sequence[Entry]) -> None:
        """Begin with what there is, which takes no room from the news."""
        self._capacity += len(entries)
        self._waiting.extend(("ADDED", partial(self.view.one, entry)) for entry in entries)

    def take(self, step: Step) -> None:
        """Tell a change, as far as the client is concerned by it: an object that begins to match its selector
        is ADDED, one that no longer does is DELETED."""
        before = step.before if self._wanted(step.before) else None
        after = step.after if self._wanted(step.after) else None
        if after is not None:
            self._change("MODIFIED" if before else "ADDED", after)
        elif before is not None:
            self._change("DELETED", step.leaving)

    def bookmark(self, version: int, annotations: Doc | None = None) -> None:
        """Tell that everything up to a version has been told."""
        self._put("BOOKMARK", partial(self.view.nothing, self.resource, version, annotations))

    def fail(self, error: StatusError) -> None:
        """End with an ERROR event."""
        self._put("ERROR", partial(msgspec.json.encode, error.status()))
        self.end()

    def end(self) -> None:
        """End after what is waiting."""
        self._ended = True
        self._news.set()

    async def until_news(self, seconds: float) -> None:
        """Wait until there is something to tell, or the watch has ended, for at most so long."""
        self._news.clear()
        if self._waiting or self._ended:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def next_lines(self) -> bytes:
        """What is to be written next; empty if there is nothing."""
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        return b"".join(b'{"type":"%b","object":%b}\n' % (kind.encode(), obj()) for kind, obj in batch)

    def _wanted(self, entry: Entry | None) -> bool:
        return entry is not None and (self.matches is None or self.matches(entry.doc))

    def _change(self, kind: str, entry: Entry) -> None:
        if len(self._waiting) < self._capacity:
            self._put(kind, partial(self.view.one, entry))
        elif not self._ended:
            self._waiting.clear()
            self.fail(gone("the client is too slow: more events are waiting than are kept for it"))

    def _put(self, kind: str, obj: Callable[[], bytes]) -> None:
        if not self._ended:
            self._waiting.append((kind, obj))
            self._news.set()


class Pace(NamedTuple):
    """In seconds: how long a watch lasts, how often a bookmark comes, and when a client that takes nothing is
    given up."""

    lasts: float
    bookmarks_every: float
    stalled: float


async def tell(watch: Watch, response: web.StreamResponse, pace: Pace, version: Callable[[], int]) -> None:
    """Write what a watch is told, until it ends or has lasted its time; with a bookmark now and then, and
    before the end. Raises `TimeoutError` if the client takes nothing."""
    clock = asyncio.get_running_loop().time
    end, due = clock() + pace.lasts, clock() + pace.bookmarks_every
    while not watch.done:
        await watch.until_news(max(0.0, min(end, due) - clock()))
        if clock() >= min(end, due):
            due = clock() + pace.bookmarks_every
            if watch.bookmarks:
                watch.bookmark(version())
        if clock() >= end:
            watch.end()
        if lines := watch.next_lines():
            async with asyncio.timeout(pace.stalled):
                await response.write(lines)
