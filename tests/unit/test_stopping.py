"""Shadows that were stopped, until no Envoy mirrors to them."""

from typing import Any

import pytest

from tests.unit.xds.peer import DeltaPeer, Peer, host, pushed, snapshot
from xds_server.base.ids import NamespacedName, NodeId, StreamId
from xds_server.core.plan import ShadowStatus, State
from xds_server.server.stopping import LATE_S, PATIENCE_S, Stopped, Stops, lost_envoys
from xds_server.server.watched import Watched, WatchedPort
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.servicer import Client
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import ROUTE, VIRTUAL_HOST

CANARY = NamespacedName("staging", "web-canary")
WATCHED = Watched(
    canary=CANARY, service="web", ports=(WatchedPort("web", "shadow", ("r/web",)),), share=1.0, capped=False
)
BEFORE = ShadowStatus("staging", "web-canary", "web", State.ACTIVE, "Mirroring", "Well.")
ROUTES = Resource(ResourceKey(ROUTE, "r"), b"")
MIRRORED, UNMIRRORED = (snapshot(ROUTES, host("r/web", "web", *more)) for more in (("shadow",), ()))


class Envoy:
    """A scripted Envoy that has acknowledged `current`."""

    def __init__(self, stream: int, node: str, current: Snapshot | None = MIRRORED) -> None:
        self.peer: Peer = DeltaPeer()
        self.peer.subscribe(ROUTE, "r")
        self.peer.subscribe(VIRTUAL_HOST)
        if current is not None:
            self.peer.settle(current)
        self.client = Client(StreamId(stream), NodeId(node), 0.0, self.peer.machine.subscriptions)


def begun(*envoys: Envoy) -> Stops:
    stops = Stops()
    stops.begin(WATCHED, BEFORE, [each.client for each in envoys], now=0.0)
    return stops


def message(stops: Stops, now: float) -> str:
    found = stops.get(CANARY)
    assert found is not None
    return found.message(now)


def test_without_an_envoy_that_mirrors_nothing_is_awaited() -> None:
    assert not begun()
    assert not begun(Envoy(1, "a", UNMIRRORED))


def test_it_has_stopped_when_every_envoy_has_acknowledged() -> None:
    envoys = Envoy(1, "a"), Envoy(2, "b")
    stops = begun(*envoys)
    assert stops.answered(envoys[0].client) == []  # it has acknowledged something else
    for envoy, expected in zip(envoys, ([], [Stopped(CANARY, "web")]), strict=True):
        response = pushed(envoy.peer, UNMIRRORED)
        assert stops.answered(envoy.client) == []
        envoy.peer.ack(response)
        assert stops.answered(envoy.client) == expected
    assert not stops


def test_an_envoy_that_rejects_the_change_is_awaited() -> None:
    envoy = Envoy(1, "a")
    stops = begun(envoy)
    envoy.peer.nack(pushed(envoy.peer, UNMIRRORED))
    assert stops.answered(envoy.client) == []
    expected = "Mirroring has stopped at 0 of 1 Envoys; Envoy a has not acknowledged it for 12 s."
    assert message(stops, 12.0) == expected


def test_an_envoy_that_disconnects_is_awaited_until_it_has_acknowledged_on_another_stream() -> None:
    old, new = Envoy(1, "a"), Envoy(2, "a", None)
    stops = begun(old)
    stops.closed(old.client.stream, now=1.0)
    assert message(stops, 2.0).endswith("Envoy a has disconnected without acknowledging it.")
    assert stops.answered(new.client) == []  # it may still have what it had
    new.peer.settle(UNMIRRORED)
    assert stops.answered(new.client) == [Stopped(CANARY, "web")]


def test_an_envoy_that_does_not_connect_again_is_named_and_not_awaited_for_ever() -> None:
    old, other = Envoy(1, "a"), Envoy(2, "b")
    stops = begun(old, other)
    stops.closed(old.client.stream, now=1.0)
    assert stops.wait(PATIENCE_S + 2)[0] == []  # the other is connected and mirrors
    assert message(stops, 3.0) == (
        "Mirroring has stopped at 0 of 2 Envoys; Envoy b has not acknowledged it for 3 s, and Envoy a has"
        " disconnected without acknowledging it."
    )
    other.peer.settle(UNMIRRORED)
    assert stops.answered(other.client) == []
    assert stops.wait(PATIENCE_S)[0] == []
    assert stops.wait(PATIENCE_S + 2)[0] == [Stopped(CANARY, "web", (NodeId("a"),))]
    assert "Envoy a has disconnected before" in lost_envoys([NodeId("a")])
    assert not stops


def test_a_late_one_is_reported_once() -> None:
    stops = begun(Envoy(1, "a"))
    found = [[late.watched.canary for late in stops.wait(now)[1]] for now in (LATE_S, LATE_S + 1, LATE_S + 2)]
    assert found == [[], [CANARY], []]


def test_what_is_mirrored_again_is_not_stopping() -> None:
    stops = begun(Envoy(1, "a"))
    stops.cancel(CANARY)
    assert (stops.get(CANARY), stops.all()) == (None, [])


@pytest.mark.parametrize("unrelated", [Envoy(9, "z", UNMIRRORED)])
def test_others_do_not_matter(unrelated: Any) -> None:
    stops = begun(Envoy(1, "a"))
    stops.closed(unrelated.client.stream, now=0.0)
    assert stops.answered(unrelated.client) == []
    assert [each.streams for _, each in stops.all()] == [{StreamId(1): NodeId("a")}]
