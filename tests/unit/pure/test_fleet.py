"""What is known of every Envoy, event by event."""

from dataclasses import replace

import pytest

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version
from xds_server.base.latency import BOUNDS_S
from xds_server.xds.fleet import Connection, Fleet, Nack, RouteSubscription, StandingNack, Sync, TypeState
from xds_server.xds.stream_events import (
    Acked,
    Cause,
    Event,
    Nacked,
    Node,
    Resumed,
    RoutesSubscribed,
    Sent,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Subscribed,
    Variant,
    Withheld,
)
from xds_server.xds.types import CLUSTER, LISTENER, ROUTE, SHORT_NAMES

ONE, TWO, THREE = StreamId(1), StreamId(2), StreamId(3)
ENVOY = Node(id=NodeId("envoy-1"))


def asked(type_url: TypeUrl = CLUSTER) -> Subscribed:
    return Subscribed(stream=ONE, type_url=type_url)


def opened(stream: StreamId = ONE, node: Node = ENVOY) -> StreamOpened:
    return StreamOpened(stream=stream, node=node, variant=Variant.DELTA, peer="10.0.0.9:4711")


def sent(version: str, nonce: str, *, size: int = 10, type_url: TypeUrl = CLUSTER) -> Sent:
    return Sent(
        stream=ONE,
        type_url=type_url,
        version=Version(version),
        nonce=Nonce(nonce),
        resources=1,
        removed=0,
        size=size,
    )


def acked_but_rejecting(version: str, nonce: str) -> Acked:
    return replace(acked(version, nonce), rejecting=True)


def resumed(version: str) -> Resumed:
    return Resumed(stream=ONE, type_url=CLUSTER, version=Version(version))


def acked(version: str, nonce: str) -> Acked:
    return Acked(stream=ONE, type_url=CLUSTER, version=Version(version), nonce=Nonce(nonce))


def nacked(version: str, nonce: str, message: str = "no") -> Nacked:
    return Nacked(stream=ONE, type_url=CLUSTER, version=Version(version), nonce=Nonce(nonce), message=message)


def after(*events: Event) -> Fleet:
    fleet = Fleet()
    for now, event in enumerate(events):
        fleet.apply(event, now=float(now))
    return fleet


def state(sent: str, nonce: str, sync: Sync, *, pushes: int = 1, **rest: object) -> TypeState:
    """What it is, but for when."""
    return TypeState(Version(sent), Nonce(nonce), sync, pushes=pushes, **rest)  # type: ignore[arg-type]


NO = Nack(Version("2"), "no", 2.0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], None),
        ([sent("1", "a")], state("1", "a", Sync.STALE, size=10)),
        ([sent("1", "a"), acked("1", "a")], state("1", "a", Sync.SYNCED, acked="1", size=10)),
        (
            [sent("1", "a"), acked("1", "a"), sent("2", "b", size=5)],
            state("2", "b", Sync.STALE, acked="1", pushes=2, size=15),
        ),
        # The answer to an earlier response says nothing of the later one.
        (
            [sent("1", "a"), sent("2", "b"), acked("1", "a")],
            state("2", "b", Sync.STALE, acked="1", pushes=2, size=20),
        ),
        ([sent("2", "a"), nacked("2", "a")], state("2", "a", Sync.ERROR, nack=NO, size=10)),
        (
            [sent("2", "a"), nacked("2", "a"), sent("3", "b")],
            state("3", "b", Sync.STALE, nack=NO, pushes=2, size=20),
        ),
        # What was accepted is another resource of the type; the rejected one still is.
        (
            [sent("2", "a"), nacked("2", "a"), sent("3", "b"), acked_but_rejecting("3", "b")],
            state("3", "b", Sync.ERROR, acked="3", nack=NO, pushes=2, size=20),
        ),
        # The rejection is kept for people to read; that it is over is what `sync` says.
        (
            [sent("2", "a"), nacked("2", "a"), sent("3", "b"), acked("3", "b")],
            state("3", "b", Sync.SYNCED, acked="3", nack=NO, pushes=2, size=20),
        ),
        (
            [sent("1", "z"), sent("2", "a"), nacked("1", "z")],
            state("2", "a", Sync.STALE, nack=Nack(Version("1"), "no", 3.0), pushes=2, size=20),
        ),
        # What a client holds from an earlier stream counts as acknowledged, without a push.
        ([resumed("1")], state("1", "", Sync.SYNCED, acked="1", pushes=0)),
        (
            [resumed("1"), sent("2", "a")],
            state("2", "a", Sync.STALE, acked="1", pushes=1, size=10),
        ),
        # It asked, and there is nothing to send, or not yet.
        ([asked()], state("", "", Sync.NOT_SENT, pushes=0)),
        ([asked(), sent("1", "a")], state("1", "a", Sync.STALE, size=10)),
        ([asked(), resumed("1")], state("1", "", Sync.SYNCED, acked="1", pushes=0)),
        ([sent("1", "a"), asked()], state("1", "a", Sync.STALE, size=10)),
        ([acked("1", "a")], None),
        ([nacked("1", "a")], None),
    ],
)
def test_the_state_of_one_type(events: list[Event], expected: TypeState | None) -> None:
    (connection,) = after(opened(), *events).connections()
    found = connection.types.get(CLUSTER)
    assert (found and found._replace(since=0.0)) == expected
    assert set(connection.types) <= {CLUSTER}


