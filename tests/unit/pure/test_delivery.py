"""From seeing a change to the last acknowledgement."""

from xds_server.xds.delivery import Delivery


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


def test_a_commit_that_concerned_no_stream_is_not_measured() -> None:
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
