"""What the reflectors of one API server share: whether it can be reached.

After an outage every watch comes back at a time of its own, and each brings only its part of what happened
meanwhile: a Service that is gone, the Endpoints of its successor. Passed on one by one they would make worlds
that never were. So what arrives is held back until all watches are back, or `regroup` seconds have passed;
then it is passed on at once. The first watch that comes back calls the others, which need not wait out their
delays.
"""

import asyncio
from collections.abc import Sequence

import structlog

from xds_server.model.world import Change
from xds_server.sources.kube_query import Query
from xds_server.sources.source import Sink

_SETTLE_S = 0.05
"""From the last watch that came back until its first events are here."""

_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500

log = structlog.stdlib.get_logger(__name__)


def is_outage(status: int) -> bool:
    """Whether an HTTP status, or 0 for no answer, says that the server is in trouble and not the request."""
    return status in (0, _TOO_MANY_REQUESTS) or status >= _SERVER_ERROR


class Outage:
    """Knows which queries get no answer. Passes changes to the sink, or holds them while watches come back.

    Holding begins only with `begin_regrouping`, called after the first sync, before which nothing is served.
    """

    def __init__(self, sink: Sink, regroup: float) -> None:
        self._sink = sink
        self._regroup = regroup
        self._loop = asyncio.get_running_loop()
        self._down: set[Query] = set()
        self._held: list[Change] | None = None  # None: changes pass
        self._may_hold = False
        self._release: asyncio.TimerHandle | None = None
        self._back = asyncio.Event()
        self._since: float | None = None

    @property
    def lasted(self) -> float | None:
        """Seconds for which at least one query has got no answer; None if all is well."""
        return None if self._since is None else self._loop.time() - self._since

    def begin_regrouping(self) -> None:
        """From now on changes are held while watches come back."""
        self._may_hold = True

    def failed(self, query: Query) -> None:
        """There was no answer to `query`."""
        if not self._down:
            self._since = self._loop.time()
            log.warning("Kubernetes does not answer; what was last known stays in use", origin=query.origin)
        self._down.add(query)
        self._back.clear()

    def worked(self, query: Query) -> None:
        """`query` is answered."""
        if query not in self._down:
            return
        self._down.discard(query)
        self._back.set()
        if not self._down:
            log.info("Kubernetes answers again", after_s=round(self.lasted or 0.0, 1))
            self._since = None
            self._release_in(_SETTLE_S)
        elif self._may_hold and self._release is None:
            self._held = []
            self._release_in(self._regroup)

    def forget(self, query: Query) -> None:
        """Nobody asks `query` any more."""
        self.worked(query)

    def pass_on(self, changes: Sequence[Change]) -> None:
        """Put `changes`, now or together with what else is held."""
        if self._held is None:
            self._sink.put(changes)
        else:
            self._held += changes

    async def pause(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait for `seconds`, or until another query comes back, but for `at_least` so many seconds."""
        await asyncio.sleep(at_least)
        if not self._down:
            await asyncio.sleep(seconds - at_least)
            return
        try:
            async with asyncio.timeout(seconds - at_least):
                await self._back.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Nothing is passed on from now on."""
        if self._release:
            self._release.cancel()

    def _release_in(self, seconds: float) -> None:
        if self._release:
            self._release.cancel()
        self._release = self._loop.call_later(seconds, self._release_now)

    def _release_now(self) -> None:
        held, self._held = self._held, None
        if not self._down:
            self._release = None  # over; until then there is no second time of holding
        if held:
            self._sink.put(held)
