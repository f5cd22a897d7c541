"""The rules that hold in both variants."""

import pytest

from tests.unit.xds.peer import (
    REJECTION,
    STREAM,
    DeltaPeer,
    Peer,
    Said,
    SotwPeer,
    cluster,
    endpoints,
    host,
    listener,
    peer,
    route,
    says,
    secret,
    snapshot,
)
from xds_server.base.errors import RequestError
from xds_server.base.ids import TypeUrl
from xds_server.xds.answers import MAX_UNANSWERED
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Response
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, Nacked, Variant
from xds_server.xds.types import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SECRET,
    SHORT_NAMES,
    VIRTUAL_HOST,
)

NOTHING = Snapshot()
EVERYTHING = (cluster("a"), endpoints("a"), secret("a"), listener("a", "a"), route("a"), host("a"))


def pushed(to: Peer, current: Snapshot) -> Response:
    """The next response, which there must be."""
    response = to.next(current)
    assert response is not None
    return response


def test_rule_02_a_request_without_a_type_ends_the_stream(either: Peer) -> None:
    with pytest.raises(RequestError, match="type_url is empty"):
        either.subscribe(TypeUrl(""))


def test_rule_02_an_unknown_type_gets_nothing_and_harms_nothing(either: Peer) -> None:
    unknown = TypeUrl("type.googleapis.com/envoy.service.runtime.v3.Runtime")
    assert either.subscribe(unknown, "a") == []
    assert either.subscribe(unknown, "b") == []
    either.open(CLUSTER)
    assert either.settle(snapshot(cluster("a"))) == [Said("CDS", ["a"], [])]


def test_rule_03_no_stream_sees_a_nonce_twice(either: Peer) -> None:
    current = snapshot(cluster("a"), listener("l", "r"))
    either.open(CLUSTER, LISTENER)
    nonces = [pushed(either, current).nonce, pushed(either, current).nonce]
    for _ in range(3):  # the very same again
        either.unsubscribe(CLUSTER, "*")
        either.subscribe(CLUSTER, "a")
        nonces.append(pushed(either, current).nonce)
        either.unsubscribe(CLUSTER, "a")
        either.subscribe(CLUSTER, "*")
        nonces.append(pushed(either, current).nonce)
    assert len(set(nonces)) == len(nonces)


def test_streams_that_are_sent_the_same_share_the_response(either: Peer) -> None:
    current = snapshot(cluster("a"))
    other = peer(either.variant)
    either.open(CLUSTER)
    other.open(CLUSTER)
    one, two = pushed(either, current), pushed(other, current)
    assert one == two
    assert one.batch is two.batch


def test_rule_03_an_ack_names_the_version_of_the_response_that_it_is_for(either: Peer) -> None:
    either.open(CLUSTER)
    first = pushed(either, snapshot(cluster("a", 1)))
    second = pushed(either, snapshot(cluster("a", 2)))
    assert first.version != second.version
    for response in (first, second):
        assert either.ack(response) == [
            Acked(stream=STREAM, type_url=CLUSTER, version=response.version, nonce=response.nonce)
        ]


def test_rule_03_an_ack_settles_the_responses_before_it(either: Peer) -> None:
    either.open(CLUSTER)
    first = pushed(either, snapshot(cluster("a", 1)))
    second = pushed(either, snapshot(cluster("a", 2)))
    assert len(either.ack(second)) == 1
    assert either.ack(first) == []


def test_rule_04_a_nack_is_a_request_with_an_error_whatever_its_message(either: Peer) -> None:
    either.open(CLUSTER)
    response = pushed(either, snapshot(cluster("a")))
    nacked = Nacked(
        stream=STREAM, type_url=CLUSTER, version=response.version, nonce=response.nonce, message=REJECTION
    )
    assert either.nack(response) == [nacked]


def test_rule_04_an_error_without_a_message_is_a_nack(sotw: SotwPeer, delta: DeltaPeer) -> None:
    for each in (sotw, delta):
        each.open(CLUSTER)
        nonce = pushed(each, snapshot(cluster("a"))).nonce
        events = each.request(CLUSTER, nonce=nonce, error="")
        assert [type(event) for event in events] == [Nacked]


def test_rule_04_an_old_version_without_an_error_is_an_ack(sotw: SotwPeer) -> None:
    sotw.open(CLUSTER)
    response = pushed(sotw, snapshot(cluster("a")))
    sotw.nonces[CLUSTER] = response.nonce
    sotw.versions[CLUSTER] = "an older one"
    assert [type(event) for event in sotw.request(CLUSTER)] == [Acked]


def test_rule_05_a_nack_resends_nothing(either: Peer) -> None:
    either.open(CLUSTER)
    bad = snapshot(cluster("a"))
    either.nack(pushed(either, bad))
    assert either.next(bad) is None
    # The same content in a snapshot made anew is the same content.
    assert either.next(snapshot(cluster("a"))) is None


def test_rule_05_a_rejected_resource_is_sent_when_its_content_changes(either: Peer) -> None:
    either.open(CLUSTER)
    either.nack(pushed(either, snapshot(cluster("a", 1))))
    assert either.flow(snapshot(cluster("a", 2))) == [Said("CDS", ["a"], [])]


