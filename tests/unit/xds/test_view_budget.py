"""Views that differ are counted, by address and for the process."""

import pytest

from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import StreamId
from xds_server.xds.view_budget import ViewBudget, ViewLimits

ONE, TWO, THREE, FOUR, FIVE = map(StreamId, range(1, 6))


def test_of_one_address_so_many_views_differ() -> None:
    budget: ViewBudget[str] = ViewBudget(ViewLimits(per_peer=2, total=10))
    budget.join(ONE, "peer", "a")
    budget.join(TWO, "peer", "b")
    budget.join(THREE, "peer", "a")
    with pytest.raises(RequestLimitError, match="this address's streams asks for more than 2 views"):
        budget.join(FOUR, "peer", "c")
    budget.join(FOUR, "another", "c")
    budget.leave(ONE)
    with pytest.raises(RequestLimitError):  # another stream has it
        budget.join(FIVE, "peer", "c")
    budget.leave(THREE)
    budget.join(FIVE, "peer", "c")


def test_of_all_together_too() -> None:
    budget: ViewBudget[str] = ViewBudget(ViewLimits(per_peer=2, total=3))
    for stream, peer, view in (
        (ONE, "one", "a"),
        (TWO, "one", "b"),
        (THREE, "two", "c"),
        (FOUR, "three", "c"),
    ):
        budget.join(stream, peer, view)
    with pytest.raises(RequestLimitError, match="all streams asks for more than 3 views"):
        budget.join(FIVE, "three", "d")
    budget.join(FIVE, "three", "a")


def test_nothing_is_kept_of_those_who_left() -> None:
    budget: ViewBudget[str] = ViewBudget(ViewLimits())
    budget.join(ONE, "one", "a")
    budget.join(TWO, "two", "a")
    for stream in (ONE, TWO, TWO, THREE):
        budget.leave(stream)
    assert (budget._streams, budget._of_peers, budget._all) == ({}, {}, {})
