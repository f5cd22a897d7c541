"""Rules 3 to 17 at the wire, in each variant: what `tests/unit/xds` says of the machines, a client sees."""

import pytest

from tests.unit.xds.peer import Said, cluster, endpoints, listener, route, secret
from tests.wire.client import REJECTION, Client, Served
from tests.wire.conftest import Start
from tests.wire.rig import Rig, node, resource
from tests.wire.test_ads import STUCK, Connect
from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.stream_events import Acked, Nacked, Sent, Subscribed, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

NAMED = [ENDPOINT, SECRET, ROUTE]


def one(type_url: TypeUrl, name: str, rev: int = 1) -> Resource:
    """A resource of the type."""
    return {
        CLUSTER: cluster(name, rev),
        ENDPOINT: endpoints(name, rev),
        SECRET: secret(name, rev),
        ROUTE: route(name, rev=rev),
    }[type_url]


async def test_rule_03_the_nonce_of_another_stream_acknowledges_nothing(
    served: Served, either: Client, variant: Variant
) -> None:
    served.now(cluster("a"), listener("l", "r"), route("r"))
    other = await served.client(variant)
    await other.subscribe(LISTENER)
    await either.subscribe(CLUSTER)
    await other.flow()
    await either.flow()
    await either.request(CLUSTER, nonce=other.latest[LISTENER].nonce)
    await either.ack(CLUSTER)
    nonce = either.latest[CLUSTER].nonce
    first = await served.rig.seen(Acked, lambda event: event.type_url == CLUSTER)
    assert first.nonce == nonce


async def test_rule_03_a_response_is_on_the_books_before_the_client_can_answer_it(
    served: Served, either: Client
) -> None:
    served.now(cluster("a"))
    await either.subscribe(CLUSTER)
    await either.flow()
    await either.ack(CLUSTER)
    acked = await served.rig.seen(Acked, lambda event: event.type_url == CLUSTER)
    kinds = [type(event) for event in served.rig.events if getattr(event, "nonce", "") == acked.nonce]
    assert kinds == [Sent, Acked]


async def test_rule_04_an_error_without_a_message_is_a_nack_and_a_version_is_none(
    served: Served, either: Client
) -> None:
    served.now(cluster("a", 1))
    await either.subscribe(CLUSTER)
    await either.flow()
    await either.nack(CLUSTER, message="")
    nacked = await served.rig.seen(Nacked)
    assert (nacked.nonce, nacked.message) == (either.latest[CLUSTER].nonce, "")
    served.now(cluster("a", 2))
    await either.flow()
    nonce = either.latest[CLUSTER].nonce
    await either.request(CLUSTER, nonce=nonce, version="an older one")
    await served.rig.seen(Acked, lambda event: event.nonce == nonce)
    assert served.rig.count(Nacked) == 1


async def test_rule_05_a_nack_resends_nothing_until_the_content_changes(
    served: Served, either: Client
) -> None:
    served.now(cluster("a", 1))
    await either.subscribe(CLUSTER)
    await either.flow()
    await either.nack(CLUSTER)
    assert (await served.rig.seen(Nacked)).message == REJECTION
    assert await either.flow() == []
    served.now(cluster("a", 2))
    assert await either.flow() == [Said("CDS", ["a"], [])]


@pytest.mark.parametrize("type_url", NAMED)
async def test_rule_05_a_subscription_in_a_nack_counts(
    served: Served, either: Client, type_url: TypeUrl
) -> None:
    served.now(one(type_url, "a"), one(type_url, "b"))
    await either.subscribe(type_url, "a")
    await either.flow()
    await either.nack(type_url, "b")
    assert [said.resources for said in await either.flow()] == [["b"]]


async def test_rule_06_nothing_is_sent_without_a_change(served: Served, either: Client) -> None:
    world = (cluster("a"), endpoints("a"), secret("s"), listener("l", "r"), route("r", "a"))
    served.now(*world)
    for type_url, names in (
        (CLUSTER, []),
        (LISTENER, []),
        (ENDPOINT, ["a"]),
        (SECRET, ["s"]),
        (ROUTE, ["r"]),
    ):
        await either.subscribe(type_url, *names)
    assert {said.type for said in await either.settle()} == {"CDS", "EDS", "SDS", "LDS", "RDS"}
    served.now(*world)
    assert await either.flow() == []