def test_rule_05_a_subscription_that_a_nack_carries_counts(either: Peer) -> None:
    current = snapshot(endpoints("a"), endpoints("b"))
    either.open(ENDPOINT, names=["a"])
    either.nack(pushed(either, current), also=["b"])
    assert either.flow(current) == [Said("EDS", ["b"], [])]


def test_rule_06_nothing_is_sent_without_a_change(either: Peer) -> None:
    def current() -> Snapshot:
        return snapshot(cluster("a"), endpoints("a"), listener("l", "r"), route("r", "a"))

    either.open(CLUSTER, LISTENER)
    either.open(ENDPOINT, names=["a"])
    either.open(ROUTE, names=["r"])
    assert len(either.settle(current())) == 4
    assert either.settle(current()) == []


def test_rule_06_a_change_of_what_is_not_subscribed_is_not_sent(either: Peer) -> None:
    either.open(ENDPOINT, names=["a"])
    either.settle(snapshot(endpoints("a"), endpoints("b", 1)))
    assert either.settle(snapshot(endpoints("a"), endpoints("b", 2))) == []


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_rule_06_going_back_to_the_very_snapshot_of_before_is_a_change(
    either: Peer, type_url: TypeUrl
) -> None:
    before, between = snapshot(), snapshot(cluster("a"), listener("a", "r"))
    either.open(type_url)
    either.settle(before)
    # One response only: the machine is not asked again until the snapshot is the old one.
    pushed(either, between)
    back = pushed(either, before)
    assert back.removed == (("a",) if either.variant is Variant.DELTA else ())
    assert back.resources == ()


def test_rule_06_a_response_names_a_resource_once(either: Peer) -> None:
    either.subscribe(CLUSTER, "*", "a", "a")
    assert either.settle(snapshot(cluster("a"), cluster("b"))) == [Said("CDS", ["a", "b"], [])]


@pytest.mark.parametrize("type_url", [ENDPOINT, CLUSTER])
def test_rule_07_a_name_that_does_not_exist_is_sent_when_it_appears(either: Peer, type_url: TypeUrl) -> None:
    either.subscribe(type_url, "a")
    either.settle(NOTHING)
    assert [said.resources for said in either.settle(snapshot(endpoints("a"), cluster("a")))] == [["a"]]


def test_rule_07_a_name_that_went_is_sent_when_it_comes_again(either: Peer) -> None:
    either.open(ENDPOINT, names=["a"])
    for current in (snapshot(endpoints("a")), NOTHING):
        either.settle(current)
    assert either.settle(snapshot(endpoints("a"))) == [Said("EDS", ["a"], [])]


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_rule_08_no_names_at_first_means_everything(either: Peer, type_url: TypeUrl) -> None:
    current = snapshot(cluster("a"), cluster("b"), listener("a", "r"), listener("b", "r"))
    either.subscribe(type_url)
    assert [said.resources for said in either.settle(current)] == [["a", "b"]]


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE])
def test_rule_08_no_names_is_no_wildcard_for_assignments_and_routes(either: Peer, type_url: TypeUrl) -> None:
    either.subscribe(type_url)
    assert either.settle(snapshot(endpoints("a"), route("a"))) == []


def test_rule_08_no_names_means_none_once_there_was_one(either: Peer) -> None:
    either.subscribe(CLUSTER, "a")
    either.settle(snapshot(cluster("a")))
    either.unsubscribe(CLUSTER, "a")
    assert either.settle(snapshot(cluster("a", 2), cluster("b"))) == []


def test_rule_09_a_star_and_names_coexist(either: Peer) -> None:
    either.subscribe(CLUSTER, "*", "a")
    assert either.settle(snapshot(cluster("a"), cluster("b"))) == [Said("CDS", ["a", "b"], [])]
    either.unsubscribe(CLUSTER, "*")
    assert either.settle(snapshot(cluster("a"), cluster("b", 2), cluster("c"))) == []
    assert either.settle(snapshot(cluster("a", 2), cluster("b", 2))) == [Said("CDS", ["a"], [])]


def test_rule_09_a_star_may_join_names_later(either: Peer) -> None:
    current = snapshot(cluster("a"), cluster("b"))
    either.subscribe(CLUSTER, "a")
    assert either.settle(current) == [Said("CDS", ["a"], [])]
    either.subscribe(CLUSTER, "*")
    assert [name for said in either.settle(current) for name in said.resources if name != "a"] == ["b"]


def test_rule_10_a_name_that_is_subscribed_again_is_sent_again(either: Peer) -> None:
    current = snapshot(endpoints("a"), endpoints("b"))
    either.open(ENDPOINT, names=["a", "b"])
    either.settle(current)
    either.unsubscribe(ENDPOINT, "a")
    assert either.settle(current) == []
    either.subscribe(ENDPOINT, "a")
    assert either.settle(current) == [Said("EDS", ["a"], [])]


