"""A NACK that arrives late, or of something that nothing else can settle (rule 37): what the client has is
told from all that it was sent. Any history of it is in `test_model_clients`."""

from tests.unit.xds.peer import (
    DeltaPeer,
    Peer,
    SotwPeer,
    cluster,
    endpoints,
    listener,
    pushed,
    route,
    says,
    snapshot,
)
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE


def test_what_is_in_doubt_waits_for_nothing_that_the_client_does_not_ask_for(either: Peer) -> None:
    either.open(ROUTE, names=["r"])
    either.nack(pushed(either, snapshot(route("r"))))
    assert either.settle(snapshot(route("r", rev=2), route("other"))) == [("RDS", ["r"], [])]


def test_what_a_later_response_brought_is_not_sent_again(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.settle(snapshot(cluster("a", 1)))
    first = pushed(delta, snapshot(cluster("a", 2)))
    second = pushed(delta, snapshot(cluster("a", 1), cluster("b")))
    third = pushed(delta, snapshot(cluster("a", 3), cluster("b", 2)))
    delta.nack(first)
    delta.nack(second)
    delta.ack(third)
    assert delta.settle(snapshot(cluster("a", 3), cluster("b", 2))) == []


def test_what_a_later_response_brought_is_taken_away(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.open(ENDPOINT, names=["a"])
    both = snapshot(cluster("a"), endpoints("a"))
    only = snapshot(endpoints("a"))
    delta.settle(Snapshot())
    rejected = pushed(delta, only)
    later = [pushed(delta, both), pushed(delta, both)]
    assert says(later[1]) == ("EDS", ["a"], [])
    gone = pushed(delta, Snapshot())
    assert says(gone) == ("CDS", [], ["a"])
    delta.nack(rejected)
    for each in (*later, gone):
        delta.ack(each)
    assert ("EDS", [], ["a"]) in delta.settle(Snapshot())


def test_a_cluster_that_comes_back_gets_its_endpoints_though_they_are_in_doubt(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.open(ENDPOINT, names=["a", "b"])
    delta.ack(pushed(delta, Snapshot()))
    rejected = pushed(delta, snapshot(endpoints("a")))
    accepted = pushed(delta, snapshot(endpoints("a", 2)))
    delta.open(LISTENER)
    pushed(delta, snapshot(endpoints("a", 2)))
    delta.nack(rejected)
    assert delta.next(Snapshot()) is None  # a listener that is not acknowledged may need it
    back = snapshot(cluster("a"), endpoints("a", 2), endpoints("b"))
    brought = [pushed(delta, back), pushed(delta, back)]
    assert [says(each) for each in brought] == [("CDS", ["a"], []), ("EDS", ["b"], [])]
    for each in (accepted, *brought):
        delta.ack(each)
    assert delta.settle(back) == [("EDS", ["a"], [])]


def test_an_accepted_removal_leaves_no_doubt(delta: DeltaPeer) -> None:
    delta.open(LISTENER)
    rejected = pushed(delta, snapshot(listener("l", "r")))
    gone = pushed(delta, Snapshot())
    assert says(gone) == ("LDS", [], ["l"])
    delta.nack(rejected)
    delta.ack(gone)
    assert delta.settle(Snapshot()) == []


def test_accepted_full_state_leaves_no_doubt(sotw: SotwPeer) -> None:
    sotw.open(LISTENER)
    sotw.nack(pushed(sotw, snapshot(listener("l", "r"))))
    assert sotw.settle(snapshot(listener("m", "r"))) == [("LDS", ["m"], [])]


def test_full_state_that_is_on_its_way_says_what_is_gone(sotw: SotwPeer) -> None:
    sotw.open(LISTENER)
    sotw.nack(pushed(sotw, snapshot(listener("l", "r"))))
    assert sotw.flow(snapshot(listener("m", "r"))) == [("LDS", ["m"], [])]


def test_rejected_full_state_does_not_restore_what_it_left_out(sotw: SotwPeer) -> None:
    """Envoy takes away what is left out, whatever else it rejects."""
    sotw.open(CLUSTER)
    sotw.settle(snapshot(cluster("a")))
    moved = snapshot(cluster("b"))
    first, second = pushed(sotw, moved), pushed(sotw, moved)
    assert [says(first), says(second)] == [("CDS", ["b", "a"], []), ("CDS", ["b"], [])]
    sotw.ack(first)
    sotw.nack(second)
    assert sotw.settle(moved.updated([cluster("c")])) == [("CDS", ["b", "c"], [])]


def test_full_state_takes_away_what_only_a_later_response_brought(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    rejected = pushed(sotw, snapshot(cluster("a")))
    moved = snapshot(cluster("b"))
    later = pushed(sotw, moved)
    assert says(later) == ("CDS", ["b", "a"], [])  # in full state it goes after what is new
    sotw.nack(rejected)
    sotw.ack(later)
    assert sotw.settle(moved) == [("CDS", ["b"], [])]


def test_what_was_rejected_by_itself_is_why_another_was_rejected_with_it(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.settle(snapshot(cluster("a"), cluster("b")))
    alone = pushed(delta, snapshot(cluster("a", 2), cluster("b")))
    delta.subscribe(CLUSTER, "a")
    current = snapshot(cluster("a", 2), cluster("b", 2))
    together = pushed(delta, current)
    assert says(together) == ("CDS", ["a", "b"], [])
    delta.nack(alone)
    delta.nack(together)
    assert ("CDS", ["b"], []) in delta.settle(current)
