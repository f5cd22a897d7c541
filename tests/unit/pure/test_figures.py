"""What metrics and pictures show of a shadow: counts that do not begin again, and the last half hour."""

import pytest

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.figures import LATENCY_BOUNDS_S, NO_FIGURES, Figures, Gains, figures
from xds_server.core.verdict.history import MOST_STEPS, STEP_S, History, Series
from xds_server.core.verdict.joining import Answer, Lost, Pair, Side, Unpaired
from xds_server.core.verdict.record import Record, Requests
from xds_server.core.verdict.tally import BOUNDS_S

CANARY = NamespacedName("staging", "web-canary")


def record(since: float = 0.0, template: str = "a") -> Record:
    return Record(canary=CANARY, service="web", since=since, template=template)


def paired(found: Record, *, group: str = "GET /", failed: bool = False, latency_s: float = 0.003) -> None:
    answer = Answer(failed=failed, code=500 if failed else 200, latency_s=latency_s)
    found.tally.add(Pair((Side.CANARY, CANARY.name), group, Answer(failed=False, code=200), answer))


def test_a_metric_has_every_latency_in_the_bucket_that_its_bound_names() -> None:
    assert LATENCY_BOUNDS_S[0] == 0.002
    assert LATENCY_BOUNDS_S[-1] == 16.384
    for latency_s in (0.0, *BOUNDS_S, 200.0):
        found = record()
        paired(found, latency_s=latency_s)
        [bucket] = [at for at, count in enumerate(figures(found).canary_latency) if count]
        upto = [bound for bound in LATENCY_BOUNDS_S if bound >= latency_s]
        assert bucket == len(LATENCY_BOUNDS_S) - len(upto), latency_s
        assert figures(found).primary_latency[0] == 1


def test_figures_are_of_all_groups() -> None:
    found = record()
    found.primary, found.mirrored = Requests(9, 8, 1, 0), Requests(5, 2, 3, 4)
    paired(found, group="GET /a")
    paired(found, group="GET /b", failed=True)
    found.tally.add(Unpaired(Lost.NOT_SENT, (Side.CANARY, CANARY.name)))
    assert figures(found) == Figures(
        Requests(9, 8, 1, 0),
        Requests(5, 2, 3, 4),
        Counts(2, 1, 0),
        tuple(int(reason is Lost.NOT_SENT) for reason in Lost),
        (2, *(0,) * len(LATENCY_BOUNDS_S)),
        (0, 2, *(0,) * (len(LATENCY_BOUNDS_S) - 1)),
    )


def test_what_was_added_since_the_last_look_is_a_gain() -> None:
    gains, found = Gains(), record()
    found.mirrored = Requests(5, 5, 0, 0)
    assert gains.of(found).mirrored == Requests(5, 5, 0, 0)
    assert gains.of(found) == NO_FIGURES
    found.mirrored = Requests(7, 6, 1, 0)
    paired(found)
    assert gains.of(found).mirrored == Requests(2, 1, 1, 0)


@pytest.mark.parametrize("after", [record(since=8.0), record(template="b")], ids=["since", "template"])
def test_evidence_that_begins_again_takes_nothing_from_the_total(after: Record) -> None:
    gains, before = Gains(), record()
    before.mirrored = Requests(5, 5, 0, 0)
    after.mirrored = Requests(2, 2, 0, 0)
    total = gains.of(before).plus(gains.of(after))
    assert total.mirrored == Requests(7, 7, 0, 0)


def test_a_count_that_is_lower_than_before_has_gained_nothing() -> None:
    gains, found = Gains(), record()
    found.mirrored = Requests(5, 5, 0, 0)
    gains.of(found)
    found.mirrored = Requests(4, 4, 0, 1)
    assert gains.of(found).mirrored == Requests(0, 0, 0, 1)


def test_a_shadow_that_ended_is_forgotten() -> None:
    gains, found = Gains(), record()
    found.mirrored = Requests(5, 5, 0, 0)
    gains.of(found)
    gains.keep([CANARY])
    assert gains.of(found) == NO_FIGURES
    gains.keep([])
    assert gains.of(found).mirrored == Requests(5, 5, 0, 0)


def gained(count: int) -> Figures:
    return Figures(Requests(4 * count, 0, 3 * count, 0), Requests(2 * count, 0, count, 0))


def test_a_history_has_the_steps_that_have_ended() -> None:
    history = History(now=5.0)
    history.add(gained(1), now=6.0)
    assert history.series() == Series()
    history.add(gained(2), now=STEP_S + 1.0)
    history.add(gained(3), now=STEP_S + 9.0)
    assert history.series() == Series((4,), (3,), (2,), (1,))
    history.add(gained(7), now=2.0 * STEP_S)
    history.add(gained(0), now=3.0 * STEP_S)
    assert history.series().primary == (4, 20, 28)


def test_what_was_gained_over_several_steps_is_spread() -> None:
    history = History(now=0.0)
    history.add(gained(1), now=1.0 * STEP_S)
    history.add(gained(7), now=4.0 * STEP_S)
    history.add(gained(0), now=5.0 * STEP_S)
    assert history.series().mirrored_failed == (0, 1, 2, 2, 3)


def test_a_history_is_half_an_hour_at_most() -> None:
    history = History(now=0.0)
    for step in range(2 * MOST_STEPS):
        history.add(gained(step), now=float(step * STEP_S))
    assert STEP_S * MOST_STEPS == 1800
    assert history.series().mirrored_failed == (*range(MOST_STEPS, 2 * MOST_STEPS - 1),)
    history.add(gained(0), now=1e6)
    assert set(history.series().primary) == {0}
