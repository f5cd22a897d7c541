"""What metrics and pictures have of each shadow: bounded in number, never less than before."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

from tests.support.records import BAD, GOOD, record, shadow
from tests.support.records import CANARY as WEB
from xds_server.base.clock import Clock
from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.history import STEP_S, Series
from xds_server.core.verdict.joining import Pair, Side
from xds_server.core.verdict.judgement import Verdict
from xds_server.core.verdict.record import Record, Requests
from xds_server.server import shadow_stats
from xds_server.server.facts import Facts
from xds_server.server.prometheus import Metrics
from xds_server.server.shadow_stats import LIMIT, OTHER, Limit, ShadowStats, pause
from xds_server.server.verdict_report import Replica
from xds_server.server.verdicts import Answer, Verdicts


def canary(name: str, namespace: str = "staging") -> NamespacedName:
    return NamespacedName(namespace, name)


def empty(name: NamespacedName = WEB) -> Record:
    return Record(canary=name, service="web", since=1.0)


class Peers:
    """Other replicas, whose answers a test sets."""

    def __init__(self) -> None:
        self.last: tuple[Answer, ...] = ()

    async def ask(self) -> tuple[Answer, ...]:
        return self.last


class Fleet:
    """The shadows and records of a replica, and what is shown of them."""

    def __init__(self, *names: NamespacedName, limit: Limit | None = None) -> None:
        self.names: Iterable[NamespacedName] = names
        self.records: dict[NamespacedName, Record] = {name: empty(name) for name in names}
        self.peers = Peers()
        self.reason = "Mirroring"
        verdicts = Verdicts(
            name="a",
            records=lambda: self.records,
            shadows=self.shadows,
            peers=self.peers,
            clock=Clock(partial(next, count(0.0)), time.time),  # so that each look is answered anew
        )
        self.stats = ShadowStats(verdicts, self.shadows, limit or LIMIT)

    def shadows(self) -> list[ShadowStatus]:
        return [replace(shadow(name), reason=self.reason) for name in self.names]

    def metrics(self) -> list[str]:
        facts = Facts(
            version="1",
            ready=True,
            outage_s=None,
            committed=0.0,
            build_failures=0,
            leader=False,
            figures=self.stats.figures(),
            verdicts=self.stats.verdicts(),
            shadow_traffic=self.stats.traffic(),
        )
        return Metrics(facts).text().decode().splitlines()

    def mirrored(self) -> dict[tuple[str, str], int]:
        return {shadow: figures.mirrored.issued for shadow, figures in self.stats.figures().items()}


async def test_each_shadow_has_metrics() -> None:
    fleet = Fleet(WEB)
    found = fleet.records[WEB]
    found.primary, found.mirrored = Requests(100, 98, 2, 0), Requests(50, 40, 6, 4)
    found.tally.update(record(20, 3).tally)
    found.tally.add(Pair((Side.CANARY, WEB.name), "GET /", BAD, GOOD))
    await fleet.stats.look(0.0)
    lines = fleet.metrics()
    of = 'deployment="web-canary",namespace="staging"'

    def latency(bound: str) -> str:
        return f'deployment="web-canary",le="{bound}",namespace="staging",side="canary"'

    for line in (
        f'xds_shadow_mirrored_requests_total{{{of},result="succeeded"}} 40.0',
        f'xds_shadow_mirrored_requests_total{{{of},result="failed"}} 6.0',
        f'xds_shadow_mirrored_requests_total{{{of},result="dropped"}} 4.0',
        f'xds_shadow_primary_requests_total{{{of},result="succeeded"}} 98.0',
        f'xds_shadow_primary_requests_total{{{of},result="failed"}} 2.0',
        f'xds_shadow_pairs_total{{{of},outcome="same"}} 17.0',
        f'xds_shadow_pairs_total{{{of},outcome="canary_failed"}} 3.0',
        f'xds_shadow_pairs_total{{{of},outcome="stable_failed"}} 1.0',
        f'xds_shadow_unpaired_requests_total{{{of},reason="not_sent"}} 0.0',
        f"xds_shadow_pair_latency_seconds_bucket{{{latency('0.008')}}} 0.0",
        f"xds_shadow_pair_latency_seconds_bucket{{{latency('0.016')}}} 18.0",
        f'xds_shadow_verdict{{{of},verdict="TooEarly"}} 1.0',
        f'xds_shadow_verdict{{{of},verdict="Worse"}} 0.0',
    ):
        assert line in lines, line
    assert not [line for line in lines if 'deployment="(other)"' in line]


async def test_the_verdict_is_that_of_all_replicas_and_the_counts_are_of_this_one() -> None:
    fleet = Fleet(WEB)
    fleet.records[WEB] = record(3, since=1.0)
    worse = record(4000, 400, since=1.0)
    fleet.peers.last = (Answer(Replica("b"), {WEB: worse}),)
    await fleet.stats.look(0.0)
    assert fleet.stats.verdicts() == {("staging", "web-canary"): Verdict.WORSE}
    assert fleet.stats.figures()["staging", "web-canary"].counts.pairs == 3


async def test_what_happens_to_the_requests_is_a_state() -> None:
    fleet = Fleet(WEB)
    await fleet.stats.look(0.0)
    of = 'deployment="web-canary",namespace="staging"'
    fleet.reason = "NotMirrored"
    assert f'xds_shadow_traffic{{{of},traffic="NotMirrored"}} 1.0' in fleet.metrics()
    assert f'xds_shadow_traffic{{{of},traffic="Mirroring"}} 0.0' in fleet.metrics()
    fleet.reason = "Paused"
    assert not [line for line in fleet.metrics() if line.startswith("xds_shadow_traffic{")]


async def test_counters_go_on_when_the_evidence_begins_again() -> None:
    fleet = Fleet(WEB)
    fleet.records[WEB].mirrored = Requests(50, 50, 0, 0)
    await fleet.stats.look(0.0)
    fleet.records[WEB] = record(0, since=9.0, template="new")
    await fleet.stats.look(10.0)
    fleet.records[WEB].mirrored = Requests(2, 2, 0, 0)
    await fleet.stats.look(20.0)
    assert fleet.mirrored() == {("staging", "web-canary"): 52}


async def test_a_shadow_that_ended_has_no_metrics_any_more() -> None:
    fleet = Fleet(WEB, canary("api-canary"))
    await fleet.stats.look(0.0)
    fleet.names = [WEB]
    await fleet.stats.look(10.0)
    assert fleet.mirrored().keys() == {("staging", "web-canary")}
    assert fleet.stats.series().keys() == {WEB}


async def test_shadows_beyond_the_limit_are_counted_together() -> None:
    names = [canary(f"canary-{at}", namespace) for namespace in ("a", "b") for at in range(3)]
    fleet = Fleet(*names, limit=Limit(total=3, of_namespace=2))
    for found in fleet.records.values():
        found.mirrored = Requests(10, 10, 0, 0)
    await fleet.stats.look(0.0)
    own = {("a", "canary-0"): 10, ("a", "canary-1"): 10, ("b", "canary-0"): 10}
    assert fleet.mirrored() == {**own, OTHER: 30}
    assert fleet.stats.verdicts().keys() == own.keys()
    assert [line for line in fleet.metrics() if line.endswith('namespace="(other)",result="succeeded"} 30.0')]


async def test_a_shadow_keeps_its_metrics_and_the_sum_of_the_others_never_falls() -> None:
    old, young, later = canary("z"), canary("a"), canary("b")
    fleet = Fleet(old, limit=Limit(total=1, of_namespace=1))
    await fleet.stats.look(0.0)
    fleet.names = [young, later, old]
    fleet.records |= {young: empty(young), later: empty(later)}
    fleet.records[young].mirrored = fleet.records[later].mirrored = Requests(10, 10, 0, 0)
    await fleet.stats.look(10.0)
    assert fleet.mirrored() == {("staging", "z"): 0, OTHER: 20}
    fleet.names = [young, later]
    fleet.records[young].mirrored = Requests(15, 15, 0, 0)
    await fleet.stats.look(20.0)
    assert fleet.mirrored() == {("staging", "a"): 5, OTHER: 20}


async def test_a_picture_has_the_requests_of_all_replicas() -> None:
    fleet = Fleet(WEB)
    of_b = empty()
    fleet.peers.last = (Answer(Replica("b"), {WEB: of_b}),)
    await fleet.stats.look(0.0)
    fleet.records[WEB].primary, of_b.primary = Requests(5, 4, 1, 0), Requests(6, 6, 0, 0)
    of_b.mirrored = Requests(3, 1, 2, 0)
    await fleet.stats.look(STEP_S)
    await fleet.stats.look(2.0 * STEP_S)
    assert fleet.stats.series() == {WEB: Series((0, 11), (0, 1), (0, 3), (0, 2))}


async def test_a_picture_begins_with_what_this_replica_has() -> None:
    fleet = Fleet(WEB)
    of_b = empty()
    fleet.peers.last = (Answer(Replica("b"), {WEB: of_b}),)
    fleet.records[WEB].primary, of_b.primary = Requests(5, 4, 1, 0), Requests(6_000, 6_000, 0, 0)
    await fleet.stats.look(0.0)
    await fleet.stats.look(STEP_S)
    assert fleet.stats.series() == {WEB: Series((5,), (1,), (0,), (0,))}


@pytest.mark.parametrize("problem", ["", "did not answer"])
async def test_a_replica_that_comes_or_goes_draws_no_peak(problem: str) -> None:
    fleet = Fleet(WEB)
    of_b = empty()
    of_b.primary = Requests(5000, 5000, 0, 0)
    there, gone = Answer(Replica("b"), {WEB: of_b}), Answer(Replica("b", "did not answer"), {})
    fleet.peers.last = (gone if not problem else there,)
    await fleet.stats.look(0.0)
    fleet.peers.last = (there if not problem else gone,)
    fleet.records[WEB].primary = Requests(7, 7, 0, 0)
    await fleet.stats.look(STEP_S)
    fleet.records[WEB].primary = Requests(9, 9, 0, 0)
    await fleet.stats.look(2.0 * STEP_S)
    await fleet.stats.look(3.0 * STEP_S)
    assert fleet.stats.series()[WEB].primary == (0, 0, 2)


def test_looks_that_take_long_are_rare() -> None:
    assert pause(0.1) == 10.0
    assert pause(5.0) == 45.0


async def test_a_bug_does_not_end_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, rested = Fleet(WEB), list[float]()

    async def rest(seconds: float) -> None:
        if len(rested) == 2:
            raise asyncio.CancelledError
        rested.append(seconds)
        fleet.names = [WEB]

    fleet.names = None  # type: ignore[assignment]
    monkeypatch.setattr(shadow_stats, "_sleep", rest)
    with pytest.raises(asyncio.CancelledError):
        await fleet.stats.run()
    assert fleet.mirrored().keys() == {("staging", "web-canary")}
