"""What a stream's subscription costs and when it has to be looked at, beyond the lines of the protocol."""

import pytest

from tests.unit.xds.peer import (
    STREAM,
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
from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import TypeUrl
from xds_server.xds import subscription
from xds_server.xds.stream_events import RoutesSubscribed, Subscribed
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

LONG = tuple(f"staging/a-service-with-a-long-name-{number}/80" for number in range(4))


def test_a_mere_acknowledgement_is_no_reason_to_look_again(either: Peer) -> None:
    current = snapshot(cluster("a"), endpoints("a"))
    either.open(CLUSTER, ENDPOINT, names=["a"])
    assert either.machine.may_send
    responses = [either.next(current), either.next(current)]
    assert either.next(current) is None
    assert not either.machine.may_send
    for response in responses:
        assert response is not None
        either.ack(response)
    assert not either.machine.may_send
    either.subscribe(ENDPOINT, "b")
    assert either.machine.may_send


def test_the_acknowledgement_that_removals_wait_for_is_one(either: Peer) -> None:
    current = snapshot(cluster("a"), cluster("b"), listener("l", "r"), route("r", "a", "b"))
    either.open(CLUSTER, LISTENER, ROUTE, names=["r"])
    either.settle(current)
    current = current.updated([route("r", "a")], [cluster("b").key])
    response = either.next(current)
    assert says(response) == ("RDS", ["r"], [])
    assert either.next(current) is None
    assert response is not None
    either.ack(response)
    assert either.machine.may_send
    assert either.flow(current)[0].type == "CDS"


def test_what_is_watched_is_known(either: Peer) -> None:
    either.open(CLUSTER, ENDPOINT, names=["a", "b"])
    machine = either.machine
    assert machine.watched(CLUSTER) is None
    watched = machine.watched(ENDPOINT)
    assert watched is not None
    assert set(watched.members) == {"a", "b"}
    assert machine.serves(ENDPOINT)
    assert not machine.serves(ROUTE)
    assert not machine.serves(TypeUrl("unknown"))


def test_a_rejected_resource_is_held_until_it_is_removed(delta: DeltaPeer) -> None:
    """While it is, what it may need is not taken: here the cluster that both know."""
    current = snapshot(cluster("a"), route("r", "a"))
    delta.open(CLUSTER, ROUTE, names=["r"])
    delta.settle(current)
    current = current.updated([route("r", "b"), cluster("b")], [cluster("a").key])
    clusters = delta.next(current)
    assert says(clusters) == ("CDS", ["b"], [])
    assert clusters is not None
    delta.ack(clusters)
    routes = delta.next(current)
    assert says(routes) == ("RDS", ["r"], [])
    assert routes is not None
    delta.nack(routes)
    assert delta.flow(current) == []
    current = current.updated([], [route("r").key])
    assert delta.settle(current) == [("RDS", [], ["r"]), ("CDS", [], ["a"])]


def test_a_rejected_resource_may_be_in_use_until_it_is_removed(delta: DeltaPeer) -> None:
    current = snapshot(cluster("a"), endpoints("a"), route("r", "a"))
    delta.open(CLUSTER, ENDPOINT, ROUTE, names=["a", "r"])
    rejected = delta.next(current)
    assert rejected is not None
    delta.nack(rejected)
    delta.settle(current)
    current = current.updated([route("r")], [cluster("a").key, endpoints("a").key])
    routes = delta.next(current)
    assert says(routes) == ("RDS", ["r"], [])
    assert delta.flow(current) == []
    assert routes is not None
    delta.ack(routes)
    assert delta.settle(current) == [("CDS", [], ["a"]), ("EDS", [], ["a"])]


def test_streams_with_the_same_names_share_them(either: Peer) -> None:
    other = type(either)()
    for peer in (either, other):
        peer.open(ENDPOINT, names=["a", "b"])
        peer.subscribe(ENDPOINT, "c")
        peer.unsubscribe(ENDPOINT, "a")
    assert either.machine.watched(ENDPOINT) is other.machine.watched(ENDPOINT)


def test_a_repeated_list_of_names_changes_nothing(sotw: SotwPeer) -> None:
    current = snapshot(*(endpoints(name) for name in LONG))
    sotw.open(ENDPOINT, names=LONG)
    [said] = sotw.settle(current)
    assert said.resources == sorted(LONG)
    sotw.request(ENDPOINT)
    assert sotw.flow(current) == []


def test_everything_may_be_asked_for_before_the_names_were_answered(delta: DeltaPeer) -> None:
    delta.subscribe(CLUSTER, "a", "none")
    delta.subscribe(CLUSTER, "*")
    delta.subscribe(CLUSTER, "*")
    current = snapshot(cluster("a"), cluster("b"))
    assert delta.settle(current) == [("CDS", ["a", "b"], ["none"])]


def test_everything_after_some_is_the_rest(delta: DeltaPeer) -> None:
    current = snapshot(cluster("a"), cluster("b"))
    delta.subscribe(CLUSTER, "a")
    delta.settle(current)
    delta.subscribe(CLUSTER, "*")
    assert delta.settle(current) == [("CDS", ["b"], [])]


def test_everything_may_be_asked_for_by_its_name_alone(either: Peer) -> None:
    either.subscribe(CLUSTER, "*")
    assert either.settle(snapshot(cluster("a"))) == [("CDS", ["a"], [])]


def test_assignments_that_are_all_to_be_answered_are_not_listed_again(either: Peer) -> None:
    """Rule 13 and rule 14 at once: a reconnected stream is sent its clusters and all it named, once."""
    either.open(CLUSTER, ENDPOINT, names=["a", "b"])
    current = snapshot(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"))
    assert either.settle(current) == [("CDS", ["a", "b"], []), ("EDS", ["a", "b"], [])]


def test_one_stream_may_not_have_any_number_of_names(either: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "MAX_NAMES", 3)
    either.open(ENDPOINT, names=["a", "b", "c"])
    with pytest.raises(RequestLimitError, match="more than 3 names"):
        either.subscribe(ENDPOINT, "d")


def test_a_rejected_and_unsubscribed_resource_is_forgotten(either: Peer) -> None:
    """A stream that goes on to ask for other names and to reject them must not be remembered for all."""
    current = snapshot(*(endpoints(name) for name in ("a", "b", "c")))
    either.open(ENDPOINT, names=["a"])
    for name, following in (("a", "b"), ("b", "c")):
        response = either.next(current)
        assert response is not None
        either.nack(response)
        assert either.machine._subscriptions[ENDPOINT].offers.held_before.keys() == {name}
        either.subscribe(ENDPOINT, following)
        either.unsubscribe(ENDPOINT, name)
        assert either.machine._subscriptions[ENDPOINT].offers.held_before == {}


def test_what_routes_are_asked_for_is_an_event(either: Peer) -> None:
    assert RoutesSubscribed(stream=STREAM, names=("a",)) in either.subscribe(ROUTE, "a")
    asked = either.subscribe(ROUTE, "b")
    assert asked == [RoutesSubscribed(stream=STREAM, names=("a", "b"))]
    accepted = either.ack(pushed(either, snapshot(route("a"), route("b"))))
    assert RoutesSubscribed not in {type(event) for event in accepted}
    assert either.unsubscribe(ROUTE, "a")[-1] == RoutesSubscribed(stream=STREAM, names=("b",))
    # What a client makes up in numbers is not kept.
    assert either.subscribe(ROUTE, *map(str, range(16)))[-1] == RoutesSubscribed(stream=STREAM, names=())
    assert either.subscribe(ENDPOINT, "a") == [Subscribed(stream=STREAM, type_url=ENDPOINT)]
