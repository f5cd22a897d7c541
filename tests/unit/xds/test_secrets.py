"""Secrets are served as assignments are, by name, and come and go between clusters and listeners."""

import pytest

from tests.unit.xds.peer import (
    DeltaPeer,
    Peer,
    Said,
    SotwPeer,
    cluster,
    endpoints,
    host,
    listener,
    route,
    secret,
    snapshot,
)
from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, SHORT_NAMES, VIRTUAL_HOST

PAIR = snapshot(secret("s"), secret("t"))


def test_rule_05_a_rejected_secret_is_sent_when_its_content_changes(either: Peer) -> None:
    either.open(SECRET, names=["s"])
    response = either.next(PAIR)
    assert response is not None
    either.nack(response, also=["t"])
    assert either.flow(PAIR) == [Said("SDS", ["t"], [])]
    assert either.flow(snapshot(secret("s", 2), secret("t"))) == [Said("SDS", ["s"], [])]


def test_rule_07_a_secret_that_does_not_exist_is_sent_when_it_appears(either: Peer) -> None:
    either.open(SECRET, names=["s"])
    either.settle(Snapshot())
    assert either.settle(PAIR) == [Said("SDS", ["s"], [])]


def test_rule_08_no_names_is_no_wildcard_for_secrets(either: Peer) -> None:
    either.subscribe(SECRET)
    assert either.settle(PAIR) == []


def test_rule_11_secrets_come_after_assignments_and_before_listeners(either: Peer) -> None:
    current = snapshot(cluster("c"), endpoints("c"), secret("s"), listener("l", "r"), route("r", "c"))
    either.open(ROUTE, names=["r"])
    either.open(LISTENER)
    either.open(SECRET, names=["s"])
    either.open(ENDPOINT, names=["c"])
    either.open(CLUSTER)
    assert [said.type for said in either.flow(current)] == ["CDS", "EDS", "SDS", "LDS", "RDS"]


@pytest.mark.parametrize("user", [CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST], ids=SHORT_NAMES.get)
def test_rule_11_a_secret_stays_while_what_may_use_it_is_unacknowledged(
    delta: DeltaPeer, user: TypeUrl
) -> None:
    def using(rev: int) -> Resource:
        """Something that uses the secret at first, and is sent anew together with the end of that."""
        found = {
            CLUSTER: cluster("u", rev),
            LISTENER: listener("u", "r", rev),
            ROUTE: route("u", rev=rev),
            VIRTUAL_HOST: host("u", rev=rev),
        }[user]
        return Resource(found.key, found.body, (secret("s").key,) if rev == 1 else ())

    delta.open(SECRET, names=["s"])
    delta.subscribe(user, *(["u"] if user == ROUTE else []))
    delta.settle(snapshot(secret("s"), using(1)))
    current = snapshot(using(2))
    response = delta.next(current)
    assert response is not None
    assert response.type_url == user
    assert delta.next(current) is None
    delta.nack(response)
    assert delta.next(current) is None
    good = delta.next(snapshot(using(3)))
    assert good is not None
    delta.ack(good)
    assert delta.settle(snapshot(using(3))) == [Said("SDS", [], ["s"])]


def test_rule_14_the_first_request_for_secrets_is_answered_whatever_the_client_holds(
    sotw: SotwPeer, delta: DeltaPeer
) -> None:
    sotw.versions[SECRET] = PAIR.of(SECRET).version
    sotw.subscribe(SECRET, "s")
    delta.request(SECRET, subscribe=["s"], claims={"s": secret("s").version})
    for each in (sotw, delta):
        assert each.settle(PAIR) == [Said("SDS", ["s"], [])]


def test_rule_13_a_changed_cluster_brings_no_secret_again(either: Peer) -> None:
    """Envoy keeps a secret as long as anything uses it, and the new cluster takes it from there; it is the
    assignment that belongs to one cluster alone."""
    either.open(CLUSTER)
    either.open(ENDPOINT, names=["c"])
    either.open(SECRET, names=["s"])
    same = (endpoints("c"), secret("s"))
    either.settle(snapshot(cluster("c", 1), *same))
    assert [said.type for said in either.settle(snapshot(cluster("c", 2), *same))] == ["CDS", "EDS"]


def test_rule_26_secrets_are_sent_alone_and_never_taken_back(sotw: SotwPeer) -> None:
    sotw.open(SECRET, names=["s", "t"])
    sotw.settle(PAIR)
    assert sotw.settle(snapshot(secret("s"), secret("t", 2))) == [Said("SDS", ["t"], [])]
    assert sotw.settle(snapshot(secret("s"))) == []


def test_rule_27_names_of_a_stale_request_for_secrets_count(sotw: SotwPeer) -> None:
    sotw.open(SECRET, names=["s"])
    sotw.settle(PAIR)
    current = snapshot(secret("s", 2), secret("t"))
    sotw.next(current)
    assert sotw.subscribe(SECRET, "t") == []
    assert sotw.flow(current) == [Said("SDS", ["t"], [])]


def test_rule_29_a_repeated_acknowledgement_of_secrets_is_no_question(sotw: SotwPeer) -> None:
    """Only assignments are asked for so."""
    sotw.open(CLUSTER)
    sotw.open(SECRET, names=["s"])
    current = snapshot(cluster("c"), secret("s"))
    sotw.next(current)
    response = sotw.next(current)
    assert response is not None
    sotw.ack(response)
    sotw.request(SECRET)
    assert sotw.next(current) is None


def test_rule_32_a_secret_that_does_not_exist_is_said_to_be_removed_at_once(delta: DeltaPeer) -> None:
    delta.subscribe(SECRET, "s", "none")
    assert delta.flow(PAIR) == [Said("SDS", ["s"], ["none"])]


def test_rule_33_a_secret_that_is_subscribed_again_is_sent_again(delta: DeltaPeer) -> None:
    delta.subscribe(SECRET, "s", "t")
    delta.settle(PAIR)
    delta.subscribe(SECRET, "s")
    assert delta.settle(PAIR) == [Said("SDS", ["s"], [])]
