"""Writes Kubernetes Events from the leader only; never blocks the pipeline.

`put` only queues. A replica that does not lead drops a condition after a minute, because the leader has
written it. A new leader writes the conditions of the last minute unless their Events exist. So a change of
the leader loses no Event and repeats none, and the replicas need not communicate.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from xds_server.base.aio import spawn
from xds_server.base.clock import SYSTEM, Clock
from xds_server.base.errors import SourceError
from xds_server.core.conditions import Condition
from xds_server.kube.client import KubeClient
from xds_server.kube.event_rate import EventQueue
from xds_server.kube.event_writer import EventWriter
from xds_server.kube.leader import Candidate
from xds_server.kube.lease import Terms
from xds_server.kube.session import Connect
from xds_server.kube.writes import Obstacles, Report

_log = structlog.stdlib.get_logger(__name__)


class EventRecorder:
    """Writes Events to the cluster that `connect` leads to. `identity` names this replica among those that
    share the Lease `namespace`/`name`. `report` is called when what prevents writing changes."""

    def __init__(
        self,
        connect: Connect,
        *,
        identity: str,
        namespace: str,
        name: str = "xds-shadow",
        terms: Terms | None = None,
        clock: Clock = SYSTEM,
        report: Report,
    ) -> None:
        self._connect = connect
        self._identity = identity
        self._terms = terms = terms or Terms()
        self._clock = clock
        self._obstacles = Obstacles(report, slow=terms.slow)
        self._candidate = Candidate(
            identity, namespace=namespace, name=name, terms=terms, clock=clock, obstacles=self._obstacles
        )
        self._writer = EventWriter(
            identity, within=terms.renew / 2, retry=terms.retry, clock=clock, obstacles=self._obstacles
        )
        self._queue = EventQueue()
        self._news = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this replica writes now."""
        return self._candidate.leads

    @property
    def waiting(self) -> int:
        """The number of conditions that are queued."""
        return len(self._queue)

    def outcomes(self) -> dict[str, int]:
        """The number of conditions by outcome, since the start."""
        return {**self._writer.outcomes, "dropped": self._queue.dropped}

    def put(self, conditions: Sequence[Condition], *, initial: bool = False) -> None:
        """Queue conditions. `initial` ones hold when this process starts, so a previous process may have
        written them. Never waits, never raises."""
        fresh = self.leads and not initial
        now = self._clock.monotonic()
        for condition in conditions:
            self._queue.put(condition, now=now, fresh=fresh)
        self._news.set()

    async def run(self) -> None:
        """Take part in the election and write, until cancelled; then give the Lease up."""
        client = await self._open()
        self._obstacles.gone("session")
        try:
            async with asyncio.TaskGroup() as group:
                spawn(group, "events/election", self._elect(client))
                spawn(group, "events/write", self._write(client))
        finally:
            await self._candidate.resign(client)
            await client.close()

    async def _open(self) -> KubeClient:
        while True:
            try:
                return await KubeClient.open(self._connect)
            except SourceError as error:
                await asyncio.sleep(self._obstacles.no_session(error))

    async def _elect(self, client: KubeClient) -> None:
        led = False
        while True:
            looked = self._clock.monotonic()
            wait = await self._candidate.step(client)
            before, led = led, self.leads
            if led:
                self._news.set()
            if led and not before:
                _log.info("started leading", identity=self._identity)
            elif before and not led:
                _log.warning("stopped leading", identity=self._identity)
                self._queue.doubt()
                self._obstacles.gone("events")
            if self._candidate.follows:
                self._queue.forget(before=looked - self._terms.kept)
            await asyncio.sleep(wait)

    async def _write(self, client: KubeClient) -> None:
        while True:
            now = self._clock.monotonic()
            if self.leads and (taken := self._queue.take(now)):
                condition, fresh = taken
                if retry := await self._writer.write(client, condition, fresh=fresh):
                    now = self._clock.monotonic()
                    if retry.hold:
                        self._queue.hold(condition.subject.namespace, now=now, seconds=retry.hold)
                    self._queue.put_back(condition, now=now, fresh=fresh)
                    await asyncio.sleep(retry.wait)
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._queue.wait(now) if self.leads else None):
                    await self._news.wait()
