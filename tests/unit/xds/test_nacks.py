"""What a client rejects is taken apart, and what moves goes over in one (rules 37 to 42). Any history of it
is in `test_isolation`."""

import pytest

from tests.unit.xds.peer import (
    DeltaPeer,
    Peer,
    Said,
    SotwPeer,
    cluster,
    endpoints,
    host,
    pushed,
    route,
    says,
    snapshot,
)
from xds_server.xds.resource import MAX_RESPONSE_BYTES, Resource, ResourceKey
from xds_server.xds.rollout import WARMING_S
from xds_server.xds.server_options import MAX_MESSAGE_BYTES
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Withheld
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, InlinedRoutes, SnapshotAdapter

NAMES = ("a", "b", "c", "d")


def with_domain(name: str, *domains: str, to: str = "c", rev: int = 1) -> Resource:
    """A virtual host that claims these."""
    plain = host(name, to, rev=rev)
    return Resource(plain.key, plain.body + repr(domains).encode(), plain.refs, claims=tuple(domains))


def rejects(client: Peer, current: Snapshot, wrong: set[str], message: str) -> list[Said]:
    """All that a client is sent that rejects every response with one of `wrong`."""
    said = []
    while (response := client.next(current)) is not None:
        said.append(says(response))
        if wrong.isdisjoint(each.name for each in response.resources):
            client.ack(response)
        else:
            client.nack(response, message=message)
    return [each for each in said if each is not None]


def test_rule_37_what_is_not_to_blame_is_sent_again_without_what_the_message_names(either: Peer) -> None:
    either.open(ENDPOINT, names=NAMES)
    current = snapshot(*map(endpoints, NAMES))
    said = rejects(either, current, {"b"}, "b: malformed")
    # And what it names once more, alone: a message may quote anybody.
    assert said == [("EDS", [*NAMES], []), ("EDS", ["a", "c", "d"], []), ("EDS", ["b"], [])]


def test_rule_37_without_a_name_it_is_found_by_halves(either: Peer) -> None:
    either.open(ENDPOINT, names=NAMES)
    said = rejects(either, snapshot(*map(endpoints, NAMES)), {"d"}, "malformed")
    assert [each.resources for each in said] == [[*NAMES], ["a", "b"], ["c", "d"], ["c"], ["d"]]


