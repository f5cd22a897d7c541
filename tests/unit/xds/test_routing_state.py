"""What a client routes to a cluster: surely, and possibly."""

import pytest

from tests.unit.xds.peer import DeltaPeer, Peer, SotwPeer, host, pushed, route, snapshot
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.routing_state import may_route_to, routes_to, same_for, unknown
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter

HOSTS = ("other/a", "r/a")
CANARY = "canary"
ROUTES = Resource(ResourceKey(ROUTE, "r"), b"", vhds=True)
FORMS = {
    "sotw": (SotwPeer, HostsMode.INLINE),
    "delta-inline": (DeltaPeer, HostsMode.INLINE),
    "delta-vhds": (DeltaPeer, HostsMode.VHDS),
}


class Envoy:
    """A client, and what it is served in its form."""

    def __init__(self, peer: Peer, hosts: HostsMode) -> None:
        self.peer = peer
        self._adapter = SnapshotAdapter(hosts)

    def open(self) -> None:
        self.peer.subscribe(ROUTE, "r")
        if self._adapter._hosts is HostsMode.VHDS:
            self.peer.subscribe(VIRTUAL_HOST)

    def served(self, *clusters: str) -> Snapshot:
        """What it is served if its virtual host refers to these clusters; none without any."""
        hosts = [host("r/a", *clusters)] if clusters else []
        return self._adapter.of(snapshot(ROUTES, host("r/z", "other"), *hosts))

    def answers(self) -> tuple[bool, bool, bool]:
        """Whether it routes to the canary: surely, possibly, unknown."""
        found = self.peer.machine.subscriptions
        return routes_to(found, HOSTS, CANARY), may_route_to(found, HOSTS, CANARY), unknown(found, HOSTS)


@pytest.fixture(params=FORMS)
def envoy(request: pytest.FixtureRequest) -> Envoy:
    kind, hosts = FORMS[request.param]
    return Envoy(kind(), hosts)


SURELY, POSSIBLY, NOT = (True, True, False), (False, True, False), (False, False, False)


def test_a_client_routes_to_a_cluster_from_its_first_ack_on(envoy: Envoy) -> None:
    assert envoy.answers() == (False, False, True)
    envoy.open()
    assert envoy.answers() == (False, False, True)
    current = envoy.served("stable", CANARY)
    while (response := envoy.peer.next(current)) is not None:
        assert envoy.answers()[0] is False
        assert envoy.answers()[2] is True
        envoy.peer.ack(response)
    assert envoy.answers() == SURELY


@pytest.mark.parametrize("then", [("stable",), ()], ids=["changed", "removed"])
def test_until_a_change_is_acknowledged_the_client_may_still_route_to_it(
    envoy: Envoy, then: tuple[str, ...]
) -> None:
    envoy.open()
    envoy.peer.settle(envoy.served("stable", CANARY))
    current = envoy.served(*then)
    assert envoy.answers() == SURELY  # the change is not sent yet
    response = pushed(envoy.peer, current)
    assert envoy.answers()[1] is True
    envoy.peer.ack(response)
    assert envoy.answers() == NOT


def test_a_client_that_rejects_the_change_still_routes_to_it(envoy: Envoy) -> None:
    envoy.open()
    envoy.peer.settle(envoy.served("stable", CANARY))
    envoy.peer.nack(pushed(envoy.peer, envoy.served("stable")))
    assert envoy.answers() == SURELY


def test_a_client_that_was_sent_it_may_route_to_it(envoy: Envoy) -> None:
    envoy.open()
    envoy.peer.settle(envoy.served("stable"))
    assert envoy.answers() == NOT
    response = pushed(envoy.peer, envoy.served("stable", CANARY))
    assert envoy.answers()[:2] == POSSIBLY[:2]
    envoy.peer.nack(response)
    assert envoy.answers() == NOT


def test_a_client_of_other_routes_does_not_route_to_it(envoy: Envoy) -> None:
    envoy.peer.subscribe(ROUTE, "elsewhere")
    envoy.peer.settle(envoy.served("stable", CANARY))
    assert envoy.answers()[:2] == NOT[:2]


def test_a_route_configuration_without_virtual_hosts_of_its_own_routes_to_nothing() -> None:
    peer = SotwPeer()
    peer.subscribe(ROUTE, "r")
    peer.settle(snapshot(route("r", CANARY)))
    assert not routes_to(peer.machine.subscriptions, HOSTS, CANARY)


def test_clients_in_the_same_state_are_known_to_be(envoy: Envoy) -> None:
    envoy.open()
    current = envoy.served("stable", CANARY)
    response = pushed(envoy.peer, current)
    assert same_for(envoy.peer.machine.subscriptions) is None
    envoy.peer.ack(response)
    envoy.peer.settle(current)
    other = Envoy(type(envoy.peer)(), HostsMode.INLINE)
    other._adapter = envoy._adapter
    other.open()
    other.peer.settle(current)
    same = same_for(envoy.peer.machine.subscriptions)
    assert same is not None
    assert same == same_for(other.peer.machine.subscriptions)
    other.peer.settle(envoy.served("stable"))
    assert same != same_for(other.peer.machine.subscriptions)