@pytest.mark.parametrize("type_url", [*NAMED, CLUSTER])
async def test_rule_07_a_name_that_does_not_exist_is_sent_when_it_appears(
    served: Served, either: Client, type_url: TypeUrl
) -> None:
    await either.subscribe(type_url, "a")
    assert not any(said.resources for said in await either.settle())
    served.now(one(type_url, "a"))
    assert [said.resources for said in await either.settle()] == [["a"]]


async def test_rule_08_no_names_means_everything_at_first_and_nothing_later(
    served: Served, either: Client
) -> None:
    world = (cluster("a"), listener("l", "r"), listener("m", "r"), route("r"), endpoints("a"))
    served.now(*world)
    await either.subscribe(LISTENER)
    await either.subscribe(ENDPOINT)
    await either.subscribe(CLUSTER, "a")
    assert sorted(await either.settle()) == [Said("CDS", ["a"], []), Said("LDS", ["l", "m"], [])]
    await either.unsubscribe(CLUSTER, "a")
    assert not any(said.resources for said in await either.settle())
    served.now(*world[1:], cluster("a", 2), cluster("b"))
    assert not any(said.resources for said in await either.settle())


async def test_rule_09_a_star_and_names_coexist_until_the_star_is_dropped(
    served: Served, either: Client
) -> None:
    served.now(cluster("a"), cluster("b"))
    await either.subscribe(CLUSTER, "*", "a")
    assert await either.settle() == [Said("CDS", ["a", "b"], [])]
    await either.unsubscribe(CLUSTER, "*")
    await either.settle()
    served.now(cluster("a", 2), cluster("b", 2))
    assert await either.settle() == [Said("CDS", ["a"], [])]


@pytest.mark.parametrize("type_url", NAMED)
async def test_rule_10_a_name_that_is_subscribed_again_is_sent_again(
    served: Served, either: Client, type_url: TypeUrl
) -> None:
    served.now(one(type_url, "a"), one(type_url, "b"))
    await either.subscribe(type_url, "a", "b")
    await either.settle()
    await either.unsubscribe(type_url, "a")
    assert await either.settle() == []
    await either.subscribe(type_url, "a")
    assert [said.resources for said in await either.settle()] == [["a"]]


async def _follow(client: Client) -> None:
    """Ask for everything that the tests of the order serve; the order of the requests must not matter."""
    await client.subscribe(ROUTE, "r")
    await client.subscribe(LISTENER)
    await client.subscribe(SECRET, "old", "new")
    await client.subscribe(ENDPOINT, "old", "new")
    await client.subscribe(CLUSTER)


async def test_rule_11_what_is_needed_comes_before_what_needs_it(served: Served, either: Client) -> None:
    await _follow(either)
    await served.rig.seen(Subscribed, lambda event: event.type_url == CLUSTER)
    served.now(cluster("old"), endpoints("old"), secret("old"), listener("l", "r"), route("r", "old"))
    said = [each.type for each in await either.flow() if each.resources]
    assert said == ["CDS", "EDS", "SDS", "LDS", "RDS"]


async def test_rule_11_what_goes_waits_for_what_may_need_it(served: Served, either: Client) -> None:
    plain = cluster("old")
    using = Resource(plain.key, plain.body, (*plain.refs, secret("old").key))
    old = (using, endpoints("old"), secret("old"), listener("l", "r"))
    served.now(*old, route("r", "old"))
    await _follow(either)
    await either.settle()
    served.now(cluster("new"), endpoints("new"), secret("new"), listener("l", "r"), route("r", "new", rev=2))
    first = await either.flow()
    assert not any(said.removed for said in first)
    # In state of the world what is on its way out stays in the clusters until then.
    assert first[0] == Said("CDS", ["new"] if either.variant is Variant.DELTA else ["new", "old"], [])
    await either.ack(CLUSTER)
    assert await either.flow() == []
    await either.ack(ENDPOINT)  # with it the new cluster is warm (rule 41)
    assert await either.flow() == [Said("RDS", ["r"], [])]
    await either.ack(ROUTE)
    gone = await either.settle()
    if either.variant is Variant.DELTA:
        assert gone == [Said(short, [], ["old"]) for short in ("SDS", "EDS", "CDS")]
    else:
        assert gone == [Said("CDS", ["new"], [])]


