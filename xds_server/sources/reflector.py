"""Keeps a copy of what one query matches: list, then watch, for as long as it runs.

The rules are those of client-go's Reflector (tools/cache/reflector.go): a watch that ended goes on at the
last version seen; only where the server has lost its place (410, an ERROR event, a line that cannot be read)
is there a new list; nothing that fails takes an object away. One thing is added: what goes wrong is data,
reported under the query's origin and withdrawn when it is over. What the objects are for is not known
here.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from xds_server.kube.client import FORBIDDEN, GONE
from xds_server.model.objects import Object, Ref, ref_of
from xds_server.model.problems import Problem
from xds_server.model.world import Change, Delete, Report, Upsert
from xds_server.sources.decode import DecodeError
from xds_server.sources.kube_api import KubeApi, Timing
from xds_server.sources.kube_query import ApiError, Query, refused
from xds_server.sources.wire import (
    Bookmark,
    Ended,
    Gone,
    Page,
    Seen,
    Unreadable,
    decode_event,
    decode_page,
)

_SHORT = 1.0
"""Seconds. A watch that ended sooner and said nothing counts as a failure, lest a server or proxy that closes
at once is asked in a loop."""

log = structlog.stdlib.get_logger(__name__)


async def list_all(api: KubeApi, query: Query) -> Page:
    """Everything the query matches, as one page. Raises `ApiError` and `DecodeError`; with status 410 the
    list took longer than the server keeps its state, and has to start over."""
    objects: list[Object] = []
    rejected: dict[Ref, Problem] = {}
    token = ""
    while True:
        page = decode_page(query.kind, await api.page(query, token), query.origin)
        objects += page.objects
        rejected |= page.rejected
        token = page.token
        if not token:
            return Page(page.resource_version, "", objects, rejected)


_DEFINITE = frozenset({400, FORBIDDEN, 404, 422})
"""Statuses with which a server says that asking again will not help."""


class Holdings:
    """What the API server last said of a query. No I/O; each method returns what it changes for others."""

    def __init__(self) -> None:
        self._objects: dict[Ref, Object] = {}
        self._rejected: dict[Ref, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of objects that do not decode; their last good versions count."""
        return tuple(problem for _, problem in sorted(self._rejected.items()))

    def replace(self, page: Page) -> list[Change]:
        """Take a complete list: what it does not name is gone."""
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
    """Growing, jittered delays, so that the replicas of a fleet do not come back in step."""

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._longest = base

    def next(self) -> float:
        """Seconds to wait now; about twice as long the next time."""
        longest, self._longest = self._longest, min(self._cap, self._longest * 2)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing

    def reset(self) -> None:
        """It worked."""
        self._longest = self._base


class Reflector:
    """Follows one query and passes on what changes.

    `emit` is called without waiting, with changes that belong together. `synced` is set when the first list
    was passed on; with `optional`, also when the server forbids it, for what one can do without.
    """

    def __init__(
        self,
        api: KubeApi,
        query: Query,
        emit: Callable[[Sequence[Change]], None],
        timing: Timing,
        *,
        optional: bool = False,
    ) -> None:
        self.query = query
        self.synced = asyncio.Event()
        self._api = api
        self._emit = emit
        self._optional = optional
        self._backoff = Backoff(timing.backoff_base, timing.backoff_cap)
        self._holdings = Holdings()
        self._version: str | None = None  # to watch from; None means that a list is due
        self._failure: Problem | None = None
        self._reported: tuple[Problem, ...] = ()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch(self._version or "")
            except ApiError as error:
                self._failed(error)
            except DecodeError as error:
                # Not JSON or not a list: what the server meant is unknown, so start from a known state.
                self._version = None
                self._report_failure(error.problem)
            await asyncio.sleep(self._backoff.next())

    async def _list(self) -> None:
        page = await list_all(self._api, self.query)
        self._version = page.resource_version
        self._pass_on(self._holdings.replace(page), failure=None)
        self.synced.set()

    async def _watch(self, version: str) -> None:
        clock = asyncio.get_running_loop().time
        opened = clock()
        async with self._api.watch(self.query, version) as lines:
            self._pass_on([], failure=None)
            async for line in lines:
                self._take(line)
                self._backoff.reset()
        if clock() - opened >= _SHORT:
            self._backoff.reset()

    def _take(self, line: bytes) -> None:
        event = decode_event(self.query.kind, line, self.query.origin)
        match event:
            case Ended(status):
                # Whatever the code: the server has lost its place, and only a list finds it again.
                self._version = None
                raise refused(self.query, "watch", status.code, status.message)
            case Bookmark(version):
                self._version = version
            case Seen() | Gone() | Unreadable():
                self._version = event.resource_version
                self._pass_on(self._holdings.take(event), failure=None)

    def _failed(self, error: ApiError) -> None:
        if error.status == GONE:
            # Part of the protocol, not a failure: the server keeps a few minutes of history only.
            self._version = None
            log.info("list again, the version is gone", origin=self.query.origin)
            return
        self._report_failure(error.problem)
        if self._optional and error.status in _DEFINITE:
            self.synced.set()

    def _report_failure(self, problem: Problem) -> None:
        log.warning("Kubernetes request failed", origin=self.query.origin, reason=problem.reason)
        self._pass_on([], failure=problem)

    def _pass_on(self, changes: list[Change], *, failure: Problem | None) -> None:
        """Emit `changes`, with a report if what is wrong is no longer what was last reported."""
        problems = (failure, *self._holdings.problems) if failure else self._holdings.problems
        if problems != self._reported:
            self._reported = problems
            changes = [*changes, Report(self.query.origin, problems)]
        if changes:
            self._emit(changes)