def test_rule_37_full_state_has_the_last_accepted_version_of_a_rejected_resource(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    before = snapshot(cluster("a"), cluster("b"))
    sotw.settle(before)
    current = snapshot(cluster("a", 2), cluster("b", 2), cluster("c"))
    sotw.nack(pushed(sotw, current), message="Error adding/updating cluster(s) a: wrong")
    without = pushed(sotw, current)
    assert [each.body for each in without.resources] == [
        cluster("a").body,
        cluster("b", 2).body,
        cluster("c").body,
    ]


def test_rule_37_one_host_of_a_route_configuration_holds_up_no_other(sotw: SotwPeer) -> None:
    routes = Resource(ResourceKey(ROUTE, "r"), b"start ", vhds=True)
    form = SnapshotAdapter(HostsMode.INLINE)
    sotw.open(ROUTE, names=["r"])
    sotw.settle(form.of(snapshot(routes, with_domain("r/a", "a"), with_domain("r/b", "b"))))
    changed = (with_domain("r/a", "a", rev=2), with_domain("r/b", "b", rev=2), with_domain("r/c", "c"))
    current = form.of(snapshot(routes, *changed))
    sotw.nack(pushed(sotw, current), message="Duplicate entry of domain a in route r")
    body = pushed(sotw, current).resources[0].body
    assert b"r/a rev 1" in body
    assert b"r/b rev 2" in body
    assert b"r/c rev 1" in body


def test_rule_38_a_rejected_change_is_tried_again_less_and_less_often_as_others_change(
    delta: DeltaPeer,
) -> None:
    delta.open(ENDPOINT, names=["a", "wrong"])
    current = snapshot(endpoints("wrong"), endpoints("a"))
    rejects(delta, current, {"wrong"}, "malformed")
    tried = []
    for rev in range(2, 40):
        current = current.updated([endpoints("a", rev)])
        said = rejects(delta, current, {"wrong"}, "malformed")
        assert said[0] == ("EDS", ["a"], [])
        tried += [rev - 1] * (len(said) - 1)
    assert tried == [1, 3, 7, 15, 31]


def test_rule_38_what_it_collided_with_goes_and_it_is_tried_at_once(delta: DeltaPeer) -> None:
    delta.open(VIRTUAL_HOST)
    both = snapshot(with_domain("r/a", "x"), with_domain("r/b", "x"))
    said = rejects(delta, both, {"r/b"}, "Duplicate entry of domain x in route r")
    assert said[-1] == ("VHDS", ["r/b"], [])
    assert delta.settle(both.updated([], [ResourceKey(VIRTUAL_HOST, "r/a")])) == [("VHDS", ["r/b"], ["r/a"])]


def test_rule_39_a_domain_goes_over_in_one_response(delta: DeltaPeer) -> None:
    delta.open(VIRTUAL_HOST)
    delta.settle(snapshot(with_domain("r/old", "x")))
    assert delta.settle(snapshot(with_domain("r/new", "x"))) == [("VHDS", ["r/new"], ["r/old"])]


def test_rule_40_nothing_is_removed_while_its_replacement_is_rejected(delta: DeltaPeer) -> None:
    delta.open(VIRTUAL_HOST)
    delta.settle(snapshot(with_domain("r/old", "x"), with_domain("r/b", "b")))
    current = snapshot(with_domain("r/new", "x"), with_domain("r/c", "c"))
    said = rejects(delta, current, {"r/new"}, "r/new: wrong")
    assert said == [
        ("VHDS", ["r/c", "r/new"], ["r/b", "r/old"]),
        ("VHDS", ["r/c"], ["r/b"]),
        ("VHDS", ["r/new"], ["r/old"]),
    ]
    mended = current.updated([with_domain("r/new", "x", rev=2)])
    assert delta.settle(mended) == [("VHDS", ["r/new"], ["r/old"])]


def test_rule_41_requests_move_to_a_new_cluster_when_it_is_warm(either: Peer) -> None:
    either.open(CLUSTER, ROUTE, ENDPOINT, names=["r", "s", "old", "new"])
    both = (cluster("old"), endpoints("old"))
    either.settle(snapshot(*both, route("r", "old"), route("s", "old")))
    current = snapshot(*both, cluster("new"), endpoints("new"), route("r", "new"), route("s", "old", rev=2))
    clusters, assignments, others = (pushed(either, current) for _ in range(3))
    assert says(others) == ("RDS", ["s"], [])  # it waits for nobody else's cluster
    either.ack(clusters)
    assert either.next(current) is None
    either.ack(assignments)
    assert says(either.next(current)) == ("RDS", ["r"], [])


def test_rule_41_they_wait_for_a_while(either: Peer) -> None:
    either.open(CLUSTER, ROUTE, ENDPOINT, names=["r", "old", "new"])
    either.settle(snapshot(cluster("old"), endpoints("old"), route("r", "old")))
    current = snapshot(cluster("old"), endpoints("old"), cluster("new"), endpoints("new"), route("r", "new"))
    either.flow(current, now=10.0)
    assert either.machine.wakes_at == 10.0 + WARMING_S
    assert not either.machine.has_sent_all(current)
    assert either.flow(current, now=10.0 + WARMING_S) == [("RDS", ["r"], [])]


def test_rule_41_a_new_host_waits_where_a_wildcard_may_have_its_requests(delta: DeltaPeer) -> None:
    """A port is added to a Service: until then its requests went to the host with ``*``."""
    delta.open(CLUSTER, ENDPOINT, names=["c", "new"])
    delta.subscribe(VIRTUAL_HOST)
    before = snapshot(cluster("c"), endpoints("c"), with_domain("r/any", "*"))
    delta.settle(before)
    current = before.updated([cluster("new"), endpoints("new"), with_domain("r/new", "x:81", to="new")])
    brought = [pushed(delta, current), pushed(delta, current)]
    assert [says(each) for each in brought] == [("CDS", ["new"], []), ("EDS", ["new"], [])]
    assert delta.next(current) is None
    for each in brought:
        delta.ack(each)
    assert delta.settle(current) == [("VHDS", ["r/new"], [])]


def test_rule_41_a_first_sync_waits_for_no_cluster(delta: DeltaPeer) -> None:
    delta.open(CLUSTER, ENDPOINT, names=["c"])
    delta.subscribe(VIRTUAL_HOST)
    current = snapshot(cluster("c"), endpoints("c"), with_domain("r/a", "x"))
    assert delta.flow(current) == [("CDS", ["c"], []), ("EDS", ["c"], []), ("VHDS", ["r/a"], [])]


def test_rule_41_nor_does_a_reconnect(delta: DeltaPeer) -> None:
    held = with_domain("r/a", "x")
    delta.request(CLUSTER, claims={"c": cluster("c").version})
    delta.open(ENDPOINT, names=["c", "new"])
    delta.request(VIRTUAL_HOST, claims={held.name: held.version})
    new = (cluster("new"), endpoints("new"), with_domain("r/new", "x:81", to="new"))
    current = snapshot(cluster("c"), endpoints("c"), held, *new)
    assert delta.flow(current) == [
        ("CDS", ["new"], []),
        ("EDS", ["c", "new"], []),
        ("VHDS", ["r/new"], []),
    ]


def test_rule_42_a_large_response_comes_in_parts(delta: DeltaPeer) -> None:
    body = b"x" * (MAX_RESPONSE_BYTES // 3)
    current = snapshot(*(Resource(ResourceKey(CLUSTER, name), body) for name in NAMES))
    delta.open(CLUSTER)
    assert [each.resources for each in delta.flow(current)] == [["a", "b"], ["c", "d"]]


def test_rule_42_the_parts_of_a_first_sync_wait_for_nothing(delta: DeltaPeer) -> None:
    """Those of virtual hosts neither: the client has none that gives up a domain."""
    body = b"x" * (MAX_RESPONSE_BYTES // 3)
    clusters = [Resource(ResourceKey(CLUSTER, name), body) for name in NAMES]
    hosts = [
        Resource(ResourceKey(VIRTUAL_HOST, f"r/{name}"), body, (each.key,), claims=(name,))
        for name, each in zip(NAMES, clusters, strict=True)
    ]
    delta.open(CLUSTER, VIRTUAL_HOST)
    assert delta.flow(snapshot(*clusters, *hosts)) == [
        ("CDS", ["a", "b"], []),
        ("CDS", ["c", "d"], []),
        ("VHDS", ["r/a", "r/b"], []),
        ("VHDS", ["r/c", "r/d"], []),
    ]


def test_rule_42_the_parts_of_a_later_response_of_virtual_hosts_wait(delta: DeltaPeer) -> None:
    body = b"x" * (MAX_RESPONSE_BYTES // 3)
    delta.open(VIRTUAL_HOST)
    delta.settle(snapshot(with_domain("r/old", "x")))
    current = snapshot(*(Resource(ResourceKey(VIRTUAL_HOST, f"r/{name}"), body) for name in NAMES))
    first = pushed(delta, current)
    assert delta.next(current) is None
    delta.ack(first)
    assert len(delta.flow(current)) == 1


def test_rule_42_what_is_too_large_is_left_out_and_named(either: Peer) -> None:
    large = Resource(ResourceKey(CLUSTER, "large"), b"x" * MAX_RESPONSE_BYTES)
    current = snapshot(cluster("a"), large)
    assert current.too_large() == {large.key: large.size}
    either.open(CLUSTER)
    assert either.settle(current) == [("CDS", ["a"], [])]
    assert current.updated([cluster("large")]).too_large() == {}
    assert current.updated([], [large.key]).too_large() == {}


def test_rule_42_full_state_larger_than_a_message_is_withheld(sotw: SotwPeer) -> None:
    body = b"x" * (MAX_RESPONSE_BYTES - 4096)
    count = MAX_MESSAGE_BYTES // len(body) + 1
    sotw.open(CLUSTER)
    current = snapshot(*(Resource(ResourceKey(CLUSTER, f"{n}"), body) for n in range(count)))
    assert sotw.next(current) is None
    [event] = sotw.machine.take_events()
    assert isinstance(event, Withheld)
    assert sotw.settle(snapshot(cluster("a"))) == [("CDS", ["a"], [])]


@pytest.mark.parametrize("others", [True, False])
def test_what_is_named_wrongly_is_not_blamed_for_good(delta: DeltaPeer, others: bool) -> None:
    """Envoy's words may be about what it was sent before, and hold what a tenant wrote."""
    delta.open(ENDPOINT, names=NAMES)
    names = NAMES if others else NAMES[:1]
    current = snapshot(*map(endpoints, names))
    first = pushed(delta, current)
    delta.nack(first, message="a: no, b" if others else "something")
    sent = {name for said in delta.settle(current) for name in said.resources}
    assert sent == (set(names) if others else set())


def test_what_was_rejected_and_is_gone_is_forgotten(either: Peer) -> None:
    either.open(ENDPOINT, names=["a"])
    either.nack(pushed(either, snapshot(endpoints("a"))))
    either.flow(snapshot())
    assert either.settle(snapshot(endpoints("a", 2))) == [("EDS", ["a"], [])]


def test_a_client_that_rejects_what_it_has_is_not_sent_it_for_ever(delta: DeltaPeer) -> None:
    current = snapshot(endpoints("a"))
    delta.open(ENDPOINT, names=["a"])
    delta.settle(current)
    delta.subscribe(CLUSTER)
    both = current.updated([cluster("a")])
    delta.ack(pushed(delta, both))
    again = pushed(delta, both)  # rule 13
    assert says(again) == ("EDS", ["a"], [])
    delta.nack(again)
    assert delta.flow(both) == []


def test_one_route_configuration_is_rejected_beside_another(sotw: SotwPeer) -> None:
    open_routes = [Resource(ResourceKey(ROUTE, name), b"", vhds=True) for name in ("r", "s")]
    form = SnapshotAdapter(HostsMode.INLINE)
    sotw.open(ROUTE, names=["r", "s"])
    sotw.settle(form.of(snapshot(*open_routes, host("r/a"), host("s/a"))))
    current = form.of(snapshot(*open_routes, host("r/a", rev=2), host("s/a")))
    sotw.nack(pushed(sotw, current))
    assert sotw.flow(current) == []
    other = form.of(snapshot(*open_routes, host("r/a", rev=2), host("s/a", rev=2)))
    assert sotw.settle(other) == [("RDS", ["s"], [])]
    for rev in range(3, 22):
        other = form.of(snapshot(*open_routes, host("r/a", rev=2), host("s/a", rev=rev)))
        assert sotw.settle(other) == [("RDS", ["s"], [])]


def test_rule_17_the_rest_of_a_large_response_is_only_what_is_still_asked_for(delta: DeltaPeer) -> None:
    body = b"x" * (MAX_RESPONSE_BYTES // 3)
    current = snapshot(*(Resource(ResourceKey(ENDPOINT, name), body) for name in NAMES))
    delta.open(ENDPOINT, names=NAMES)
    assert says(delta.next(current)) == ("EDS", ["a", "b"], [])
    delta.unsubscribe(ENDPOINT, "c")
    assert delta.flow(current) == [("EDS", ["d"], [])]


def test_route_configurations_with_other_hosts_are_shared_and_few_are_kept() -> None:
    routes = Resource(ResourceKey(ROUTE, "r"), b"", vhds=True)
    closed = SnapshotAdapter(HostsMode.INLINE).of(snapshot(routes, host("r/a"))).of(ROUTE).resources["r"]
    assert isinstance(closed, InlinedRoutes)
    hosts = [snapshot(host("r/a", rev=rev)).of(VIRTUAL_HOST) for rev in range(2, 20)]
    others = [closed.with_hosts(each) for each in hosts]
    assert closed.with_hosts(hosts[-1]) is others[-1]
    assert closed.with_hosts(hosts[0]) == others[0]
    assert closed.with_hosts(hosts[0]) is not others[0]
