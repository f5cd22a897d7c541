"""Verdicts: the evidence of replicas, added, judged and shown."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest

from tests.support.records import BAD, CANARY, GOOD, record, shadow
from xds_server.base.clock import Clock
from xds_server.base.errors import AmbiguousNameError, UnknownNameError, UsageError
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason
from xds_server.core.objects import Kind
from xds_server.core.plan import ShadowStatus, State
from xds_server.core.verdict import bodies
from xds_server.core.verdict.bodies import Field
from xds_server.core.verdict.gaps import NO_GAP, Gap
from xds_server.core.verdict.joining import Lost, Pair, Side, Unpaired
from xds_server.core.verdict.judgement import Terms, Verdict
from xds_server.core.verdict.record import Record
from xds_server.server.lookup import find
from xds_server.server.terms import share, terms
from xds_server.server.verdict_report import Replica, ShadowVerdict, VerdictReport, verdict_on
from xds_server.server.verdicts import NO_PEERS, Answer, Peers, Verdicts

LONG = 20_000
"""So many pairs without a failure are enough for `NoWorse` by the default terms."""


class Scripted:
    """A peer that answers with a record, and one that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self) -> Sequence[Answer]:
        self.asked += 1
        return [
            Answer(Replica("two"), {CANARY: record(500, 5, since=900.0, envoy="envoy-2")}),
            Answer(Replica("three", "it did not answer in 2 s"), {}),
        ]


def verdicts_of(
    records: dict[NamespacedName, Record], *shadows: ShadowStatus, peers: Peers = NO_PEERS
) -> Verdicts:
    return Verdicts(name="one", records=lambda: records, shadows=lambda: shadows, peers=peers)


async def test_the_evidence_of_all_replicas_that_answer_is_added() -> None:
    own = {CANARY: record(500, 5)}
    verdicts = verdicts_of(own, shadow(), peers=Scripted())
    assert verdicts.last == VerdictReport((), (Replica("one"),))

    found = await verdicts.ask()
    assert verdicts.last is found
    total = found.shadows[0]
    assert (total.total.pairs, total.total.canary_failed, total.since) == (1_000, 10, 900.0)
    assert total.envoys == ("envoy-1", "envoy-2")
    assert found.missing == (Replica("three", "it did not answer in 2 s"),)
    assert verdicts.own() is own
    assert own[CANARY].tally.counts.pairs == 500


async def test_verdicts_are_judged_at_most_once_a_second() -> None:
    now, peers = 100.0, Scripted()
    verdicts = verdicts_of({}, shadow(), peers=peers)
    verdicts._clock = Clock(lambda: now, lambda: now)
    reports = await asyncio.gather(*(verdicts.ask() for _ in range(5)))
    assert peers.asked == 1
    assert all(each is reports[0] for each in reports)
    now += 1
    assert await verdicts.ask() is not reports[0]


async def test_other_terms_are_judged_for_the_shadows_that_are_asked_for() -> None:
    verdicts = verdicts_of({CANARY: record(1_000)}, shadow())
    report = await verdicts.judge([verdicts.find("staging", "web-canary")], Terms(tolerance=0.01))
    assert [each.verdict for each in report.shadows] == [Verdict.NO_WORSE]
    assert verdicts.last.shadows == ()


async def test_each_new_report_is_observed() -> None:
    seen: list[VerdictReport] = []
    verdicts = Verdicts(name="one", records=dict, shadows=lambda: [shadow()], observe=seen.append)
    assert [await verdicts.ask(), await verdicts.ask()] == [*seen, *seen]
    assert len(seen) == 1


async def test_gaps_are_noticed_and_new_evidence_has_none() -> None:
    now, own = 1_000.0, record(2_000, arrived=0.5)
    records = {CANARY: own}
    verdicts = verdicts_of(records, shadow())
    verdicts._clock = Clock(lambda: now, lambda: now)
    report = await verdicts.judge([shadow()])
    assert own.gap.since == now
    assert report.shadows[0].message.startswith(
        "Sampled pairs have been missing since 1970-01-01 00:16:40 UTC."
    )
    records[CANARY] = record(2_000, template="b")
    assert (await verdicts.judge([shadow()])).shadows[0].verdict is Verdict.TOO_EARLY
    assert verdicts.own()[CANARY].gap == NO_GAP
    records.clear()
    verdicts.own()
    assert verdicts._gaps == {}


