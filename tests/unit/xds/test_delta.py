"""Incremental alone: names that do not exist, forced resends, what a reconnecting client claims."""

import pytest

from tests.unit.xds.peer import DeltaPeer, Said, cluster, endpoints, listener, route, snapshot
from xds_server.base.ids import TypeUrl
from xds_server.xds.name_sets import size_of
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE


def test_rule_08_a_first_request_that_only_unsubscribes_is_no_wildcard(delta: DeltaPeer) -> None:
    delta.unsubscribe(CLUSTER, "a")
    assert delta.settle(snapshot(cluster("a"))) == []


def test_rule_09_only_unsubscribing_the_star_drops_the_wildcard(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.subscribe(CLUSTER, "a")
    assert delta.settle(snapshot(cluster("a"), cluster("b"))) == [Said("CDS", ["a", "b"], [])]
    delta.unsubscribe(CLUSTER, "*")
    assert delta.settle(snapshot(cluster("a", 2), cluster("b", 2))) == [Said("CDS", ["a"], [])]


def test_rule_09_a_name_dropped_under_a_star_is_answered_if_the_star_covers_it(delta: DeltaPeer) -> None:
    """The client cannot know whether to keep it (xds_protocol.rst, "Unsubscribing from Resources")."""
    current = snapshot(cluster("a"))
    delta.subscribe(CLUSTER, "*", "a", "b")
    delta.settle(current)
    delta.unsubscribe(CLUSTER, "a", "b", "never asked for")
    assert delta.settle(current) == [Said("CDS", ["a"], ["b"])]


def test_rule_31_subscriptions_of_a_request_with_a_stale_nonce_count(delta: DeltaPeer) -> None:
    current = snapshot(endpoints("a"), endpoints("b"))
    delta.subscribe(ENDPOINT, "a")
    delta.settle(current)
    assert delta.request(ENDPOINT, subscribe=["b"], unsubscribe=["a"], nonce="stale") == []
    assert delta.settle(current) == [Said("EDS", ["b"], [])]
    assert delta.settle(snapshot(endpoints("a", 2), endpoints("b"))) == []


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE, CLUSTER])
def test_rule_32_a_name_that_does_not_exist_is_said_to_be_removed_at_once(
    delta: DeltaPeer, type_url: TypeUrl
) -> None:
    delta.subscribe(type_url, "a", "b")
    assert [said[1:] for said in delta.flow(Snapshot())] == [([], ["a", "b"])]
    assert delta.next(Snapshot()) is None


def test_rule_32_it_is_said_with_what_does_exist(delta: DeltaPeer) -> None:
    delta.subscribe(ENDPOINT, "a", "b")
    assert delta.flow(snapshot(endpoints("b"))) == [Said("EDS", ["b"], ["a"])]


def test_rule_32_it_is_said_again_to_a_client_that_asks_again(delta: DeltaPeer) -> None:
    delta.subscribe(ENDPOINT, "a")
    delta.settle(Snapshot())
    delta.subscribe(ENDPOINT, "a")
    assert delta.settle(Snapshot()) == [Said("EDS", [], ["a"])]


def test_rule_32_what_went_and_is_asked_for_again_is_said_to_be_removed_once(delta: DeltaPeer) -> None:
    delta.subscribe(ENDPOINT, "a")
    delta.settle(snapshot(endpoints("a")))
    delta.subscribe(ENDPOINT, "a")
    assert delta.settle(Snapshot()) == [Said("EDS", [], ["a"])]
    delta.request(CLUSTER, subscribe=["*", "b"], claims={"b": "v"})
    assert delta.settle(Snapshot()) == [Said("CDS", [], ["b"])]


def test_rule_33_a_held_name_that_is_subscribed_again_is_sent_again(delta: DeltaPeer) -> None:
    current = snapshot(endpoints("a"), endpoints("b"))
    delta.subscribe(ENDPOINT, "a", "b")
    delta.settle(current)
    delta.subscribe(ENDPOINT, "a")
    assert delta.settle(current) == [Said("EDS", ["a"], [])]


def test_rule_33_a_needless_unsubscribe_is_ignored(delta: DeltaPeer) -> None:
    current = snapshot(endpoints("a"), cluster("a"))
    delta.open(CLUSTER)
    delta.subscribe(ENDPOINT, "a")
    delta.settle(current)
    delta.unsubscribe(ENDPOINT, "b", "*")
    delta.unsubscribe(CLUSTER, "a", "b")
    assert delta.settle(current) == []
    assert delta.settle(snapshot(endpoints("a", 2), cluster("a"))) == [Said("EDS", ["a"], [])]


def test_rule_34_a_reconnect_skips_what_the_client_has_and_reports_what_is_gone(delta: DeltaPeer) -> None:
    same, changed, new = cluster("same"), cluster("changed", 2), cluster("new")
    claims = {"same": same.version, "changed": cluster("changed", 1).version, "gone": "v"}
    delta.request(CLUSTER, claims=claims)
    current = snapshot(same, changed, new)
    assert delta.settle(current) == [Said("CDS", ["changed", "new"], []), Said("CDS", [], ["gone"])]
    assert delta.settle(current) == []


