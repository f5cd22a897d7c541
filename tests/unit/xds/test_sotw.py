"""State of the world alone: full state, stale nonces, repeated requests, version matches."""

import pytest

from tests.unit.xds.peer import STREAM, Said, SotwPeer, cluster, endpoints, listener, route, says, snapshot
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, Resumed
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

PAIR = snapshot(endpoints("a"), endpoints("b"))


def test_rule_09_a_list_without_the_star_drops_the_wildcard(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    sotw.settle(snapshot(cluster("a"), cluster("b")))
    sotw.subscribe(CLUSTER, "a")
    assert sotw.settle(snapshot(cluster("a"), cluster("b"))) == [Said("CDS", ["a"], [])]


def test_rule_26_a_change_of_one_cluster_sends_them_all(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    sotw.settle(snapshot(cluster("b"), cluster("a")))
    assert sotw.settle(snapshot(cluster("b", 2), cluster("a"))) == [Said("CDS", ["a", "b"], [])]


def test_rule_26_what_is_missing_is_deleted_and_nothing_deletes_all(sotw: SotwPeer) -> None:
    sotw.open(LISTENER)
    sotw.settle(snapshot(listener("a", "r"), listener("b", "r")))
    assert sotw.settle(snapshot(listener("a", "r"))) == [Said("LDS", ["a"], [])]
    assert sotw.settle(Snapshot()) == [Said("LDS", [], [])]
    assert sotw.settle(Snapshot()) == []


def test_rule_26_assignments_and_routes_are_sent_alone(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a", "b"])
    sotw.settle(PAIR)
    assert sotw.settle(snapshot(endpoints("a"), endpoints("b", 2))) == [Said("EDS", ["b"], [])]


def test_rule_26_the_end_of_an_assignment_is_not_sent(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a", "b"])
    sotw.settle(PAIR)
    assert sotw.settle(snapshot(endpoints("a"))) == []
    # But it is remembered: should it come back as it was, the client may have dropped it.
    assert sotw.settle(PAIR) == [Said("EDS", ["b"], [])]


def test_rule_26_what_is_on_its_way_out_stays_in_until_it_may_go(sotw: SotwPeer) -> None:
    """A full state leaves out what it deletes, so a cluster that a route may still use is sent along."""
    sotw.open(CLUSTER)
    sotw.open(ROUTE, names=["r"])
    sotw.settle(snapshot(cluster("old"), route("r", "old")))
    current = snapshot(cluster("new"), route("r", "new"))
    together = sotw.next(current)
    assert says(together) == Said("CDS", ["new", "old"], [])
    assert together is not None
    sotw.ack(together)
    routes = sotw.next(current)
    assert says(routes) == Said("RDS", ["r"], [])
    assert sotw.next(current) is None
    assert routes is not None
    sotw.ack(routes)
    alone = sotw.next(current)
    assert says(alone) == Said("CDS", ["new"], [])
    assert alone is not None
    assert together.version == snapshot(cluster("new"), cluster("old")).of(CLUSTER).version
    assert alone.version == current.of(CLUSTER).version != together.version


def test_rule_27_a_stale_nonce_acknowledges_nothing(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a", "b"])
    first = sotw.next(PAIR)
    assert first is not None
    sotw.ack(first)
    second = sotw.next(snapshot(endpoints("a", 2), endpoints("b")))
    assert sotw.request(ENDPOINT, nonce=first.nonce) == []
    assert second is not None
    assert [type(event) for event in sotw.ack(second)] == [Acked]


def test_rule_27_the_names_of_a_stale_request_count_and_only_new_ones_are_answered(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a"])
    sotw.settle(PAIR)
    current = snapshot(endpoints("a", 2), endpoints("b"))
    sotw.next(current)
    # The client has not seen that response yet: its nonce is that of the first.
    assert sotw.subscribe(ENDPOINT, "b") == []
    assert sotw.flow(current) == [Said("EDS", ["b"], [])]


def test_rule_27_a_name_that_a_stale_request_leaves_out_is_unsubscribed(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a", "b"])
    sotw.settle(PAIR)
    sotw.next(snapshot(endpoints("a", 2), endpoints("b")))
    sotw.unsubscribe(ENDPOINT, "a")
    assert sotw.flow(snapshot(endpoints("a", 3), endpoints("b"))) == []


def test_rule_28_new_names_are_answered_at_the_same_version(sotw: SotwPeer) -> None:
    sotw.open(ENDPOINT, names=["a"])
    first = sotw.next(PAIR)
    assert first is not None
    sotw.ack(first)
    sotw.subscribe(ENDPOINT, "b")
    second = sotw.next(PAIR)
    assert says(second) == Said("EDS", ["b"], [])
    assert second is not None
    assert second.version == first.version


@pytest.fixture
def warming(sotw: SotwPeer) -> tuple[SotwPeer, Snapshot]:
    """A client that was sent a changed cluster and its assignment, and has acknowledged the latter alone."""
    sotw.open(CLUSTER)
    sotw.open(ENDPOINT, names=["a", "b"])
    same = (cluster("b"), endpoints("a"), endpoints("b"))
    sotw.settle(snapshot(cluster("a", 1), *same))
    current = snapshot(cluster("a", 2), *same)
    sotw.next(current)
    assignment = sotw.next(current)
    assert says(assignment) == Said("EDS", ["a"], [])
    assert assignment is not None
    sotw.ack(assignment)
    return sotw, current


def test_rule_29_the_last_ack_again_is_answered_while_a_cluster_warms(
    warming: tuple[SotwPeer, Snapshot],
) -> None:
    client, current = warming
    assert client.next(current) is None
    client.request(ENDPOINT)
    assert client.flow(current) == [Said("EDS", ["a"], [])]


def test_rule_29_the_last_ack_again_is_not_answered_when_it_is_stale(
    warming: tuple[SotwPeer, Snapshot],
) -> None:
    client, current = warming
    stale = client.nonces[ENDPOINT]
    client.request(ENDPOINT)
    client.next(current)
    client.request(ENDPOINT, nonce=stale)
    assert client.next(current) is None


def test_rule_29_nor_when_it_is_stale_and_all_else_is_acknowledged(
    warming: tuple[SotwPeer, Snapshot],
) -> None:
    client, current = warming
    stale = client.nonces[ENDPOINT]
    client.request(ENDPOINT)
    again = client.next(current)
    assert again is not None
    client.ack(again)
    client.request(ENDPOINT, nonce=stale)
    assert client.next(current) is None


def test_rule_29_nothing_is_answered_again_once_the_clusters_are_acknowledged(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    sotw.open(ENDPOINT, names=["a"])
    current = snapshot(cluster("a"), endpoints("a"))
    sotw.settle(current)
    sotw.request(ENDPOINT)
    assert sotw.next(current) is None


def test_rule_29_an_ack_of_older_clusters_leaves_newer_ones_warming(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    sotw.open(ENDPOINT, names=["a"])
    older = sotw.next(snapshot(cluster("a", 1), endpoints("a")))
    current = snapshot(cluster("a", 2), endpoints("a"))
    sotw.next(current)
    assignment = sotw.next(current)
    assert older is not None
    assert assignment is not None
    sotw.ack(older)
    sotw.ack(assignment)
    sotw.request(ENDPOINT)
    assert sotw.flow(current) == [Said("EDS", ["a"], [])]


def test_rule_29_a_nack_is_no_repeated_request(warming: tuple[SotwPeer, Snapshot]) -> None:
    client, current = warming
    client.request(ENDPOINT, error="again")
    assert client.next(current) is None


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_rule_30_the_right_version_on_reconnect_skips_a_wildcard(sotw: SotwPeer, type_url: str) -> None:
    current = snapshot(cluster("a"), listener("a", "r"))
    key = CLUSTER if type_url == CLUSTER else LISTENER
    sotw.versions[key] = current.of(key).version
    sotw.open(key)
    assert sotw.settle(current) == []
    version = current.of(key).version
    assert sotw.machine.take_events() == [Resumed(stream=STREAM, type_url=key, version=version)]
    assert sotw.machine.take_events() == []
    # What the client then holds is known: the next change deletes what it should.
    assert [said.resources for said in sotw.settle(Snapshot())] == [[]]


def test_rule_30_another_version_on_reconnect_is_answered(sotw: SotwPeer) -> None:
    sotw.versions[CLUSTER] = snapshot(cluster("a", 1)).of(CLUSTER).version
    sotw.open(CLUSTER)
    assert sotw.settle(snapshot(cluster("a", 2))) == [Said("CDS", ["a"], [])]


def test_rule_30_the_right_version_skips_nothing_for_names(sotw: SotwPeer) -> None:
    current = snapshot(cluster("a"))
    sotw.versions[CLUSTER] = current.of(CLUSTER).version
    sotw.subscribe(CLUSTER, "a")
    assert sotw.settle(current) == [Said("CDS", ["a"], [])]


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_rule_35_the_first_full_state_is_sent_even_if_empty(sotw: SotwPeer, type_url: str) -> None:
    """Envoy initializes its listeners and clusters with the first response, whatever is in it."""
    sotw.open(CLUSTER if type_url == CLUSTER else LISTENER)
    assert [said.resources for said in sotw.settle(Snapshot())] == [[]]