async def test_a_bug_in_one_verdict_costs_no_other_shadow_its_verdict() -> None:
    other = NamespacedName("staging", "other")
    broken = record(10)
    broken.gap = Gap(since=1e300)

    class Broken:
        async def ask(self) -> Sequence[Answer]:
            return [Answer(Replica("two"), {CANARY: broken})]

    verdicts = verdicts_of({other: record(LONG, canary=other)}, peers=Broken())
    report = await verdicts.judge([shadow(), shadow(other)])
    assert [each.verdict for each in report.shadows] == [Verdict.BLIND, Verdict.NO_WORSE]
    assert report.shadows[0].message.startswith("An internal error (OverflowError) prevented the verdict.")


async def test_a_record_of_a_shadow_that_is_gone_is_not_shown() -> None:
    assert (await verdicts_of({CANARY: record()}).ask()).shadows == ()


def test_a_shadow_is_found_by_its_name() -> None:
    other = shadow(NamespacedName("staging", "statefulset/web-canary"))
    assert find([shadow(), other], "staging", "web-canary", "StatefulSet") is other
    with pytest.raises(AmbiguousNameError, match="staging/deployment/web-canary, staging/statefulset/"):
        find([shadow(), other], "staging", "web-canary")
    with pytest.raises(UnknownNameError, match=r"no workload staging/web-canry .*did you mean staging/web-c"):
        find([shadow()], "staging", "web-canry")
    with pytest.raises(UnknownNameError, match=r"is known to the server$"):
        find([shadow()], "a", "b")


@pytest.mark.parametrize(
    ("alpha", "tolerance", "pairs"),
    [(0.0, 0.1, 1), (0.6, 0.1, 1), (float("nan"), 0.1, 1), (0.1, 1.0, 1), (0.1, 0.1, -1), (0.1, 0.1, 10**10)],
)
def test_terms_out_of_range_are_rejected(alpha: float, tolerance: float, pairs: int) -> None:
    with pytest.raises(UsageError, match="is not between"):
        terms(alpha, tolerance, pairs)


def test_shares_are_percentages_or_numbers() -> None:
    assert [share("0.1%", "x"), share("25%", "x"), share("0.25", "x")] == [0.001, 0.25, 0.25]
    with pytest.raises(UsageError, match="--tolerance 'much' is not a share such as"):
        share("much", "--tolerance")


@pytest.mark.parametrize(
    ("found", "verdict", "message"),
    [
        (record(LONG), Verdict.NO_WORSE, "In 20000 pairs the canary fails at most"),
        (record(400, 20), Verdict.WORSE, "In 400 pairs the canary failed alone in 20"),
        (record(10), Verdict.TOO_EARLY, "10 of at least 1000 pairs were compared."),
        (record(LONG, arrived=0.5), Verdict.BLIND, "20000 of 40000 sampled pairs arrived."),
        (record(0), Verdict.TOO_EARLY, "No request was mirrored yet."),
        (record(300, arrived=inf), Verdict.TOO_EARLY, "300 of at least 1000 pairs were compared."),
        (None, Verdict.BLIND, "No Envoy reports how many requests it mirrored."),
    ],
)
def test_a_verdict_and_its_sentence(found: Record | None, verdict: Verdict, message: str) -> None:
    shown = verdict_on(shadow(), found)
    assert shown.verdict is shown.judgement.verdict is verdict
    assert shown.message.startswith(message)
    assert shown.since == (found.since if found else None)


def test_a_shadow_that_does_not_mirror_and_has_no_evidence_is_not_blind() -> None:
    shown = verdict_on(shadow(state=State.PAUSED), None)
    assert (shown.verdict, shown.message) == (
        Verdict.TOO_EARLY,
        "No request was mirrored yet: the shadow is Paused.",
    )


