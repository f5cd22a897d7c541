"""The aggregated discovery service as a client sees it."""

import asyncio
import re
from collections.abc import Callable

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import PATIENCE_S, eventually
from tests.wire.conftest import Start
from tests.wire.rig import IDENTIFIER, NO_TEAM, Rig, Status, Stream, bodies, node, parse, resource
from xds_server.base.ids import NodeId
from xds_server.xds.stream_events import (
    Acked,
    Cause,
    Nacked,
    Node,
    Resumed,
    Sent,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Subscribed,
    Variant,
)
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

Connect = Callable[[], Stream]
MEGABYTE = 1 << 20
STUCK = 24 * MEGABYTE
"""More than gRPC and the kernel buffer for a client that does not read."""


def rejected(sentence: str) -> Status:
    return Status(grpc.StatusCode.INVALID_ARGUMENT, sentence)


async def test_rule_01_a_first_request_without_a_node_is_rejected(rig: Rig, connect: Connect) -> None:
    stream = connect()
    await stream.ask(CLUSTER)
    status = await stream.status()
    assert status == rejected("the first request of a stream has no node; set node.id in the bootstrap")
    # Nobody was there, so no stream was opened. The event may come after the client's status.
    await eventually(lambda: rig.events, what="an event")
    [event] = rig.events
    assert isinstance(event, StreamDenied)
    assert event.cause is Cause.INVALID


async def test_rule_01_later_requests_need_no_node_and_may_have_one(rig: Rig, connect: Connect) -> None:
    rig.commit(resource(CLUSTER, "a", b"a"), resource(ENDPOINT, "a", b"a"), resource(LISTENER, "a", b"a"))
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    assert bodies(await stream.take()) == {"a": b"a"}
    await stream.ask(ENDPOINT, "a")
    assert bodies(await stream.take()) == {"a": b"a"}
    await stream.ask(LISTENER, node=node("another", locality="moved"))
    assert bodies(await stream.take()) == {"a": b"a"}
    assert rig.count(StreamOpened) == 1


async def test_rule_02_an_empty_type_is_rejected(rig: Rig, connect: Connect) -> None:
    stream = connect()
    await stream.ask("", node=node())
    sentence = "type_url is empty, and an aggregated stream has no default type"
    assert await stream.status() == rejected(sentence)
    closed = await rig.seen(StreamClosed)
    assert (closed.reason, closed.cause) == (sentence, Cause.INVALID)


async def test_rule_02_an_unknown_type_leaves_the_stream_open(rig: Rig, connect: Connect) -> None:
    rig.commit(resource(CLUSTER, "a", b"a"))
    stream = connect()
    await stream.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime", node=node())
    await stream.ask(CLUSTER)
    assert (await stream.take()).type_url == CLUSTER


async def test_garbage_is_rejected(rig: Rig, connect: Connect) -> None:
    stream = connect()
    await stream.raw(b"\xff\xff\xff")
    status = await stream.status()
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    assert re.match("the request is not a (Delta)?DiscoveryRequest: ", status.details)
    await eventually(lambda: [type(event) for event in rig.events] == [StreamDenied])


async def test_garbage_ends_a_stream_that_was_good(rig: Rig, connect: Connect) -> None:
    rig.commit()
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    await stream.take()
    await stream.raw(b"\xff\xff\xff")
    assert (await stream.status()).code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the request is not" in (await rig.seen(StreamClosed)).reason


async def test_a_node_without_a_view_gets_the_reason(connect: Connect) -> None:
    stream = connect()
    await stream.ask(CLUSTER, node=node(team=7))
    assert await stream.status() == rejected(NO_TEAM)


async def test_metadata_that_json_cannot_express_is_rejected(connect: Connect) -> None:
    stream = connect()
    await stream.ask(CLUSTER, node=node(team=float("inf")))
    status = await stream.status()
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    assert status.details.startswith("node.metadata cannot be read")


async def test_the_first_request_says_who_is_there(rig: Rig, connect: Connect, variant: Variant) -> None:
    await connect().ask(CLUSTER, node=node("envoy-1", team="red", zones=["a", "b"]))
    opened = await rig.seen(StreamOpened)
    assert opened.node == Node(
        id=NodeId("envoy-1"),
        cluster="edge",
        build="envoy 1.40.2",
        release=(1, 40),
    )
    assert opened.variant is variant
    assert opened.peer.startswith("ipv4:127.0.0.1:")


