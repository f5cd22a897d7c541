"""An open watch: its pending events, and writing them.

The store adds changes to a `Watch` as they happen, as references to what all watches share. They are encoded
when the client takes them. A watch whose client is too slow ends, so that it cannot exhaust the server's
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
"""The most events in one write."""


class Watch:
    """The pending events of one client. No I/O."""

    def __init__(
        self, resource: Resource, view: View, matches: Matches | None, *, bookmarks: bool, capacity: int
    ) -> None:
        self.resource = resource
        self.view = view
        self.bookmarks = bookmarks
        self.matches = matches
        self._capacity = capacity
        self._waiting: deque[tuple[str, Callable[[], bytes]]] = deque()  # types, and objects to be written
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def done(self) -> bool:
        """Whether no event is pending and none will follow."""
        return self._ended and not self._waiting

    def start(self, entries: Sequence[Entry]) -> None:
        """Begin with the existing objects, which do not count against the capacity."""
        self._capacity += len(entries)
        self._waiting.extend(("ADDED", partial(self.view.one, entry)) for entry in entries)

    def take(self, step: Step) -> None:
        """Add a change if it concerns the client. An object that begins to match the selector is ADDED, and
        one that no longer matches is DELETED."""
        before = step.before if self._wanted(step.before) else None
        after = step.after if self._wanted(step.after) else None
        if after is not None:
            self._change("MODIFIED" if before else "ADDED", after)
        elif before is not None:
            self._change("DELETED", step.leaving)

    def bookmark(self, version: int, annotations: Doc | None = None) -> None:
        """Add a bookmark: all changes up to a version have been sent."""
        self._put("BOOKMARK", partial(self.view.nothing, self.resource, version, annotations))

    def fail(self, error: StatusError) -> None:
        """End with an ERROR event."""
        self._put("ERROR", partial(msgspec.json.encode, error.status()))
        self.end()

    def end(self) -> None:
        """End after the pending events."""
        self._ended = True
        self._changed.set()

    async def wait_for_events(self, seconds: float) -> None:
        """Wait for at most this long until an event is pending or the watch has ended."""
        self._changed.clear()
        if self._waiting or self._ended:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def next_lines(self) -> bytes:
        """The bytes to write next; empty if there are none."""
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
            self._changed.set()


class Pace(NamedTuple):
    """In seconds: how long a watch lasts, the interval of bookmarks, and when a client that takes nothing is
    disconnected."""

    lasts: float
    bookmarks_every: float
    stalled: float


async def stream(watch: Watch, response: web.StreamResponse, pace: Pace, version: Callable[[], int]) -> None:
    """Write the events of a watch until it ends or times out, with periodic bookmarks and one at the end.
    Raises `TimeoutError` if the client takes nothing."""
    clock = asyncio.get_running_loop().time
    end, due = clock() + pace.lasts, clock() + pace.bookmarks_every
    while not watch.done:
        await watch.wait_for_events(max(0.0, min(end, due) - clock()))
        if clock() >= min(end, due):
            due = clock() + pace.bookmarks_every
            if watch.bookmarks:
                watch.bookmark(version())
        if clock() >= end:
            watch.end()
        if lines := watch.next_lines():
            async with asyncio.timeout(pace.stalled):
                await response.write(lines)
