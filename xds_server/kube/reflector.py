"""Follows one query: lists its objects, then watches them.

The rules are those of client-go's Reflector (tools/cache/reflector.go). A watch that ended resumes at the
last version seen. A new list is taken only if the server cannot resume (410, an ERROR event, a line that
cannot be read). No failure removes an object. If the server supports it, a list is a stream that turns into
the watch; otherwise it is read in pages. One rule is added: a failure is reported as a condition under the
query's origin, and withdrawn when it is over. This module does not know what the objects are for.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from xds_server.core.conditions import Condition
from xds_server.core.decode import DecodeError
from xds_server.core.objects import Object, Ref, ref_of
from xds_server.core.source import WatchCounts
from xds_server.core.world import Change, Delete, Report, Upsert
from xds_server.kube.api import KubeApi, Timing
from xds_server.kube.client import FORBIDDEN, GONE
from xds_server.kube.outage import REJECTED, Outage
from xds_server.kube.query import ApiError, Query, rejection
from xds_server.kube.watch_events import (
    Bookmark,
    Ended,
    Gone,
    Page,
    Seen,
    Unreadable,
    decode_event,
    decode_listed,
    decode_page,
)

_SHORT = 1.0
"""Seconds. A watch that ended sooner and without an event counts as a failure, so that a server or proxy that
closes at once is not called in a loop."""

_BEHIND_S = 0.05
"""From the start of a resumed watch until it has sent what it missed. A server sends that at once."""

_log = structlog.stdlib.get_logger(__name__)


async def list_all(api: KubeApi, query: Query) -> Page:
    """Everything that the query matches, as one page. Raises `ApiError` and `DecodeError`. Status 410 means
    that the list took longer than the server keeps its state, and has to start over."""
    objects: list[Object] = []
    rejected: dict[Ref, Condition] = {}
    token = ""
    while True:
        page = decode_page(query.kind, await api.page(query, token), query.origin)
        objects += page.objects
        rejected |= page.rejected
        token = page.token
        if not token:
            return Page(page.resource_version, "", objects, rejected)


_NO_STREAM = frozenset({400, 422})
"""The statuses of a server that does not support streaming lists."""


class Moment(Enum):
    """What a reflector passes on: a list, changes since the list, or the decision not to wait for a first
    list."""

    LISTED = auto()
    CHANGED = auto()
    GIVEN_UP = auto()


Emit = Callable[[Sequence[Change], Moment], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The responses that do not block the start. A status in `own` concerns this query alone: the start does
    not wait, and the query is retried. `give_up_after` is the number of seconds after which a forbidden query
    is left out. A status in `absent` means that the server does not have the kind: that is not a failure, and
    the kind is listed again later. None of these is an outage."""

    own: frozenset[int] = frozenset()
    give_up_after: float | None = None
    absent: frozenset[int] = frozenset()


class Holdings:
    """The last known result of a query. No I/O. Each method returns the changes that result."""

    def __init__(self) -> None:
        self._objects: dict[Ref, Object] = {}
        self._rejected: dict[Ref, Condition] = {}

    @property
    def problems(self) -> tuple[Condition, ...]:
        """Conditions of objects that cannot be decoded. Their last valid versions stay in use."""
        return tuple(problem for _, problem in sorted(self._rejected.items()))

    def replace(self, page: Page) -> list[Change]:
        """Take a complete list. Objects that are not in it are deleted."""
        before, after = self._objects, {ref_of(obj): obj for obj in page.objects}
        after |= {ref: before[ref] for ref in page.rejected if ref in before}
        self._objects, self._rejected = after, dict(page.rejected)
        return [
            *(Delete(ref) for ref in before if ref not in after),
            *(Upsert(obj) for ref, obj in after.items() if before.get(ref) != obj),
        ]

    def take(self, event: Seen | Gone | Unreadable) -> list[Change]:
        """Take one event of a watch."""
        match event:
            case Seen(_, obj):
                ref = ref_of(obj)
                self._rejected.pop(ref, None)
                if self._objects.get(ref) == obj:
                    return []
                self._objects[ref] = obj
                return [Upsert(obj)]
            case Unreadable(_, ref, problem):
                self._rejected[ref] = problem
                return []
            case Gone(_, ref):
                self._rejected.pop(ref, None)
                return [] if self._objects.pop(ref, None) is None else [Delete(ref)]