async def test_a_client_that_does_not_say_what_it_is_has_no_build(rig: Rig, connect: Connect) -> None:
    anonymous = node()
    anonymous.user_agent_name = ""
    await connect().ask(CLUSTER, node=anonymous)
    assert (await rig.seen(StreamOpened)).node.build == ""


async def test_rule_15_nothing_is_served_before_the_first_commit(rig: Rig, connect: Connect) -> None:
    early = connect()
    await early.ask(CLUSTER, node=node())
    await rig.seen(StreamOpened)
    # A whole exchange on another stream: time enough for a response, if there were one.
    other = connect()
    await other.ask("", node=node())
    await other.status()
    assert rig.count(Sent) == 0
    rig.commit(resource(CLUSTER, "a", b"a"))
    assert bodies(await early.take()) == {"a": b"a"}


async def test_rule_23_responses_parse_and_say_who_sent_them(
    rig: Rig, connect: Connect, variant: Variant
) -> None:
    contents = [resource(CLUSTER, name, name.encode() * size) for name, size in (("a", 1), ("b", 200))]
    empty = resource(CLUSTER, "c")
    snapshot = rig.commit(*contents, empty)
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    raw = await stream.take_raw()
    parsed = parse(raw, variant)
    assert parsed.SerializeToString(deterministic=True) == raw
    assert parsed.control_plane.identifier == IDENTIFIER
    assert parsed.type_url == CLUSTER
    anys = [each if variant is Variant.SOTW else each.resource for each in parsed.resources]
    assert [(each.type_url, each.value) for each in anys] == [
        (CLUSTER, each.body) for each in (*contents, empty)
    ]
    version = parsed.version_info if variant is Variant.SOTW else parsed.system_version_info
    assert version == snapshot.of(CLUSTER).version


async def test_rule_06_a_commit_pushes_only_what_changed(
    rig: Rig, connect: Connect, variant: Variant
) -> None:
    same = resource(ENDPOINT, "same", b"same")
    rig.commit(same, resource(ENDPOINT, "moves", b"one"), resource(LISTENER, "l", b"l"))
    stream = connect()
    await stream.ask(ENDPOINT, "same", "moves", node=node())
    first = await stream.take()
    await stream.ask(ENDPOINT, *_listed(variant, "same", "moves"), answers=first)
    await stream.ask(LISTENER)
    await stream.take()
    rig.commit(same, resource(ENDPOINT, "moves", b"two"), resource(LISTENER, "l", b"l"))
    rig.commit(same, resource(ENDPOINT, "moves", b"three"), resource(LISTENER, "l", b"l"))
    latest = await stream.take()
    assert latest.type_url == ENDPOINT
    assert [*bodies(latest).values()] == [b"three"]
    # Nothing else was on its way: the next response is the next commit's.
    rig.commit(same, resource(ENDPOINT, "moves", b"four"), resource(LISTENER, "l", b"l"))
    assert [*bodies(await stream.take()).values()] == [b"four"]


def _listed(variant: Variant, *names: str) -> tuple[str, ...]:
    """What a request that changes nothing must list."""
    return names if variant is Variant.SOTW else ()


async def test_nodes_with_different_views_get_different_resources(rig: Rig, connect: Connect) -> None:
    rig.commit()
    red, blue, plain = connect(), connect(), connect()
    for stream, who in ((red, node(team="red")), (blue, node(team="blue")), (plain, node())):
        await stream.ask(LISTENER, node=who)
    assert bodies(await red.take()) == {"red": b"red"}
    assert bodies(await blue.take()) == {"blue": b"blue"}
    assert bodies(await plain.take()) == {}


async def test_a_bug_in_one_view_ends_its_streams_alone(rig: Rig, connect: Connect) -> None:
    rig.commit(resource(CLUSTER, "a", b"a"))
    haunted, sound = connect(), connect()
    await haunted.ask(CLUSTER, node=node(team="haunted"))
    assert (await haunted.status()).code is grpc.StatusCode.UNKNOWN
    await sound.ask(CLUSTER, node=node())
    assert bodies(await sound.take()) == {"a": b"a"}


async def test_a_view_that_fails_later_leaves_its_nodes_on_what_they_have(rig: Rig, connect: Connect) -> None:
    rig.commit(resource(CLUSTER, "a", b"a"))
    haunted, sound = connect(), connect()
    await haunted.ask(CLUSTER, node=node(team="later"))
    await sound.ask(CLUSTER, node=node())
    assert bodies(await haunted.take()) == bodies(await sound.take()) == {"a": b"a"}
    with pytest.raises(ExceptionGroup, match="views"):
        rig.commit(resource(CLUSTER, "ghost", b"1"), resource(CLUSTER, "a", b"a"))
    assert b"1" in bodies(await sound.take()).values()
    rig.commit(resource(CLUSTER, "a", b"b"))
    assert list(bodies(await haunted.take()).values()) == [b"b"]