def test_before_the_first_load_reports_nothing_is_said_of_the_requests() -> None:
    found, new = record(0), replace(shadow(), reason=Reason.CONFIGURED)
    found.envoys = frozenset()
    awaited = "The first load reports of the Envoys are awaited."
    for each in (found, None):
        shown = verdict_on(new, each)
        assert (shown.verdict, shown.message) == (Verdict.TOO_EARLY, awaited)
    assert verdict_on(shadow(), found).verdict is Verdict.BLIND


def test_a_paused_shadow_whose_pairs_are_not_due_yet_has_mirrored_requests() -> None:
    shown = verdict_on(shadow(state=State.PAUSED), record(300, arrived=inf))
    assert shown.message == "300 of at least 1000 pairs were compared."


def test_envoys_that_report_no_loads_are_no_evidence() -> None:
    found = record(0)
    found.silent = found.envoys
    assert verdict_on(shadow(), found).verdict is Verdict.BLIND


def test_terms_decide() -> None:
    wanted = Terms(alpha=0.05, tolerance=0.01, min_pairs=100)
    shown = verdict_on(shadow(), record(1_000), wanted)
    assert (shown.verdict, shown.terms) == (Verdict.NO_WORSE, wanted)


def shown_of_two_groups() -> ShadowVerdict:
    found = record(4)
    whose = (Side.CANARY, CANARY.name)
    for answer in (BAD, BAD, GOOD):
        found.tally.add(Pair(whose, "POST /orders", GOOD, answer))
    found.tally.add(Unpaired(Lost.NOT_SENT, whose))
    return verdict_on(shadow(), found)


def test_groups_have_both_sides_and_the_one_with_most_failures_comes_first() -> None:
    shown = shown_of_two_groups()
    assert [group.name for group in shown.groups] == ["POST /orders", "GET /"]
    orders = shown.groups[0]
    assert (orders.pairs, orders.canary_failed, orders.stable_failed, orders.differing_types) == (3, 2, 0, 2)
    assert orders.codes == (("200", "500", 2), ("200", "200", 1))
    assert orders.primary.codes == (("200", 3),)
    assert orders.shadow.codes == (("500", 2), ("200", 1))
    assert orders.primary.p99 == pytest.approx(0.010, rel=0.2)
    assert orders.shadow.p50 == orders.shadow.p99 == pytest.approx(0.100, rel=0.2)
    assert (shown.total.name, shown.total.pairs, shown.total.canary_failed) == ("all", 7, 2)
    assert sum(shown.total.shadow.latencies.values()) == 7
    assert shown.lost == {Lost.NOT_SENT: 1}


def test_without_a_pair_there_are_no_quantiles() -> None:
    side = verdict_on(shadow(), None).total.primary
    assert (side.codes, side.p50, side.p95, side.p99) == ((), None, None, None)


def test_fields_that_differ_come_with_what_the_baseline_says() -> None:
    name, time = ("$.name", bodies.Kind.MISSING), ("$.time", bodies.Kind.VALUE)
    found = record(50)
    for _ in range(50):
        found.bodies.add("GET /", [name, time], [time])
    shown = verdict_on(shadow(), found)
    assert [(each.field[1:], each.differs) for each in shown.fields] == [(name, True), (time, False)]
    assert (shown.compared, shown.noise_unknown) == (50, False)
    assert verdict_on(shadow(), record(50, differing={Field("GET /", *name): 1})).noise_unknown


def test_only_a_baseline_tells_whether_a_canary_is_slower() -> None:
    found = record(5)
    assert verdict_on(shadow(), found).slower is None
    whose = (Side.CANARY, CANARY.name)
    for _ in range(50):
        found.tally.add(Pair(whose, "GET /", GOOD, GOOD._replace(latency_s=0.5), baseline=GOOD))
    shown = verdict_on(shadow(), found)
    assert (shown.slower, shown.speed) == (True, (50, 0))


def test_a_workload_of_another_kind() -> None:
    canary = NamespacedName("staging", "statefulset/db")
    shown = verdict_on(shadow(canary), record(5, canary=canary))
    assert (shown.kind, shown.name, shown.canary) == (Kind.STATEFUL_SET, "db", "statefulset/db")