def test_types_are_recorded_separately() -> None:
    (connection,) = after(
        opened(), sent("1", "a"), sent("2", "b", type_url=LISTENER), acked("1", "a")
    ).connections()
    assert {url: (s.sent, s.sync) for url, s in connection.types.items()} == {
        CLUSTER: ("1", Sync.SYNCED),
        LISTENER: ("2", Sync.STALE),
    }


@pytest.mark.parametrize(
    ("types", "routes_only"),
    [([], False), ([CLUSTER], False), ([CLUSTER, ROUTE], True), ([CLUSTER, LISTENER, ROUTE], False)],
)
def test_who_asks_for_routes_without_listeners_has_its_own(types: list[TypeUrl], routes_only: bool) -> None:
    (connection,) = after(opened(), *map(asked, types)).connections()
    assert connection.routes_only is routes_only


def test_the_route_configurations_that_a_node_subscribes_to_are_known() -> None:
    assert after(opened()).route_subscriptions() == [RouteSubscription(ENVOY.id, (), 0.0)]
    first, then = (
        RoutesSubscribed(stream=ONE, names=names) for names in (("a",), ("b", "c\x1b" + "d" * 200))
    )
    fleet = after(opened(), first, then)
    [subscription] = fleet.route_subscriptions()
    short, long = subscription.routes
    assert subscription.since == 2.0
    assert short == "b"
    assert long.startswith("c ddd")
    assert len(long) < 110


def test_a_connection_says_who_and_since_when() -> None:
    assert after(opened()).connections() == [
        Connection(ONE, ENVOY, Variant.DELTA, "10.0.0.9:4711", since=0.0, types={})
    ]


def test_connections_are_in_the_order_of_nodes_and_then_of_opening() -> None:
    other = Node(id=NodeId("envoy-0"))
    fleet = after(opened(TWO), opened(ONE), opened(THREE, other))
    assert [(c.node.id, c.stream) for c in fleet.connections()] == [
        ("envoy-0", THREE),
        ("envoy-1", ONE),
        ("envoy-1", TWO),
    ]


def test_a_closed_stream_is_forgotten_and_its_late_events_are_ignored() -> None:
    fleet = after(
        opened(), opened(TWO), sent("1", "a"), StreamClosed(stream=ONE), acked("1", "a"), sent("2", "b")
    )
    assert [c.stream for c in fleet.connections()] == [TWO]
    fleet.apply(StreamClosed(stream=ONE), now=9.0)
    fleet.apply(opened(TWO), now=9.0)  # it is open
    assert [c.stream for c in fleet.connections()] == [TWO]


