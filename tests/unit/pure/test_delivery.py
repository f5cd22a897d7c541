"""From seeing a change to the last acknowledgement, in one server and in several."""

from itertools import product

import pytest

from xds_server.ads.convergence import Converged
from xds_server.fleet.delivery import Delivery
from xds_server.serving.together import Together


def took(delivery: Delivery) -> tuple[int, float]:
    """How many were measured, and their sum."""
    found = delivery.view(0.0).took
    return sum(found.counts), found.total_s


def test_what_was_answered_is_measured_from_when_it_was_seen() -> None:
    delivery = Delivery()
    delivery.committed(1, seen=10.0)
    assert delivery.view(now=12.0).waiting_s == 2.0
    delivery.converged(1, answered=True, at=13.0)
    assert took(delivery) == (1, 3.0)
    assert delivery.view(now=20.0).waiting_s == 0.0


def test_what_concerned_nobody_is_not_measured() -> None:
    delivery = Delivery()
    delivery.committed(1, seen=10.0)
    delivery.converged(1, answered=False, at=13.0)
    assert took(delivery) == (0, 0.0)
    assert delivery.view(now=20.0).waiting_s == 0.0


def test_a_commit_has_those_before_it_in_it() -> None:
    delivery = Delivery()
    for generation, seen in ((2, 10.0), (3, 11.0), (4, 12.0)):
        delivery.committed(generation, seen=seen)
    delivery.converged(1, answered=True, at=12.0)
    assert took(delivery) == (0, 0.0)
    delivery.converged(3, answered=True, at=13.0)
    assert took(delivery) == (2, 5.0)
    assert delivery.view(now=14.0).waiting_s == 2.0


def told(*said: tuple[str, int, bool], servers: str = "ab") -> list[Converged]:
    """What `Together` says of servers that say, one second after the other, what they have."""
    found: list[Converged] = []
    together = Together(found.append)
    for server in servers:
        together.join(server, 0, at=0.0)
    for at, (server, generation, answered) in enumerate(said, start=1):
        together.note(server, Converged(generation, answered, float(at)))
    return found


def test_a_commit_has_converged_when_it_has_with_the_last_server() -> None:
    assert told(("a", 1, True), ("b", 1, False)) == [Converged(1, answered=True, at=2.0)]
    assert told(("a", 1, False), ("b", 1, False)) == [Converged(1, answered=False, at=2.0)]
    assert told(("a", 1, True), ("a", 2, False)) == []


@pytest.mark.parametrize(("first", "second"), [*product([False, True], repeat=2)])
def test_a_server_that_is_ahead_says_nothing_of_what_the_other_has_yet(first: bool, second: bool) -> None:
    said = told(("a", 1, first), ("a", 2, second), ("b", 1, False), ("b", 2, False))
    assert said == [Converged(1, first, 3.0), Converged(2, second, 4.0)]


def test_who_skips_a_commit_answers_for_it_with_the_next() -> None:
    said = told(("a", 3, True), ("b", 1, False), ("b", 3, False))
    assert said == [Converged(1, answered=True, at=2.0), Converged(3, answered=True, at=3.0)]


def test_servers_come_and_go() -> None:
    found: list[Converged] = []
    together = Together(found.append)
    for server in "ab":
        together.join(server, 0, at=0.0)
    together.note("a", Converged(1, answered=True, at=1.0))
    together.leave("b", at=2.0)
    assert found == [Converged(1, answered=True, at=2.0)]
    together.leave("a", at=3.0)
    assert len(found) == 1
    # Nobody was there for the second one; who comes has no stream, and nothing to catch up with.
    together.join("c", 2, at=4.0)
    assert found[1:] == [Converged(2, answered=False, at=4.0)]
