"""Verdicts: the evidence of replicas, added, judged and shown."""

from collections.abc import Sequence

import pytest

from tests.support.records import BAD, CANARY, GOOD, record, shadow
from xds_server.base.ids import NamespacedName
from xds_server.core.objects import Kind
from xds_server.core.plan import State
from xds_server.core.verdict import bodies
from xds_server.core.verdict.bodies import Field
from xds_server.core.verdict.joining import Lost, Pair, Side, Unpaired
from xds_server.core.verdict.judgement import Terms, Verdict
from xds_server.core.verdict.record import Record
from xds_server.server.verdict_report import Replica, ShadowVerdict, verdict_on
from xds_server.server.verdicts import Answer, Verdicts

LONG = 20_000
"""So many pairs without a failure are enough for `NoWorse` by the default terms."""


class Scripted:
    """A peer that answers with a record, and then fails."""

    def __init__(self) -> None:
        self.last: Sequence[Answer] = ()

    async def ask(self) -> Sequence[Answer]:
        self.last = [
            Answer(Replica("two"), {CANARY: record(500, 5, since=900.0, envoy="envoy-2")}),
            Answer(Replica("three", "it did not answer in 2 s"), {}),
        ]
        return self.last


async def test_the_evidence_of_all_replicas_that_answer_is_added() -> None:
    own = {CANARY: record(500, 5)}
    verdicts = Verdicts(name="one", records=lambda: own, shadows=lambda: [shadow()], peers=Scripted())
    alone = verdicts.last()
    assert (alone.shadows[0].total.pairs, alone.replicas) == (500, (Replica("one"),))

    found = await verdicts.ask()
    assert found == verdicts.last()
    total = found.shadows[0]
    assert (total.total.pairs, total.total.canary_failed, total.since) == (1_000, 10, 900.0)
    assert total.envoys == ("envoy-1", "envoy-2")
    assert found.missing == (Replica("three", "it did not answer in 2 s"),)
    assert verdicts.own() is own


async def test_a_replica_alone_has_no_peers() -> None:
    verdicts = Verdicts(name="one", records=lambda: {CANARY: record()}, shadows=lambda: [shadow()])
    assert await verdicts.ask() == verdicts.last()


def test_a_record_of_a_shadow_that_is_gone_is_not_shown() -> None:
    verdicts = Verdicts(name="one", records=lambda: {CANARY: record()}, shadows=list)
    assert verdicts.last().shadows == ()


@pytest.mark.parametrize(
    ("found", "verdict", "message"),
    [
        (record(LONG), Verdict.NO_WORSE, "In 20000 pairs the canary fails at most"),
        (record(400, 20), Verdict.WORSE, "In 400 pairs the canary failed alone in 20"),
        (record(10), Verdict.TOO_EARLY, "10 of at least 1000 pairs were compared."),
        (record(LONG, arrived=0.5), Verdict.BLIND, "20000 of 40000 sampled pairs arrived."),
        (record(0), Verdict.TOO_EARLY, "No request was mirrored yet."),
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


def test_envoys_that_report_no_loads_are_no_evidence() -> None:
    found = record(0)
    found.silent = found.envoys
    assert verdict_on(shadow(), found).verdict is Verdict.BLIND


def test_terms_decide() -> None:
    terms = Terms(alpha=0.05, tolerance=0.01, min_pairs=100)
    shown = verdict_on(shadow(), record(1_000), terms)
    assert (shown.verdict, shown.terms) == (Verdict.NO_WORSE, terms)


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