def test_a_long_nack_is_truncated() -> None:
    (connection,) = after(opened(), sent("1", "a"), nacked("1", "a", "x" * 5000)).connections()
    rejection = connection.types[CLUSTER].nack
    assert rejection
    assert rejection.message == "x" * 1999 + "…"


def test_what_was_handed_out_does_not_change() -> None:
    fleet = after(opened(), sent("1", "a"))
    (before,) = fleet.connections()
    fleet.apply(acked("1", "a"), now=5.0)
    assert before.types[CLUSTER].sync is Sync.STALE


@pytest.mark.parametrize(
    ("events", "since"),
    [
        ([asked()], 1.0),
        ([asked(), sent("1", "a")], 2.0),
        ([asked(), sent("1", "a"), acked("1", "a")], 2.0),
        ([asked(), sent("1", "a"), acked("1", "a"), sent("2", "b")], 4.0),
        ([asked(), resumed("1")], 2.0),
    ],
)
def test_since_is_when_the_last_response_was_sent(events: list[Event], since: float) -> None:
    (connection,) = after(opened(), *events).connections()
    assert connection.types[CLUSTER].since == since


def test_a_type_that_is_not_served_is_not_kept() -> None:
    fleet = after(opened(), asked(TypeUrl("type.googleapis.com/made.Up")))
    assert fleet.connections()[0].types == {}
    assert set(fleet.traffic().types) == set(SHORT_NAMES)


def test_a_nack_stands_until_something_else_is_accepted() -> None:
    fleet = after(opened(), sent("1", "a"), nacked("1", "a", "no such \x1b[31mfilter\n"))
    # What would steer a terminal is gone.
    assert fleet.nacks() == [StandingNack(ENVOY.id, CLUSTER, Nack(Version("1"), "no such [31mfilter", 2.0))]
    fleet.apply(sent("2", "b"), now=3.0)
    assert fleet.nacks() == []


def test_a_rejected_client_counts_and_is_not_listed() -> None:
    fleet = after(
        StreamDenied(stream=ONE, peer="ipv4:10.0.0.1:5", reason="it is not listed", cause=Cause.DENIED)
    )
    assert fleet.traffic().ended[Cause.DENIED] == 1
    assert fleet.connections() == []


def test_counters_outlive_the_stream() -> None:
    fleet = after(
        opened(),
        opened(TWO),
        sent("1", "a"),
        acked("1", "a"),
        sent("2", "b", size=5),
        nacked("2", "b"),
        StreamClosed(stream=ONE, reason="it took nothing", cause=Cause.SLOW),
    )
    traffic = fleet.traffic()
    assert traffic.connected == {Variant.DELTA: 1, Variant.SOTW: 0}
    assert traffic.opened == {Variant.DELTA: 2, Variant.SOTW: 0}
    assert traffic.ended == {cause: int(cause is Cause.SLOW) for cause in Cause}
    clusters = traffic.types[CLUSTER]
    assert (clusters.pushes, clusters.size, clusters.acks, clusters.nacks) == (2, 15, 1, 1)
    assert traffic.types[LISTENER].pushes == 0
    before = replace(clusters)
    fleet.apply(opened(), now=8.0)
    fleet.apply(sent("3", "c"), now=9.0)
    assert clusters == before
    assert fleet.traffic().types[CLUSTER].pushes == 3


CLOSED = StreamClosed(stream=ONE)