def test_rule_10_also_when_both_come_before_the_machine_is_asked(either: Peer) -> None:
    current = snapshot(endpoints("a"))
    either.open(ENDPOINT, names=["a"])
    either.settle(current)
    either.unsubscribe(ENDPOINT, "a")
    either.subscribe(ENDPOINT, "a")
    assert either.settle(current) == [Said("EDS", ["a"], [])]


def test_rule_13_a_changed_cluster_gets_its_assignment_again(either: Peer) -> None:
    either.open(CLUSTER)
    either.open(ENDPOINT, names=["a", "b"])
    same = (cluster("b"), endpoints("a"), endpoints("b"))
    either.settle(snapshot(cluster("a", 1), *same))
    said = either.flow(snapshot(cluster("a", 2), *same))
    assert [each.type for each in said] == ["CDS", "EDS"]
    assert said[1] == Said("EDS", ["a"], [])


def test_rule_13_an_unsubscribed_assignment_is_not_sent_with_its_cluster(either: Peer) -> None:
    either.open(CLUSTER)
    either.open(ENDPOINT, names=["b"])
    either.settle(snapshot(cluster("a", 1), endpoints("a")))
    assert [said.type for said in either.flow(snapshot(cluster("a", 2), endpoints("a")))] == ["CDS"]


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE])
def test_rule_14_the_first_request_of_a_stream_is_answered_whatever_the_client_holds(
    sotw: SotwPeer, delta: DeltaPeer, type_url: TypeUrl
) -> None:
    held = endpoints("a") if type_url == ENDPOINT else route("a")
    current = snapshot(held)
    sotw.versions[type_url] = current.of(type_url).version
    sotw.subscribe(type_url, "a")
    delta.request(type_url, subscribe=["a"], claims={"a": held.version})
    for each in (sotw, delta):
        assert [said.resources for said in each.settle(current)] == [["a"]]


def test_rule_16_replicas_serve_the_same_versions_whatever_their_history(either: Peer) -> None:
    other = peer(either.variant)
    for each in (either, other):
        each.open(CLUSTER)
    straight = snapshot(cluster("a"), cluster("b"))
    detour = snapshot(cluster("b"), cluster("c"), cluster("a", 9)).updated([cluster("a")], [cluster("c").key])
    assert pushed(either, straight).version == pushed(other, detour).version


def test_rule_17_nothing_is_sent_for_a_subscription_that_has_ended(either: Peer) -> None:
    current = snapshot(endpoints("a"), endpoints("b"))
    either.open(ENDPOINT, names=["a", "b"])
    either.unsubscribe(ENDPOINT, "a")
    assert either.settle(current) == [Said("EDS", ["b"], [])]


def test_rule_18_a_slow_reader_gets_the_latest_state_alone(either: Peer) -> None:
    either.open(CLUSTER)
    either.settle(snapshot(cluster("a", 1)))
    # Revisions 2 to 8 come and go while the stream cannot take a message: the machine is not asked.
    latest = snapshot(cluster("a", 9))
    response = pushed(either, latest)
    assert says(response) == Said("CDS", ["a"], [])
    assert response.resources[0].body == cluster("a", 9).body
    assert either.next(latest) is None


def test_rule_18_what_a_client_never_answers_is_not_remembered_for_ever(either: Peer) -> None:
    either.open(CLUSTER)
    responses = [either.next(snapshot(cluster("a", rev))) for rev in range(1, MAX_UNANSWERED + 2)]
    assert None not in responses
    first, last = responses[0], responses[-1]
    assert first is not None
    assert last is not None
    assert either.ack(first) == []  # stale by now
    assert [type(event) for event in either.ack(last)] == [Acked]


def test_rule_05_an_ack_of_another_resource_says_that_one_is_still_rejected(delta: DeltaPeer) -> None:
    delta.open(ROUTE, names=["a", "b"])
    bad = delta.next(snapshot(route("a")))
    assert bad is not None
    delta.nack(bad)
    other = delta.next(snapshot(route("a"), route("b")))
    assert other is not None
    (event,) = delta.ack(other)
    assert isinstance(event, Acked)
    assert event.rejecting
    good = delta.next(snapshot(route("a", rev=2), route("b")))
    assert good is not None
    (event,) = delta.ack(good)
    assert isinstance(event, Acked)
    assert not event.rejecting


@pytest.mark.parametrize("changed", EVERYTHING, ids=lambda each: SHORT_NAMES[each.key.type_url])
def test_rule_06_of_everything_only_what_changed_is_sent(delta: DeltaPeer, changed: Resource) -> None:
    delta.open(CLUSTER, LISTENER, VIRTUAL_HOST)
    for type_url in (ENDPOINT, SECRET, ROUTE):
        delta.open(type_url, names=["a", "b"])
    before = snapshot(*EVERYTHING, *(Resource(each.key._replace(name="b"), b"") for each in EVERYTHING))
    delta.settle(before)
    after = before.updated([Resource(changed.key, b"another", changed.refs)])
    expected = [Said(SHORT_NAMES[changed.key.type_url], ["a"], [])]
    if changed.key.type_url == CLUSTER:
        expected.append(Said("EDS", ["a"], []))  # rule 13
    assert delta.settle(after) == expected
    assert delta.settle(after) == []
