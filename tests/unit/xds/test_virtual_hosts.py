"""Rule 25 in the machines: single virtual hosts, for incremental clients."""

from tests.unit.xds.peer import (
    DeltaPeer,
    Said,
    SotwPeer,
    cluster,
    host,
    listener,
    route,
    snapshot,
)
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter

PAIR = (host("r/a"), host("r/b"))


def test_rule_25_an_empty_first_subscription_is_a_wildcard(delta: DeltaPeer) -> None:
    delta.subscribe(VIRTUAL_HOST)
    assert delta.settle(snapshot(*PAIR)) == [Said("VHDS", ["r/a", "r/b"], [])]


def test_rule_25_one_changed_host_is_one_resource(delta: DeltaPeer) -> None:
    delta.subscribe(VIRTUAL_HOST)
    delta.settle(snapshot(*PAIR))
    assert delta.settle(snapshot(host("r/a"), host("r/b", rev=2))) == [Said("VHDS", ["r/b"], [])]
    added = snapshot(host("r/a"), host("r/b", rev=2), host("r/c"))
    assert delta.settle(added) == [Said("VHDS", ["r/c"], [])]


def test_rule_25_a_removal_names_the_route_configuration_and_the_host(delta: DeltaPeer) -> None:
    delta.subscribe(VIRTUAL_HOST)
    delta.settle(snapshot(*PAIR))
    assert delta.settle(snapshot(host("r/b"))) == [Said("VHDS", [], ["r/a"])]


def test_rule_25_a_host_comes_after_its_routes_and_its_clusters_and_goes_before_them(
    delta: DeltaPeer,
) -> None:
    delta.subscribe(VIRTUAL_HOST)
    delta.open(ROUTE, names=["r"])
    delta.open(LISTENER)
    delta.open(CLUSTER)
    current = snapshot(cluster("c"), listener("l", "r"), route("r"), host("r/a", "c"))
    assert [said.type for said in delta.settle(current)] == ["CDS", "LDS", "RDS", "VHDS"]
    gone = [said.type for said in delta.settle(Snapshot()) if said.removed]
    assert gone == ["VHDS", "RDS", "LDS", "CDS"]


def test_rule_25_a_cluster_stays_while_a_host_may_still_use_it(delta: DeltaPeer) -> None:
    delta.subscribe(VIRTUAL_HOST)
    delta.open(CLUSTER)
    delta.settle(snapshot(cluster("old"), host("r/a", "old")))
    current = snapshot(cluster("new"), host("r/a", "new"))
    clusters = delta.next(current)
    assert clusters is not None
    delta.ack(clusters)
    hosts = delta.next(current)
    assert hosts is not None
    assert delta.next(current) is None
    delta.nack(hosts)
    assert delta.next(current) is None
    mended = snapshot(cluster("new"), host("r/a", "new", rev=2))
    assert delta.settle(mended) == [Said("VHDS", ["r/a"], []), Said("CDS", [], ["old"])]


def test_rule_25_a_reconnecting_client_gets_what_differs_and_what_is_gone(delta: DeltaPeer) -> None:
    """As of any wildcard (rule 34), but at once: what is gone may have had a domain of what differs."""
    claims = {"r/a": host("r/a").version, "r/b": host("r/b").version, "r/gone": "v"}
    delta.request(VIRTUAL_HOST, claims=claims)
    current = snapshot(host("r/a"), host("r/b", rev=2))
    assert delta.settle(current) == [Said("VHDS", ["r/b"], ["r/gone"])]


def test_rule_25_what_is_gone_goes_after_a_first_response_that_has_nothing(delta: DeltaPeer) -> None:
    delta.request(VIRTUAL_HOST, claims={"r/gone": "v"})
    current = Snapshot()
    first = delta.next(current)
    assert first is not None
    assert delta.next(current) is None
    delta.ack(first)
    assert delta.settle(current) == [Said("VHDS", [], ["r/gone"])]


def test_rule_25_hosts_may_be_asked_for_by_name(delta: DeltaPeer) -> None:
    """As Envoy does where a request needs a host that it does not have ("on demand")."""
    delta.subscribe(VIRTUAL_HOST, "r/b", "r/none")
    assert delta.settle(snapshot(*PAIR)) == [Said("VHDS", ["r/b"], ["r/none"])]


def test_rule_25_hosts_that_came_before_their_routes_come_again_after_them(delta: DeltaPeer) -> None:
    """Envoy drops the hosts of a route configuration that it does not have yet, and never asks for them."""
    current = snapshot(route("r"), route("s"), *PAIR, host("s/a"))
    delta.subscribe(ROUTE, "r")
    delta.request(VIRTUAL_HOST)
    assert delta.settle(current) == [Said("RDS", ["r"], []), Said("VHDS", ["r/a", "r/b", "s/a"], [])]
    delta.subscribe(ROUTE, "s")
    assert delta.settle(current) == [Said("RDS", ["s"], []), Said("VHDS", ["s/a"], [])]
    changed = snapshot(route("r"), route("s", rev=2), *PAIR, host("s/a"))
    assert delta.settle(changed) == [Said("RDS", ["s"], [])]


def test_rule_25_there_are_none_in_state_of_the_world(sotw: SotwPeer) -> None:
    routes = Resource(route("r").key, b"", vhds=True)
    current = SnapshotAdapter(HostsMode.INLINE).of(snapshot(routes, *PAIR))
    sotw.subscribe(VIRTUAL_HOST, "r/a")
    assert sotw.settle(current) == []
    # A list without names is no wildcard here: it is for clusters and listeners alone (rule 8).
    other = SotwPeer()
    other.subscribe(VIRTUAL_HOST)
    assert other.settle(snapshot(*PAIR)) == []