@pytest.mark.parametrize(
    ("events", "unanswered", "rejecting"),
    [
        ([sent("1", "a"), sent("2", "b")], 2, 0),
        ([sent("1", "a"), sent("2", "b"), acked("1", "a")], 1, 0),
        # An answer settles what was sent before it.
        ([sent("1", "a"), sent("2", "b"), acked("2", "b")], 0, 0),
        ([sent("1", "a"), nacked("1", "a")], 0, 1),
        ([sent("1", "a"), nacked("1", "a"), nacked("1", "a")], 0, 1),
        # It rejects until it takes something: what is on its way proves nothing.
        ([sent("1", "a"), nacked("1", "a"), sent("2", "b")], 1, 1),
        ([sent("1", "a"), nacked("1", "a"), sent("2", "b"), acked_but_rejecting("2", "b")], 0, 1),
        ([sent("1", "a"), nacked("1", "a"), sent("2", "b"), acked("2", "b")], 0, 0),
        ([sent("1", "a"), nacked("1", "a"), resumed("2")], 0, 0),
        # The answer to an earlier response says nothing of the later one.
        ([sent("1", "a"), sent("2", "b"), nacked("1", "a")], 1, 0),
        # Who is gone owes nothing.
        ([sent("1", "a"), nacked("1", "a"), sent("2", "b"), CLOSED], 0, 0),
        ([sent("1", str(number)) for number in range(100)], 64, 0),
    ],
)
def test_unanswered_responses_and_rejecting_envoys_are_current(
    events: list[Event], unanswered: int, rejecting: int
) -> None:
    clusters = after(opened(), *events).traffic().types[CLUSTER]
    assert (clusters.unanswered, clusters.rejecting) == (unanswered, rejecting)


def latencies(fleet: Fleet) -> dict[float, int]:
    """How many were counted by the upper bound of the bucket, None of the empty ones."""
    counts = fleet.traffic().types[CLUSTER].latency.counts
    return {bound: count for bound, count in zip((*BOUNDS_S, float("inf")), counts, strict=True) if count}


def timed(*events: tuple[float, Event]) -> Fleet:
    fleet = after(opened())
    for now, event in events:
        fleet.apply(event, now=now)
    return fleet


@pytest.mark.parametrize(
    ("events", "counted", "total"),
    [
        ([(1.0, sent("1", "a")), (1.5, acked("1", "a"))], {0.5: 1}, 0.5),
        ([(1.0, sent("1", "a")), (1.0, acked("1", "a"))], {0.0005: 1}, 0.0),
        ([(0.0, sent("1", "a")), (60.0, acked("1", "a"))], {float("inf"): 1}, 60.0),
        # The clock was set back.
        ([(9.0, sent("1", "a")), (1.0, acked("1", "a"))], {0.0005: 1}, 0.0),
        # The answer to a response is measured from that one, though another was sent meanwhile.
        (
            [(0.0, sent("1", "a")), (2.0, sent("2", "b")), (4.0, acked("1", "a")), (4.0, acked("2", "b"))],
            {2.5: 1, 5.0: 1},
            6.0,
        ),
        # What an answer to a later response settles is not measured.
        (
            [(0.0, sent("1", "a")), (2.0, sent("2", "b")), (4.0, acked("2", "b")), (9.0, acked("1", "a"))],
            {2.5: 1},
            2.0,
        ),
        ([(0.0, sent("1", "a")), (1.0, nacked("1", "a"))], {}, 0.0),
    ],
)
def test_latency_is_from_sending_to_the_acknowledgement(
    events: list[tuple[float, Event]], counted: dict[float, int], total: float
) -> None:
    fleet = timed(*events)
    assert latencies(fleet) == counted
    assert fleet.traffic().types[CLUSTER].latency.total_s == total


def test_a_client_that_never_answers_costs_a_bounded_memory() -> None:
    fleet = timed(*((0.0, sent("1", str(number))) for number in range(100)))
    fleet.apply(acked("1", "0"), now=1.0)
    assert latencies(fleet) == {}
    fleet.apply(acked("1", "99"), now=1.0)
    assert latencies(fleet) == {1.0: 1}


def test_a_response_that_is_too_large_stands_as_a_nack() -> None:
    withheld = Withheld(stream=ONE, type_url=CLUSTER, version=Version("2"), size=70_000_000)
    fleet = after(opened(), sent("1", "a"), acked("1", "a"), withheld)
    [standing] = fleet.nacks()
    assert (
        standing.nack.message == "not sent: the response has 70,000,000 bytes, which is more than gRPC allows"
    )
    assert fleet.traffic().types[CLUSTER].rejecting == 1