async def test_rule_12_nothing_new_waits_for_an_acknowledgement(served: Served, either: Client) -> None:
    served.now(cluster("old"), endpoints("old"), listener("l", "r"), route("r", "old"))
    await _follow(either)
    assert {said.type for said in await either.flow() if said.resources} == {"CDS", "EDS", "LDS", "RDS"}
    served.now(cluster("old", 2), endpoints("old", 2), listener("l", "r", 2), route("r", "old", rev=2))
    said = await either.flow()
    assert [each.type for each in said if each.resources] == ["CDS", "EDS", "LDS", "RDS"]


async def test_rule_13_a_changed_cluster_gets_its_assignment_again(served: Served, either: Client) -> None:
    same = (cluster("b"), endpoints("a"), endpoints("b"))
    served.now(cluster("a", 1), *same)
    await either.subscribe(CLUSTER)
    await either.subscribe(ENDPOINT, "a", "b")
    await either.settle()
    served.now(cluster("a", 2), *same)
    said = await either.flow()
    assert [each.type for each in said] == ["CDS", "EDS"]
    assert said[1].resources == ["a"]


@pytest.mark.parametrize("type_url", NAMED)
async def test_rule_14_the_first_request_is_answered_whatever_the_client_claims_to_hold(
    rig: Rig, connect: Connect, variant: Variant, type_url: TypeUrl
) -> None:
    held = resource(type_url, "a", b"a")
    version = rig.commit(held).of(type_url).version
    stream = connect()
    message = stream.message(type_url, "a")
    message.node.CopyFrom(node())
    if variant is Variant.SOTW:
        message.version_info = version
    else:
        message.initial_resource_versions["a"] = held.version
    await stream.raw(message.SerializeToString())
    response = await stream.take()
    assert (response.type_url, len(response.resources)) == (type_url, 1)


async def test_rule_16_a_replica_that_was_started_later_tells_the_same_versions(
    start: Start, variant: Variant
) -> None:
    replicas = [Served(await start()) for _ in range(2)]
    replicas[0].now(cluster("b"), cluster("c"), cluster("a", 9))
    versions = []
    for replica in replicas:
        client = await replica.client(variant)
        await client.subscribe(CLUSTER)
        await client.flow()
        replica.now(cluster("a"), cluster("b"))
        await client.settle()
        latest = client.latest[CLUSTER]
        versions.append(getattr(latest, "version_info", "") or getattr(latest, "system_version_info", ""))
    assert versions[0] == versions[1] != ""


@pytest.mark.usefixtures("large")
async def test_rule_17_what_is_no_longer_asked_for_is_not_sent_when_the_reader_can_take_it(
    rig: Rig, connect: Connect
) -> None:
    rig.commit(
        resource(CLUSTER, "a", b"0" * STUCK), resource(ENDPOINT, "a", b"a"), resource(ENDPOINT, "b", b"b")
    )
    slow = connect()
    await slow.ask(CLUSTER, node=node())
    await rig.seen(Sent, lambda sent: sent.size > STUCK)
    await slow.ask(ENDPOINT, "a", "b")
    message = slow.message(ENDPOINT)
    if slow.variant is Variant.SOTW:
        message.resource_names.append("b")
    else:
        message.resource_names_unsubscribe.append("a")
    await slow.raw(message.SerializeToString())
    await slow.ask(LISTENER)
    # Requests are read in order, also while the reader takes nothing.
    await rig.seen(Subscribed, lambda event: event.type_url == LISTENER)
    assert (await slow.take()).type_url == CLUSTER
    response = await slow.take()
    contents = [
        each.value if slow.variant is Variant.SOTW else each.resource.value for each in response.resources
    ]
    assert (response.type_url, contents) == (ENDPOINT, [b"b"])