async def test_what_is_sent_accepted_and_rejected_is_observed(
    rig: Rig, connect: Connect, variant: Variant
) -> None:
    snapshot = rig.commit(resource(CLUSTER, "a", b"a"), resource(CLUSTER, "b", b"b"))
    version = snapshot.of(CLUSTER).version
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    raw = await stream.take_raw()
    opened = await rig.seen(StreamOpened)
    first = await rig.seen(Sent)
    assert first == Sent(
        stream=opened.stream,
        type_url=CLUSTER,
        version=version,
        nonce=first.nonce,
        resources=2,
        removed=0,
        size=len(raw),
    )
    await stream.ask(CLUSTER, answers=first)
    acked = await rig.seen(Acked)
    assert (acked.stream, acked.version, acked.nonce) == (opened.stream, version, first.nonce)
    rig.commit(resource(CLUSTER, "a", b"c"))
    second = await stream.take()
    await stream.ask(CLUSTER, answers=second, error="no, thank you")
    nacked = await rig.seen(Nacked)
    assert (nacked.nonce, nacked.message) == (second.nonce, "no, thank you")
    # "b" is gone: SotW says so with what is left, delta by name.
    third = await stream.take()
    last = await rig.seen(Sent, lambda sent: sent.nonce == third.nonce)
    assert (last.resources, last.removed) == ((1, 0) if variant is Variant.SOTW else (0, 1))
    await stream.finish()
    closed = await rig.seen(StreamClosed)
    assert (closed.stream, closed.node, closed.cause) == (opened.stream, opened.node.id, Cause.CLIENT)
    assert closed.reason == "ended by the client, or its connection was lost; last request 0 s ago"
    assert (await stream.status()).code is grpc.StatusCode.OK


async def test_a_subscription_to_a_type_is_observed_once_whether_it_is_answered_or_not(
    rig: Rig, connect: Connect
) -> None:
    stream = connect()
    await stream.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime", node=node())
    await stream.ask(ENDPOINT, "a")
    await stream.ask(ENDPOINT, "a", "b")
    await stream.ask(CLUSTER)
    await rig.seen(Subscribed, lambda asked: asked.type_url == CLUSTER)
    reported = [event.type_url for event in rig.events if isinstance(event, Subscribed)]
    assert reported == [ENDPOINT, CLUSTER]


async def test_a_client_that_vanishes_is_noticed(rig: Rig, connect: Connect) -> None:
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    opened = await rig.seen(StreamOpened)
    stream.cancel()
    assert (await rig.seen(StreamClosed)).stream == opened.stream


async def test_rule_30_a_client_that_holds_everything_is_sent_nothing_and_counted(rig: Rig) -> None:
    version = rig.commit(resource(CLUSTER, "a", b"a")).of(CLUSTER).version
    stream = rig.connect(Variant.SOTW)
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, version_info=version, node=node())
    await stream.raw(request.SerializeToString())
    assert (await rig.seen(Resumed)).version == version
    assert rig.count(Sent) == 0


async def test_a_closed_stream_is_woken_no_more(rig: Rig, connect: Connect) -> None:
    rig.commit()
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    await stream.take()
    assert len(rig.servicer._distribution) == len(rig.cache._views) == 1
    await stream.finish()
    await rig.seen(StreamClosed)
    assert not rig.servicer._distribution
    assert not rig.cache._views


@pytest.mark.usefixtures("large")
async def test_rule_18_a_slow_reader_delays_no_other_stream_and_then_gets_the_latest(
    rig: Rig, connect: Connect
) -> None:
    slow, quick = connect(), connect()
    rig.commit(resource(CLUSTER, "a", b"0" * STUCK), resource(LISTENER, "l", b"0"))
    await slow.ask(CLUSTER, node=node("slow"))
    await rig.seen(Sent, lambda sent: sent.size > STUCK)
    await quick.ask(LISTENER, node=node("quick"))
    assert bodies(await quick.take()) == {"0" if quick.variant is Variant.SOTW else "l": b"0"}
    for body in (b"1", b"2", b"3"):
        rig.commit(resource(CLUSTER, "a", body * STUCK), resource(LISTENER, "l", body))
        assert [*bodies(await quick.take()).values()] == [body]
    contents = [next(iter(bodies(await slow.take()).values())) for _ in range(2)]
    assert [(content[:1], len(content)) for content in contents] == [(b"0", STUCK), (b"3", STUCK)]


