"""Tracks which queries of one API server fail, and groups the changes after an outage.

After an outage every watch resumes at a time of its own and sends only its part of the changes: a deleted
Service, the EndpointSlices of its successor. Passed on one by one, they would produce states that never
existed. So changes are held until all watches are back, for `regroup` seconds at most, and then passed on
together. The first watch that is back wakes the others, so that they do not wait for their delays. A watch
that stays away longer is not waited for again until it was back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from xds_server.core.source import Sink
from xds_server.core.world import Change
from xds_server.kube.client import FORBIDDEN, UNAUTHORIZED
from xds_server.kube.query import Query

_SETTLE_S = 0.05
"""From the last watch that is back until its first events arrive."""

REJECTED: Final = frozenset({UNAUTHORIZED, FORBIDDEN})
"""The statuses with which a server rejects a request for its credentials or permissions."""

_log = structlog.stdlib.get_logger(__name__)


class Down(NamedTuple):
    """Since when a query has failed, by the loop's clock, and whether the server rejects it or does not
    respond."""

    since: float
    rejected: bool


class Outage:
    """Knows which queries fail. Passes changes to the sink, or holds them while watches resume.

    It holds changes only after `begin_regrouping`, which is called after the first sync, because nothing is
    served before.
    """

    def __init__(self, sink: Sink, regroup: float) -> None:
        self._sink = sink
        self._regroup = regroup
        self._loop = asyncio.get_running_loop()
        self._down: dict[Query, Down] = {}
        self._how_many = Counter[bool]()  # of those, by whether they are rejected
        self._expected: set[Query] = set()  # of those, the ones that are awaited
        self._held: list[Change] | None = None  # None: changes pass
        self._may_hold = False
        self._release: asyncio.TimerHandle | None = None
        self._back = asyncio.Event()

    @property
    def down(self) -> Mapping[Query, Down]:
        """The queries that fail."""
        return self._down

    @property
    def lasted(self) -> float | None:
        """Seconds since the oldest failure began; None if no query fails."""
        since = min((down.since for down in self._down.values()), default=None)
        return None if since is None else self._loop.time() - since

    def begin_regrouping(self) -> None:
        """Hold changes while watches resume, from now on."""
        self._may_hold = True

    def failed(self, query: Query, *, rejected: bool) -> None:
        """Note that `query` was rejected, or got no response."""
        before = self._down.get(query)
        if before is None or before.rejected is not rejected:
            self._note(query, Down(before.since if before else self._loop.time(), rejected))
            if self._how_many[rejected] == 1:
                _log_begin(query, rejected=rejected)
        if before is None:
            self._expected.add(query)

    def worked(self, query: Query) -> None:
        """Note that `query` got a response."""
        if query not in self._down:
            return
        lasted = self.lasted
        self._note(query, None)
        self._back.set()
        self._back = asyncio.Event()  # a later `pause` waits for the next one
        if not self._down:
            _log.info("Kubernetes outage ended", after_s=round(lasted or 0.0, 1))
        if query not in self._expected:
            return
        self._expected.discard(query)
        if not self._expected:
            self._release_in(_SETTLE_S, self._release_now)
        elif self._may_hold and self._release is None:
            self._held = []
            self._release_in(self._regroup, self._wait_no_longer)

    def forget(self, query: Query) -> None:
        """Note that `query` is no longer needed."""
        self.worked(query)

    def pass_on(self, changes: Sequence[Change]) -> None:
        """Pass `changes` on, now or together with what is held."""
        if self._held is None:
            self._sink.put(changes)
        else:
            self._held += changes

    async def pause(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait for `seconds`, or until another query is back, but at least for `at_least`."""
        back = self._back
        await asyncio.sleep(at_least)
        if not self._down:
            await asyncio.sleep(seconds - at_least)
            return
        try:
            async with asyncio.timeout(seconds - at_least):
                await back.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Pass nothing on from now on."""
        if self._release:
            self._release.cancel()

    def _note(self, query: Query, down: Down | None) -> None:
        before = self._down.pop(query, None)
        if before:
            self._how_many[before.rejected] -= 1
        if down:
            self._down[query] = down
            self._how_many[down.rejected] += 1

    def _release_in(self, seconds: float, release: Callable[[], None]) -> None:
        if self._release:
            self._release.cancel()
        self._release = self._loop.call_later(seconds, release)

    def _wait_no_longer(self) -> None:
        self._expected.clear()
        self._release_now()

    def _release_now(self) -> None:
        held, self._held = self._held, None
        self._release = None
        if held:
            self._sink.put(held)


def _log_begin(query: Query, *, rejected: bool) -> None:
    cause = "requests rejected" if rejected else "no response"
    _log.warning("Kubernetes outage began", origin=query.origin, cause=cause)
