"""Rule 11, make before break: what comes first, what comes last, and what a removal waits for."""

import pytest

from tests.unit.xds.peer import DeltaPeer, Peer, Said, cluster, endpoints, listener, route, snapshot
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Response
from xds_server.xds.rollout import WARMING_S
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT_NAMES

OLD = (cluster("old"), endpoints("old"), listener("l", "r"), route("r", "old"))
NEW = (cluster("new"), endpoints("new"), listener("l", "r"), route("r", "new", rev=2))


@pytest.fixture
def subscribed(either: Peer) -> Peer:
    """A client that follows everything the tests here serve."""
    return _follow(either)


@pytest.fixture
def naming(delta: DeltaPeer) -> Peer:
    """The same in the variant that names what it removes, so that the order of removals shows."""
    return _follow(delta)


def _follow(client: Peer) -> Peer:
    # The order of the requests must not matter.
    client.open(ROUTE, names=["r", "r2"])
    client.open(LISTENER)
    client.open(ENDPOINT, names=["old", "new"])
    client.open(CLUSTER)
    return client


def push(to: Peer, current: Snapshot, expected: str) -> Response:
    """The next response, which must be of the type with the short name `expected`."""
    response = to.next(current)
    assert response is not None
    assert SHORT_NAMES[response.type_url] == expected
    return response


def holds(response: Response) -> list[str]:
    """The names that it carries."""
    return [resource.name for resource in response.resources]


def types(said: list[Said]) -> list[str]:
    """Their short names."""
    return [each.type for each in said]


def test_rule_11_clusters_then_assignments_then_listeners_then_routes(subscribed: Peer) -> None:
    said = [each for each in subscribed.flow(snapshot(*OLD)) if each.resources]
    assert types(said) == ["CDS", "EDS", "LDS", "RDS"]


def test_rule_11_a_change_of_all_types_goes_out_in_the_same_order(subscribed: Peer) -> None:
    subscribed.settle(snapshot(*OLD))
    said = subscribed.settle(snapshot(*NEW[:2], listener("l", "r", rev=2), NEW[3]))
    additions = [each for each in said if each.resources and not each.removed][:4]
    assert types(additions) == ["CDS", "EDS", "LDS", "RDS"]


def test_rule_12_nothing_new_waits_for_an_ack(subscribed: Peer) -> None:
    # No response is acknowledged at all: Envoy withholds its ACKs while it warms.
    carried = {name for said in subscribed.flow(snapshot(*OLD)) for name in said.resources}
    assert carried == {"old", "l", "r"}
    both = snapshot(*NEW, route("r2", "new"))
    carried = {name for said in subscribed.flow(both) for name in said.resources}
    assert {"new", "r2"} <= carried
    # But for what moves requests to a new cluster (rule 41), and that not for ever.
    assert "r" not in carried
    carried = {name for said in subscribed.flow(both, now=WARMING_S) for name in said.resources}
    assert carried == {"r"}


def test_rule_11_removals_come_last_and_in_reverse(naming: Peer) -> None:
    naming.settle(snapshot(*OLD))
    said = [each for each in naming.settle(snapshot(cluster("new"), endpoints("new"))) if each.removed]
    assert said == [
        Said("RDS", [], ["r"]),
        Said("LDS", [], ["l"]),
        Said("EDS", [], ["old"]),
        Said("CDS", [], ["old"]),
    ]


def test_rule_11_a_cluster_goes_only_when_the_routes_without_it_are_acknowledged(subscribed: Peer) -> None:
    subscribed.settle(snapshot(*OLD))
    current = snapshot(*NEW)
    first = [push(subscribed, current, "CDS"), push(subscribed, current, "EDS")]
    for each in first:
        subscribed.ack(each)
    routes = push(subscribed, current, "RDS")
    assert subscribed.next(current) is None
    assert not any(each.removed for each in (*first, routes))
    subscribed.ack(routes)
    assert _gone(subscribed, current) == {"old"}