@pytest.mark.usefixtures("large")
async def test_rule_18_a_reader_that_takes_nothing_is_dropped(start: Start, variant: Variant) -> None:
    rig = await start(write_deadline_s=0.2)
    rig.commit(resource(CLUSTER, "a", b"0" * STUCK))
    stream = rig.connect(variant)
    await stream.ask(CLUSTER, node=node())
    closed = await rig.seen(StreamClosed)
    assert (closed.reason, closed.cause) == ("the client took nothing for 0.2 s", Cause.SLOW)
    # It is given and asked nothing more, and when it reads on, it learns that it must connect anew.
    rig.commit(resource(CLUSTER, "a", b"1" * STUCK))
    await stream.ask(CLUSTER, answers=await rig.seen(Sent))
    await stream.take_raw()
    assert await stream.status() == Status(
        grpc.StatusCode.DEADLINE_EXCEEDED, "the client took nothing for 0.2 s"
    )
    assert (rig.count(Sent), rig.count(Acked), rig.count(StreamClosed)) == (1, 0, 1)


async def test_rule_18_a_reader_in_time_is_not_dropped(start: Start, variant: Variant) -> None:
    rig = await start(write_deadline_s=0.5)
    rig.commit(resource(CLUSTER, "a", b"0"))
    stream = rig.connect(variant)
    await stream.ask(CLUSTER, node=node())
    await stream.take()
    loop = asyncio.get_running_loop()
    passed = asyncio.Event()
    loop.call_later(0.6, passed.set)
    await passed.wait()
    rig.commit(resource(CLUSTER, "a", b"1"))
    assert [*bodies(await stream.take()).values()] == [b"1"]


@pytest.mark.usefixtures("large")
async def test_rule_19_messages_larger_than_four_megabytes_pass_both_ways(rig: Rig, connect: Connect) -> None:
    names = [f"{number:0>1000}" for number in range(5000)]
    rig.commit(resource(ENDPOINT, names[0], b"x" * (5 * MEGABYTE)), resource(ROUTE, "r", b"r"))
    stream = connect()
    await stream.ask(ENDPOINT, *names, node=node())
    response = await stream.take()
    assert [len(body) for body in bodies(response).values()] == [5 * MEGABYTE]
    await stream.ask(ENDPOINT, *names, answers=response)
    assert (await rig.seen(Acked)).nonce == response.nonce


async def test_rule_21_draining_ends_the_streams_one_after_another(rig: Rig, connect: Connect) -> None:
    rig.commit(resource(CLUSTER, "a", b"a"))
    streams = []
    for _ in range(3):  # opened one after the other, so that their order is known
        streams.append(connect())
        await streams[-1].ask(CLUSTER, node=node())
        await streams[-1].take()
    spread = asyncio.create_task(rig.servicer.drain(3600))
    assert (await streams[0].status()).code is grpc.StatusCode.OK
    await rig.seen(StreamClosed)
    # The next one's turn comes in twenty minutes.
    assert (rig.count(StreamClosed), len(rig.servicer._streams)) == (1, 2)
    spread.cancel()
    await rig.servicer.drain(0)
    for stream in streams[1:]:
        assert (await stream.status()).code is grpc.StatusCode.OK
    await rig.seen(StreamClosed, lambda _: rig.count(StreamClosed) == len(streams))
    reasons = {(event.reason, event.cause) for event in rig.events if isinstance(event, StreamClosed)}
    assert reasons == {("the server is shutting down", Cause.SHUTDOWN)}


async def test_rule_21_draining_an_idle_server_takes_no_time(rig: Rig) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await rig.servicer.drain(3600)


@pytest.mark.parametrize("ended", ["streams", "none"])
async def test_no_task_is_left(rig: Rig, connect: Connect, ended: str) -> None:
    """The fixture checks it, after the server was stopped under open and closed streams alike."""
    rig.commit(resource(CLUSTER, "a", b"a"))
    stream = connect()
    await stream.ask(CLUSTER, node=node())
    await stream.take()
    assert "xds-shadow/ads-read-1" in {task.get_name() for task in asyncio.all_tasks()}
    if ended == "streams":
        stream.cancel()
        await rig.seen(StreamClosed)
