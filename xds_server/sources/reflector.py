"""Keeps a copy of what one query matches: list, then watch, for as long as it runs.

The rules are those of client-go's Reflector (tools/cache/reflector.go): a watch that ended goes on at the
last version seen; only a version that the server no longer has (410) makes a new list; nothing that fails
takes an object away. One thing is added: what goes wrong is data, reported under the query's origin and
withdrawn when it is over. What the objects are for is not known here.
"""

import asyncio
import random
from collections.abc import Callable, Mapping

import structlog

from xds_server.model.objects import Object, Ref, ref_of
from xds_server.model.problems import Problem
from xds_server.model.world import Change, Delete, Report, Upsert
from xds_server.sources.decode import DecodeError
from xds_server.sources.kube_api import KubeApi, Timing
from xds_server.sources.kube_query import FORBIDDEN, GONE, ApiError, Query, refused
from xds_server.sources.wire import (
    Bookmark,
    Ended,
    Gone,
    Page,
    Seen,
    Unreadable,
    WatchEvent,
    decode_event,
    decode_page,
)

_SHORT = 1.0
"""Seconds. A watch that ended sooner and said nothing counts as a failure, lest a server or proxy that closes
at once is asked in a loop."""

log = structlog.stdlib.get_logger(__name__)


class Holdings:
    """What the API server last said of a query. No I/O; each method returns what it changes for others."""

    def __init__(self) -> None:
        self._objects: Mapping[Ref, Object] = {}
        self._rejected: Mapping[Ref, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of objects that do not decode; their last good versions count."""
        return tuple(problem for _, problem in sorted(self._rejected.items()))

    def replace(self, page: Page) -> list[Change]:
        """Take a complete list: what it does not name is gone."""
        before, after = self._objects, {ref_of(obj): obj for obj in page.objects}
        after |= {ref: before[ref] for ref in page.rejected if ref in before}
        self._objects, self._rejected = after, page.rejected
        return [
            *(Delete(ref) for ref in before if ref not in after),
            *(Upsert(obj) for ref, obj in after.items() if before.get(ref) != obj),
        ]

    def take(self, event: Seen | Gone | Unreadable) -> list[Change]:
        """Take one event of a watch."""
        match event:
            case Seen(_, obj):
                ref = ref_of(obj)
                self._reject(ref, None)
                if self._objects.get(ref) == obj:
                    return []
                self._objects = {**self._objects, ref: obj}
                return [Upsert(obj)]
            case Unreadable(_, ref, problem):
                self._reject(ref, problem)
                return []
            case Gone(_, ref):
                self._reject(ref, None)
                if ref not in self._objects:
                    return []
                self._objects = {key: obj for key, obj in self._objects.items() if key != ref}
                return [Delete(ref)]


class Backoff:
    """Growing, jittered delays, so that the replicas of a fleet do not come back in step."""

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait now; twice as long the next time."""
        longest = min(self._cap, self._base * 2.0**self._failures)
        if longest < self._cap:
            self._failures += 1
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing

    def reset(self) -> None:
        """It worked."""
        self._failures = 0
