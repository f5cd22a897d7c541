"""The verdicts on all shadows: the evidence of this replica and of its peers, added and judged.

The evidence of the peers costs a call to each of them, so it is asked for only when somebody wants a verdict,
and at most once a second; and every 10 s, for the Events. Nothing here changes what is served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import structlog

from xds_server.base.clock import SYSTEM, Clock
from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.gaps import GapWatch
from xds_server.core.verdict.judgement import Terms, Verdict
from xds_server.core.verdict.record import Record, added
from xds_server.server.lookup import find
from xds_server.server.verdict_report import (
    DEFAULT_TERMS,
    Replica,
    ShadowVerdict,
    VerdictReport,
    verdict_on,
)

_FRESH_S: Final = 1.0

_log = structlog.stdlib.get_logger(__name__)

Records = Mapping[NamespacedName, Record]
"""The record of each shadow, by the canary."""


class Answer(NamedTuple):
    """What a replica answered: its records, or why they are missing."""

    replica: Replica
    records: Records


class Peers(Protocol):
    """The other replicas."""

    def ask(self) -> Awaitable[Sequence[Answer]]: ...


class NoPeers:
    """The peers of a replica that runs alone."""

    async def ask(self) -> Sequence[Answer]:
        """Nobody answers."""
        return ()


NO_PEERS: Final = NoPeers()


class Verdicts:
    """The verdicts on the shadows that `shadows` returns, sorted. `records` returns what this replica, called
    `name`, has recorded from its own Envoys; `peers` are the other replicas.

    `own` are the records of this replica alone, whose counters a scrape of this replica shows. `ask` gives
    the verdicts by the evidence that all replicas have now. `last` is what `ask` returned last, by the
    default terms, for who must not wait, such as `status`; `observe` is called with it.
    """

    def __init__(
        self,
        *,
        name: str,
        records: Callable[[], Records],
        shadows: Callable[[], Sequence[ShadowStatus]],
        peers: Peers = NO_PEERS,
        observe: Callable[[VerdictReport], None] = lambda _: None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.last = VerdictReport((), (Replica(name),))
        self._name = name
        self._records = records
        self._shadows = shadows
        self._peers = peers
        self._observe = observe
        self._clock = clock
        self._gaps: dict[NamespacedName, tuple[tuple[float, str], GapWatch]] = {}
        self._asked: float | None = None
        self._asking = asyncio.Lock()

    def own(self) -> Records:
        """What this replica has recorded, with the gaps in it."""
        records, now = self._records(), self._clock.wall()
        for gone in self._gaps.keys() - records.keys():
            del self._gaps[gone]
        for canary, record in records.items():
            epoch = record.since, record.template
            known = self._gaps.get(canary)
            if known is None or known[0] != epoch:
                known = self._gaps[canary] = epoch, GapWatch()
            record.gap = known[1].look(record.tally, record.expected, now)
        return records

    def find(self, namespace: str, name: str, kind: str = "") -> ShadowStatus:
        """The shadow of that name, as `lookup.find` has it."""
        return find(self._shadows(), namespace, name, kind)

    async def ask(self) -> VerdictReport:
        """The verdicts on all shadows by the default terms, at most a second old."""
        async with self._asking:
            if self._asked is None or self._clock.monotonic() - self._asked >= _FRESH_S:
                self.last = await self.judge(self._shadows())
                self._asked = self._clock.monotonic()
                self._observe(self.last)
        return self.last

    async def all(self, terms: Terms) -> VerdictReport:
        """The verdicts on all shadows by these terms."""
        return await (self.ask() if terms == DEFAULT_TERMS else self.judge(self._shadows(), terms))

    async def judge(self, shadows: Iterable[ShadowStatus], terms: Terms = DEFAULT_TERMS) -> VerdictReport:
        """The verdicts on these shadows."""
        answers = await self._peers.ask()
        replicas = (self.own(), *(each.records for each in answers))
        found = []
        for shadow in shadows:
            found.append(_judged(shadow, replicas, terms))
            await asyncio.sleep(0)  # a verdict takes some 2 ms, and this process serves Envoys
        return VerdictReport(tuple(found), (Replica(self._name), *(each.replica for each in answers)))


def _judged(shadow: ShadowStatus, replicas: Iterable[Records], terms: Terms) -> ShadowVerdict:
    """The verdict on one shadow. A bug that prevents it costs no other shadow its verdict."""
    canary = NamespacedName(shadow.namespace, shadow.canary)
    try:
        record = added({canary: each[canary]} for each in replicas if canary in each).get(canary)
        return verdict_on(shadow, record, terms)
    except Exception as error:  # noqa: BLE001 - see above
        _log.exception("verdict failed", subject=str(canary))
        message = (
            f"An internal error ({type(error).__name__}) prevented the verdict. The log has the details."
        )
        return replace(verdict_on(shadow, None, terms), verdict=Verdict.BLIND, message=message)
