"""The verdicts on all shadows: the evidence of this replica and of its peers, added and judged.

The evidence of the peers costs a call to each of them, so it is asked for only when somebody wants a verdict,
and at most once a second. Nothing here changes what is served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.judgement import Terms
from xds_server.core.verdict.record import Record, added
from xds_server.server.verdict_report import DEFAULT_TERMS, Replica, ShadowVerdict, VerdictReport, verdict_on

Records = Mapping[NamespacedName, Record]
"""The record of each shadow, by the canary."""


class Answer(NamedTuple):
    """What a replica answered: its records, or why they are missing."""

    replica: Replica
    records: Records


class Peers(Protocol):
    """The other replicas. `last` is what they answered when they were last asked."""

    @property
    def last(self) -> Sequence[Answer]: ...
    def ask(self) -> Awaitable[Sequence[Answer]]: ...


class NoPeers:
    """The peers of a replica that runs alone."""

    last: Sequence[Answer] = ()

    async def ask(self) -> Sequence[Answer]:
        """Nobody answers."""
        return self.last


NO_PEERS: Final = NoPeers()


class Verdicts:
    """The verdicts on the shadows that `shadows` returns, sorted. `records` returns what this replica, called
    `name`, has recorded from its own Envoys; `peers` are the other replicas.

    `own` are the records of this replica alone, whose counters a scrape of this replica shows. `ask` gives
    the verdicts with the evidence of all replicas as it is now. `last` gives them with what the peers
    answered when they were last asked: it waits for nobody, and suits the metrics.
    """

    def __init__(
        self,
        *,
        name: str,
        records: Callable[[], Records],
        shadows: Callable[[], Iterable[ShadowStatus]],
        peers: Peers = NO_PEERS,
    ) -> None:
        self._name = name
        self._records = records
        self._shadows = shadows
        self._peers = peers

    def own(self) -> Records:
        """What this replica has recorded."""
        return self._records()

    async def ask(self, terms: Terms = DEFAULT_TERMS) -> VerdictReport:
        """The verdicts of all replicas together. They take milliseconds each, so other tasks run in between:
        this process serves the Envoys."""
        answers, found = await self._peers.ask(), list[ShadowVerdict]()
        replicas = (self._records(), *(each.records for each in answers))
        for shadow in self._shadows():
            found.append(_verdict(shadow, replicas, terms))
            await asyncio.sleep(0)
        return self._report(found, answers)

    def last(self, terms: Terms = DEFAULT_TERMS) -> VerdictReport:
        """The verdicts with what the peers answered last."""
        answers = self._peers.last
        replicas = (self._records(), *(each.records for each in answers))
        return self._report([_verdict(each, replicas, terms) for each in self._shadows()], answers)

    def _report(self, shadows: Iterable[ShadowVerdict], answers: Sequence[Answer]) -> VerdictReport:
        return VerdictReport(tuple(shadows), (Replica(self._name), *(each.replica for each in answers)))


def _verdict(shadow: ShadowStatus, replicas: Iterable[Records], terms: Terms) -> ShadowVerdict:
    canary = NamespacedName(shadow.namespace, shadow.canary)
    records = added({canary: each[canary]} for each in replicas if canary in each)
    return verdict_on(shadow, records.get(canary), terms)
