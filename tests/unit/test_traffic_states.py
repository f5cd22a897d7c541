"""When the state of a shadow's requests is reported."""

from itertools import repeat

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.traffic import Traffic
from xds_server.server.traffic_states import TrafficStates

CANARY = NamespacedName("staging", "web-canary")
GOOD, BAD = Traffic.MIRRORING, Traffic.FAILING


def intervals(states: TrafficStates, state: Traffic) -> int:
    """After how many intervals the state is reported."""
    return next(count for count, _ in enumerate(repeat(None), start=1) if states.note(CANARY, state))


def test_a_state_is_reported_once_when_it_has_held() -> None:
    states = TrafficStates()
    assert [states.note(CANARY, GOOD) for _ in range(5)] == [False, True, False, False, False]


def test_a_state_of_one_interval_is_not_reported() -> None:
    states = TrafficStates()
    intervals(states, GOOD)
    assert not any(states.note(CANARY, state) for state in (BAD, GOOD, BAD, GOOD))


def test_a_state_that_changes_often_has_to_hold_for_longer() -> None:
    states = TrafficStates()
    found = [intervals(states, state) for state in (GOOD, BAD) * 5]
    assert found == [2, 2, 4, 8, 16, 32, 64, 128, 128, 128]


def test_a_state_that_holds_for_long_makes_the_next_report_early_again() -> None:
    states = TrafficStates()
    for state in (GOOD, BAD, GOOD):
        intervals(states, state)
    for _ in range(256):
        states.note(CANARY, GOOD)
    assert intervals(states, BAD) == 2


def test_what_ended_is_forgotten() -> None:
    states = TrafficStates()
    intervals(states, GOOD)
    states.forget(CANARY)
    assert intervals(states, GOOD) == 2
