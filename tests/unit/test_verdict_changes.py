"""When a verdict is reported."""

from itertools import pairwise

from tests.support.records import CANARY, record, shadow
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.judgement import Verdict
from xds_server.server.verdict_changes import VerdictChanges
from xds_server.server.verdict_report import ShadowVerdict, verdict_on

WORSE = verdict_on(shadow(), record(400, 20))
NO_WORSE = verdict_on(shadow(), record(20_000))
EARLY = verdict_on(shadow(), record(10))
BLIND = verdict_on(shadow(), record(2_000, arrived=0.5))


def reports(*steps: tuple[float, ShadowVerdict]) -> list[tuple[float, Verdict]]:
    """When which verdict is reported, if each of these is the verdict from a time on; 10 s between looks."""
    changes = VerdictChanges()
    found: list[tuple[float, Verdict]] = []
    for (start, verdict), (end, _) in zip(steps, [*steps[1:], (steps[-1][0] + 100, EARLY)], strict=True):
        for now in range(int(start), int(end), 10):
            found += [(now, each.verdict) for each in changes.note([verdict], now)]
    return found


def test_a_verdict_is_reported_once() -> None:
    assert reports((0, EARLY), (100, NO_WORSE)) == [(100, Verdict.NO_WORSE)]
    assert reports((0, NO_WORSE), (300, EARLY), (600, NO_WORSE)) == [(0, Verdict.NO_WORSE)]
    assert reports((0, NO_WORSE), (300, WORSE)) == [(0, Verdict.NO_WORSE), (300, Verdict.WORSE)]


def test_blindness_has_to_last() -> None:
    assert reports((0, NO_WORSE), (300, BLIND), (350, NO_WORSE)) == [(0, Verdict.NO_WORSE)]
    assert reports((0, EARLY), (300, BLIND)) == [(360, Verdict.BLIND)]


def test_the_more_often_it_changes_the_less_often_it_is_reported() -> None:
    steps = [(70 * number, (NO_WORSE, WORSE)[number % 2]) for number in range(100)]
    times = [at for at, _ in reports(*steps)]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:2] == [70, 120]
    assert pauses == sorted(pauses)
    assert len(times) < 10


def test_after_a_long_time_it_is_reported_at_once_again() -> None:
    flapping = [(70 * number, (NO_WORSE, WORSE)[number % 2]) for number in range(10)]
    found = reports(*flapping, (700, WORSE), (5_000, NO_WORSE), (5_120, WORSE))
    assert found[-2:] == [(5_000, Verdict.NO_WORSE), (5_120, Verdict.WORSE)]


def test_a_new_template_is_reported_anew() -> None:
    other = verdict_on(shadow(), record(20_000, template="b"))
    assert reports((0, NO_WORSE), (300, other)) == [(0, Verdict.NO_WORSE), (300, Verdict.NO_WORSE)]


def test_each_shadow_is_on_its_own_and_forgotten_when_it_is_gone() -> None:
    name = NamespacedName("staging", "other")
    other = verdict_on(shadow(name), record(20_000, canary=name))
    changes = VerdictChanges()
    assert changes.note([NO_WORSE, other], 0.0) == [NO_WORSE, other]
    assert changes.note([other], 10.0) == []
    assert changes.note([NO_WORSE, other], 20.0) == [NO_WORSE]
    assert CANARY in changes._shadows
