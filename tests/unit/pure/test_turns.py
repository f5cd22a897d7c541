"""Turns: whose Services take long waits for itself, and nobody waits for it."""

import pytest

from xds_server.core.turns import Turns


def test_a_namespace_that_spends_little_never_waits() -> None:
    turns = Turns()
    for second in range(1000):
        assert turns.wait("a", second) == 0
        turns.charge("a", 0.15, second)


def test_who_spends_more_than_a_burst_waits_until_a_fifth_of_the_time_has_paid_it_back() -> None:
    turns = Turns()
    turns.charge("a", 0.7, at=10.0)
    assert turns.wait("a", 10.0) == pytest.approx(1.0)
    assert turns.wait("b", 10.0) == 0
    assert turns.wait("a", 10.5) == pytest.approx(0.5)
    assert turns.wait("a", 11.1) == 0
    turns.charge("a", 0.1, at=11.0)
    assert turns.wait("a", 11.0) == pytest.approx(0.5)
    assert turns.wait("a", 20.0) == 0