class Backoff:
    """Delays that grow and are jittered, so that replicas do not retry together."""

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._longest = base

    def next(self) -> float:
        """Seconds to wait now; the next delay is about twice as long."""
        longest, self._longest = self._longest, min(self._cap, max(self._base, self._longest * 2))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing

    def reset(self, *, at_once: bool = False) -> None:
        """Note a success. With `at_once` the next delay is zero."""
        self._longest = 0.0 if at_once else self._base


class Reflector:
    """Follows one query and passes on what changes. `heard` is when the server last sent something for it, or
    when the reflector started, by the loop's clock. `failure` is the condition of the last request, if it
    failed.

    `emit` never waits. It gets changes that belong together, and every list, even one that changes nothing.
    `synced` is set after the first list was passed on, or when the start no longer waits for it (`Patience`).
    """

    def __init__(
        self,
        api: KubeApi,
        query: Query,
        emit: Emit,
        *,
        timing: Timing,
        outage: Outage,
        counts: WatchCounts,
        patience: Patience,
    ) -> None:
        self.query = query
        self.synced = asyncio.Event()
        self._api = api
        self._emit = emit
        self._timing = timing
        self._outage = outage
        self._counts = counts
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self.heard = self._clock()
        self.failure: Condition | None = None
        self._backoff = Backoff(timing.backoff_base, timing.backoff_cap)
        self._holdings = Holdings()
        self._streams = True  # until the server rejects it
        self._version: str | None = None  # to watch from; None means that a list is due
        self._reported: tuple[Condition, ...] = ()
        self._listed_once = self._given_up = False
        self._forbidden_since: float | None = None
        self._caught_up = math.inf

    @property
    def is_open(self) -> bool:
        """Whether a watch is open."""
        return self._caught_up < math.inf

    @property
    def caught_up(self) -> bool:
        """Whether the watch is open and has had the time to send what it had missed."""
        return self._clock() >= self._caught_up

    def list_again(self) -> None:
        """If no watch is open, start again with a list. Only a list shows with certainty what a watch
        missed."""
        self._version = None

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            at_least = 0.0
            try:
                await self._follow()
            except ApiError as error:
                if error.status in self._patience.absent:
                    at_least = self._timing.retry_absent
                    self._absent()
                else:
                    self._failed(error)
                    at_least = error.retry_after
            except DecodeError as error:
                # Not JSON or not a list: what the server meant is unknown, so start from a known state.
                self._version = self._forbidden_since = None
                self._outage.failed(self.query, rejected=False)
                self._report_failure(error.problem)
            pause = min(self._backoff.next(), self._until_given_up())
            await self._outage.pause(max(pause, at_least), at_least=at_least)

    async def _follow(self) -> None:
        """Watch from the current version until the watch ends."""
        if self._version is None and self._streams and await self._stream():
            return
        if self._version is None:
            self._listed(await list_all(self._api, self.query))
        else:
            self._counts.resumes += 1
        async with self._api.watch(self.query, self._version or "") as lines:
            self.heard = self._clock()
            self._works()
            if self._version is not None:  # otherwise a list became due meanwhile
                await self._watch(lines, behind=_BEHIND_S)

    async def _stream(self) -> bool:
        """List and watch in one response. Returns False if the server sent no list; the caller then lists in
        pages."""
        try:
            async with self._api.streaming_list(self.query) as lines:
                page = await self._first_part(lines)
                if page is None:
                    return False
                self._listed(page)
                await self._watch(lines)
        except ApiError as error:
            if error.status not in _NO_STREAM:
                raise
            self._streams = False
            return False
        return True

    async def _first_part(self, lines: AsyncIterator[bytes]) -> Page | None:
        """The list part of a streaming list. None if it breaks off, or stalls before the bookmark that
        completes it, as with a server that treats it as an ordinary watch."""
        kind, origin = self.query.kind, self.query.origin
        objects: dict[Ref, Object] = {}
        rejected: dict[Ref, Condition] = {}
        try:
            async with asyncio.timeout(self._timing.read) as limit:
                async for line in lines:
                    now = self.heard = self._clock()
                    # At least half of the time: a timer for each line would be expensive.
                    if (limit.when() or now) < now + self._timing.read / 2:
                        limit.reschedule(now + self._timing.read)
                    match decode_listed(kind, line, origin):
                        case Seen(_, obj):
                            objects[ref_of(obj)] = obj
                        case Unreadable(_, ref, problem):
                            rejected[ref] = problem
                        case Gone(_, ref):
                            objects.pop(ref, None)
                        case Bookmark(version, complete):
                            if complete:
                                return Page(version, "", list(objects.values()), rejected)
                        case Ended(status):
                            raise rejection(self.query, "watch", status.code, status.message)
        except TimeoutError:
            self._streams = False
        return None

    def _listed(self, page: Page) -> None:
        self._version, self.heard = page.resource_version, self._clock()
        self._counts.lists += 1
        self._listed_once = True
        self._works(self._holdings.replace(page), Moment.LISTED)
        self.synced.set()

    async def _watch(self, lines: AsyncIterator[bytes], *, behind: float = 0.0) -> None:
        """Watch until the watch ends. During its first seconds it catches up."""
        opened = self._clock()
        self._caught_up = opened + behind
        try:
            async for line in lines:
                self._take(line)
                self._backoff.reset()
        finally:
            self._caught_up = math.inf
        if self._clock() - opened >= _SHORT:
            self._backoff.reset(at_once=True)

    def _take(self, line: bytes) -> None:
        self.heard = self._clock()
        event = decode_event(self.query.kind, line, self.query.origin)
        match event:
            case Ended(status):
                # Whatever the code, the server cannot resume this watch; only a list helps.
                self._version = None
                raise rejection(self.query, "watch", status.code, status.message)
            case Bookmark(version):
                self._version = version
            case Seen() | Gone() | Unreadable():
                self._version = event.resource_version
                self._counts.events += 1
                self._pass_on(self._holdings.take(event), failure=None)

    def _works(self, changes: Sequence[Change] = (), moment: Moment = Moment.CHANGED) -> None:
        self._forbidden_since = None
        # First, because the result of a list may have to wait for other watches.
        self._outage.worked(self.query)
        self._pass_on(changes, failure=None, moment=moment)

    def _absent(self) -> None:
        """Note that the server does not have this kind."""
        self.heard = self._clock()
        self._version, self._listed_once = None, True
        self._works(self._holdings.replace(Page("", "", [], {})), Moment.LISTED)
        self.synced.set()

    def _failed(self, error: ApiError) -> None:
        if error.status:
            self.heard = self._clock()
        if error.status == GONE:
            # Part of the protocol, not a failure: the server keeps a few minutes of history only.
            self._version = None
            _log.info("watch expired", origin=self.query.origin)
            return
        self._wait_on(error.status)
        self._report_failure(error.problem)

    def _wait_on(self, status: int) -> None:
        """Decide whether a failed request blocks the start."""
        if status != FORBIDDEN:
            self._forbidden_since = None
        elif self._forbidden_since is None:
            self._forbidden_since = self._clock()
        if status in self._patience.own:
            self._outage.forget(self.query)
            self.synced.set()
        elif self._until_given_up() <= 0:
            self._given_up = True
            self._outage.forget(self.query)
            self._emit((), Moment.GIVEN_UP)
            self.synced.set()
        elif not (self._given_up and status == FORBIDDEN):
            self._outage.failed(self.query, rejected=status in REJECTED)

    def _until_given_up(self) -> float:
        """Seconds until the start no longer waits for a forbidden list."""
        waits = self._forbidden_since is not None and not (self._listed_once or self._given_up)
        if not waits or self._patience.give_up_after is None:
            return math.inf
        return (self._forbidden_since or 0.0) + self._patience.give_up_after - self._clock()

    def _report_failure(self, problem: Condition) -> None:
        self._counts.failures += 1
        if problem not in self._reported:
            _log.warning("Kubernetes request failed", origin=self.query.origin, reason=problem.reason)
        self._pass_on((), failure=problem)

    def _pass_on(
        self, changes: Sequence[Change], *, failure: Condition | None, moment: Moment = Moment.CHANGED
    ) -> None:
        """Emit `changes`, with a report if the conditions differ from the last report."""
        self.failure = failure
        problems = (failure, *self._holdings.problems) if failure else self._holdings.problems
        if problems != self._reported:
            self._reported = problems
            changes = [*changes, Report(self.query.origin, problems)]
        if changes or moment is not Moment.CHANGED:
            self._emit(changes, moment)