@pytest.mark.parametrize("user", ["RDS", "LDS"])
def test_rule_11_a_cluster_stays_while_the_resource_that_uses_it_is_rejected(
    subscribed: Peer, user: str
) -> None:
    before = (cluster("old"), listener("l", "r"), route("r", "old"))
    if user == "RDS":
        after: tuple[Resource, ...] = (cluster("new"), listener("l", "r"), route("r", "new", rev=2))
    else:
        after = (cluster("new"), listener("l", "r2"), route("r2", "new"))
    subscribed.settle(snapshot(*before))
    current = snapshot(*after)
    assert _gone(subscribed, current, reject=user) == set()
    # It may go once what is rejected has been replaced by something that the client takes.
    good = snapshot(*(_again(resource) for resource in after))
    assert "old" in _gone(subscribed, good)


def test_rule_11_accepting_another_route_leaves_the_rejected_one_rejected(subscribed: Peer) -> None:
    subscribed.settle(snapshot(*OLD, cluster("new"), route("r2", "new")))
    removed = snapshot(cluster("new"), listener("l", "r"), route("r", "new", rev=2), route("r2", "new"))
    assert _gone(subscribed, removed, reject="RDS") == set()
    # "r" as it was, which uses "old", is still what the client runs.
    other = removed.updated([route("r2", "new", rev=2)])
    routes = push(subscribed, other, "RDS")
    assert holds(routes) == ["r2"]
    subscribed.ack(routes)
    assert _gone(subscribed, other, reject="RDS") == set()
    fixed = other.updated([route("r", "new", rev=3)])
    assert _gone(subscribed, fixed) == {"old"}


def test_rule_11_a_rejected_route_that_is_gone_delays_nothing(subscribed: Peer) -> None:
    subscribed.settle(snapshot(*OLD))
    _gone(subscribed, snapshot(*OLD[:3], route("r", "old", rev=2)), reject="RDS")
    assert "old" in _gone(subscribed, snapshot())


def test_rule_11_a_route_goes_only_when_the_listeners_without_it_are_acknowledged(naming: Peer) -> None:
    naming.settle(snapshot(*OLD))
    current = snapshot(cluster("old"), endpoints("old"), listener("l", "r2"), route("r2", "old"))
    listeners = push(naming, current, "LDS")
    routes = push(naming, current, "RDS")
    assert holds(routes) == ["r2"]
    naming.ack(routes)
    assert naming.next(current) is None
    naming.ack(listeners)
    assert naming.settle(current) == [Said("RDS", [], ["r"])]


def test_rule_11_an_assignment_stays_while_its_cluster_may_still_be_of_the_old_kind(naming: Peer) -> None:
    naming.settle(snapshot(*OLD))
    without = Resource(cluster("old").key, b"a static cluster")
    current = snapshot(without, *OLD[2:])
    clusters = push(naming, current, "CDS")
    assert naming.next(current) is None
    naming.ack(clusters)
    assert naming.settle(current) == [Said("EDS", [], ["old"])]


def test_rule_11_a_cluster_that_comes_back_before_it_went_stays(subscribed: Peer) -> None:
    subscribed.settle(snapshot(*OLD))
    subscribed.flow(snapshot(*NEW))
    assert "old" not in _gone(subscribed, snapshot(*OLD))


def _again(resource: Resource) -> Resource:
    return Resource(resource.key, resource.body + b", mended", resource.refs)


def _gone(client: Peer, current: Snapshot, reject: str | None = None) -> set[str]:
    """Let the client take everything that comes, but for the type `reject`; return which of the clusters that
    it had at first were taken from it."""
    gone: set[str] = set()
    while (response := client.next(current)) is not None:
        if response.type_url == CLUSTER:
            gone.update(response.removed)
            if client.variant is Variant.SOTW and "old" not in holds(response):
                gone.add("old")
        if SHORT_NAMES[response.type_url] == reject:
            client.nack(response)
        else:
            client.ack(response)
    return gone