def test_rule_34_what_the_client_claims_is_held_and_goes_when_it_goes(delta: DeltaPeer) -> None:
    delta.request(CLUSTER, claims={"a": cluster("a").version})
    delta.settle(snapshot(cluster("a")))
    assert delta.settle(Snapshot()) == [Said("CDS", [], ["a"])]


def test_rule_34_what_is_gone_is_named_in_order(delta: DeltaPeer) -> None:
    names = [f"c{number:02}" for number in range(20)]
    delta.request(CLUSTER, claims=dict.fromkeys(reversed(names), "v"))
    assert delta.settle(Snapshot())[-1] == Said("CDS", [], names)


def test_rule_34_only_a_wildcard_gets_removals_of_names_that_it_did_not_ask_for(delta: DeltaPeer) -> None:
    delta.request(ENDPOINT, subscribe=["a"], claims={"a": "v", "another": "v"})
    assert delta.settle(snapshot(endpoints("a"))) == [Said("EDS", ["a"], [])]


def test_rule_34_a_deletion_waits_as_any_other(delta: DeltaPeer) -> None:
    delta.open(LISTENER)
    listeners = delta.next(snapshot(listener("l", "r")))
    delta.request(CLUSTER, claims={"gone": "v"})
    current = snapshot(listener("l", "r"))
    assert delta.flow(current) == [Said("CDS", [], [])]
    assert listeners is not None
    delta.ack(listeners)
    assert delta.settle(current) == [Said("CDS", [], ["gone"])]


def test_rule_34_a_name_that_comes_back_before_its_deletion_was_reported_is_not_deleted(
    delta: DeltaPeer,
) -> None:
    delta.open(LISTENER)
    listeners = delta.next(snapshot(listener("l", "r")))
    delta.request(CLUSTER, claims={"back": "v"})
    delta.flow(snapshot(listener("l", "r")))
    current = snapshot(listener("l", "r"), cluster("back"))
    assert delta.flow(current) == [Said("CDS", ["back"], [])]
    assert listeners is not None
    delta.ack(listeners)
    assert delta.settle(current) == []


def test_rule_34_what_a_client_claims_later_on_a_stream_is_ignored(delta: DeltaPeer) -> None:
    delta.open(CLUSTER)
    delta.settle(snapshot(cluster("a", 1)))
    delta.request(CLUSTER, claims={"a": cluster("a", 2).version, "b": "v"})
    assert delta.settle(snapshot(cluster("a", 2))) == [Said("CDS", ["a"], [])]


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_rule_35_the_first_wildcard_response_goes_out_even_if_empty(
    delta: DeltaPeer, type_url: TypeUrl
) -> None:
    delta.open(type_url)
    assert [said[1:] for said in delta.settle(Snapshot())] == [([], [])]
    assert delta.settle(Snapshot()) == []


def test_rule_35_also_if_the_client_has_everything(delta: DeltaPeer) -> None:
    delta.request(CLUSTER, claims={"a": cluster("a").version})
    assert delta.settle(snapshot(cluster("a"))) == [Said("CDS", [], [])]


def test_rule_36_no_names_and_a_star_open_the_same_wildcard(delta: DeltaPeer) -> None:
    delta.subscribe(CLUSTER)
    delta.subscribe(LISTENER, "*")
    current = snapshot(cluster("a"), listener("a", "r"), route("r"))
    assert delta.settle(current) == [Said("CDS", ["a"], []), Said("LDS", ["a"], [])]


def test_what_a_client_makes_the_process_keep_is_known(delta: DeltaPeer) -> None:
    names, absent = ("there", "not there"), ("not there",)
    delta.subscribe(ENDPOINT, *names)
    held = delta.machine.held(known_versions=False)
    assert ([each.name_bytes for each in held.sets], held.more) == ([size_of(names)], 0)
    current = snapshot(endpoints("there"))
    response = delta.machine.next(current)
    assert response is not None
    assert [each.name_bytes for each in delta.machine.held(known_versions=False).sets] == [
        size_of(names),
        size_of(absent),
    ]
    delta.request(ENDPOINT, nonce=response.nonce)
    assert [each.name_bytes for each in delta.machine.held(known_versions=False).sets] == [size_of(names)]


def test_claims_are_kept_until_there_is_a_snapshot_and_orphans_until_they_are_taken_away(
    delta: DeltaPeer,
) -> None:
    claims = {"gone": "1", "also gone": "2"}
    delta.request(CLUSTER, claims=claims)
    assert [delta.machine.held(known_versions=which).more for which in (False, True)] == [0, size_of(claims)]
    first = delta.machine.next(Snapshot())
    assert first is not None
    assert delta.machine.held(known_versions=False).more == size_of(claims)
    delta.request(CLUSTER, nonce=first.nonce)
    assert delta.machine.next(Snapshot()) is not None
    assert delta.machine.held(known_versions=True).more == 0
