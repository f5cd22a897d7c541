"""Peers that mean harm: each learns why it may not go on, and a good client beside them has its pushes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import eventually
from tests.wire.rig import Rig, Status, Stream, no_tasks_left, node, resource, running
from xds_server.xds.admission import StreamLimits
from xds_server.xds.framing import field
from xds_server.xds.node import MAX_TEXT_BYTES
from xds_server.xds.outline import LONGEST_NAME, MAX_NAMES, MAX_OTHER_BYTES
from xds_server.xds.requests import MAX_REASON
from xds_server.xds.server_options import MAX_REQUEST_BYTES
from xds_server.xds.stream_events import (
    Cause,
    Nacked,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Subscribed,
    Variant,
)
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER

pytestmark = pytest.mark.parametrize("variant", list(Variant), ids=str)

MIB = 2**20
AT_ONCE = 500  # gRPC rejects by itself what waits to be accepted, from about a thousand on
EACH = 100
"""Streams that a connection carries: gRPC admits no more at once."""

SERVED = MAX_REQUEST_BYTES
"""The largest message that the server takes."""

TOO_MUCH = Status(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    f"more than {MAX_OTHER_BYTES:,} bytes besides the names in one request",
)


class Witness:
    """A good client beside the others."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._stream = rig.connect(Variant.DELTA)
        self._turn = 0

    async def is_served(self) -> None:
        """A change reaches it."""
        self._turn += 1
        self._rig.commit(resource(LISTENER, "witness", str(self._turn).encode()))
        first = self._turn == 1
        if first:
            await self._stream.ask(LISTENER, node=node("witness"))
        response = await self._stream.take()
        assert [each.resource.value for each in response.resources] == [str(self._turn).encode()]
        await self._stream.ask(LISTENER, answers=response)


@pytest.fixture
async def witness(rig: Rig) -> AsyncIterator[Witness]:
    """Is served before and after."""
    found = Witness(rig)
    await found.is_served()
    yield found
    await found.is_served()


async def rejected(rig: Rig, variant: Variant, *messages: bytes) -> Status:
    """How a stream ends that sends these after a good first request."""
    stream = rig.connect(variant)
    await stream.ask(CLUSTER, node=node("hostile"))
    for message in messages:
        await stream.raw(message)
    return await stream.end()


def names(number: int, first: int = 0) -> list[str]:
    return [f"no-such-cluster-{each}" for each in range(first, first + number)]


def request(variant: Variant, *wanted: str, type_url: str = ENDPOINT) -> bytes:
    kind: Any = discovery_pb2.DiscoveryRequest
    fields = {"resource_names": wanted}
    if variant is Variant.DELTA:
        kind, fields = discovery_pb2.DeltaDiscoveryRequest, {"resource_names_subscribe": wanted}
    raw: bytes = kind(type_url=type_url, **fields).SerializeToString()
    return raw


@pytest.mark.usefixtures("witness")
async def test_more_names_than_may_be(rig: Rig, variant: Variant) -> None:
    status = await rejected(rig, variant, request(variant, *names(2 * MAX_NAMES)))
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status.details == f"more than {MAX_NAMES:,} names in one request"


@pytest.mark.usefixtures("witness")
async def test_names_by_and_by(rig: Rig, variant: Variant) -> None:
    step = MAX_NAMES * 2 // 5
    if variant is Variant.SOTW:
        messages = [request(variant, *names(step * turn)) for turn in (1, 2, 3)]
    else:
        messages = [request(variant, *names(step, first=step * turn)) for turn in range(3)]
    status = await rejected(rig, variant, *messages)
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"more than {MAX_NAMES:,} names" in status.details


@pytest.mark.usefixtures("witness")
async def test_a_name_that_fills_a_message(rig: Rig, variant: Variant) -> None:
    status = await rejected(rig, variant, request(variant, "x" * (SERVED - 1_000)))
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status.details == f"a name of more than {LONGEST_NAME:,} characters"


@pytest.mark.usefixtures("witness")
async def test_a_message_that_is_too_large(rig: Rig, variant: Variant) -> None:
    status = await rejected(rig, variant, request(variant, "x" * SERVED))
    # gRPC itself rejects it. Depending on what it is doing, it says so or ends the call.
    assert status.code in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
    assert (await rig.seen(StreamClosed)).cause is Cause.CLIENT


@pytest.mark.usefixtures("witness")
@pytest.mark.parametrize("letter", [b"\xff", b"\x00", b"\x0a"])
async def test_garbage_as_large_as_may_be(rig: Rig, variant: Variant, letter: bytes) -> None:
    assert await rejected(rig, variant, letter * (SERVED - 1_000)) == TOO_MUCH


@pytest.mark.usefixtures("witness")
async def test_garbage(rig: Rig, variant: Variant) -> None:
    status = await rejected(rig, variant, b"\xff" * 1_000)
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(status.details) < 200


@pytest.mark.usefixtures("witness")
async def test_a_node_with_much_metadata(rig: Rig, variant: Variant) -> None:
    stream = rig.connect(variant)
    await stream.ask(CLUSTER, node=node("hostile", much="x" * 100_000))
    status = await stream.status()
    assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "node.metadata" in status.details
    assert len(status.details) < 200
    assert (await rig.seen(StreamDenied)).cause is Cause.LIMIT


@pytest.mark.usefixtures("witness")
@pytest.mark.parametrize("part", ["id", "cluster", "user_agent_name"])
@pytest.mark.parametrize(
    "text", ["x" * MAX_TEXT_BYTES, "x" * (MAX_TEXT_BYTES + 1), "\U0001f600" * 257, "x" * 100_000]
)
async def test_a_node_with_a_long_text(rig: Rig, variant: Variant, part: str, text: str) -> None:
    stream, who = rig.connect(variant), node("hostile")
    setattr(who, part, text)
    await stream.ask(CLUSTER, node=who)
    if len(text) == MAX_TEXT_BYTES:
        await rig.seen(StreamOpened, lambda event: event.stream == 2)  # after the witness
        return
    assert await stream.status() == Status(
        grpc.StatusCode.RESOURCE_EXHAUSTED, f"node.{part} has more than 1,024 bytes"
    )


def inside(*parts: int) -> Callable[[bytes], bytes]:
    """A field in a field in a field."""

    def made(payload: bytes) -> bytes:
        for number in reversed(parts):
            payload = field(number, payload)
        return payload

    return made


@pytest.mark.usefixtures("witness")
@pytest.mark.parametrize(
    ("delta", "sotw", "empty"),
    [
        ((1,), (2,), field(9, b"")),  # node.extensions
        ((1,), (2,), field(11, b"")),  # node.listening_addresses
        ((1,), (2,), field(10, b"")),  # node.client_features
        ((1, 3, 1), (2, 3, 1), field(1, b"")),  # node.metadata
        ((), (), field(8, b"")),  # resource_locators_subscribe, and a field that there is not
        ((), (), field(15, b"")),  # another
    ],
)
async def test_messages_without_number(
    rig: Rig, variant: Variant, delta: tuple[int, ...], sotw: tuple[int, ...], empty: bytes
) -> None:
    """Two bytes each; an object of them takes fifty times that."""
    put = inside(*(delta if variant is Variant.DELTA else sotw))
    assert await rejected(rig, variant, request(variant) + put(empty * 7_000_000)) == TOO_MUCH


@pytest.mark.usefixtures("witness")
async def test_empty_names_without_number(rig: Rig, variant: Variant) -> None:
    status = await rejected(rig, variant, request(variant, type_url=CLUSTER) + field(3, b"") * 7_000_000)
    assert status.details == f"more than {MAX_NAMES:,} names in one request"


async def test_why_something_was_rejected_may_be_said_at_any_length(
    rig: Rig, witness: Witness, variant: Variant
) -> None:
    stream = rig.connect(variant)
    await stream.ask(LISTENER, node=node("hostile"))
    message = stream.message(LISTENER)
    message.response_nonce = (await stream.take()).nonce
    error = field(2, b"no such filter" + b"x" * MIB) + field(3, b"") * 6_000_000
    await stream.raw(message.SerializeToString() + field(7 if variant is Variant.DELTA else 6, error))
    nacked = await rig.seen(Nacked)
    assert nacked.message == "no such filter".ljust(MAX_REASON, "x")
    await witness.is_served()


@pytest.mark.usefixtures("witness")
async def test_metadata_that_is_very_deep(rig: Rig, variant: Variant) -> None:
    value = b""
    for _ in range(8_000):
        value = field(5, field(1, field(1, b"a") + field(2, value)))  # a Struct in a Value, and so on
    message = field(
        2 if variant is Variant.SOTW else 1, field(3, field(1, field(1, b"deep") + field(2, value)))
    )
    stream = rig.connect(variant)
    await stream.raw(message + request(variant, type_url=CLUSTER))
    status = await stream.status()
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(status.details) < 200


async def test_requests_without_end_from_one_who_reads_no_answers(
    rig: Rig, witness: Witness, variant: Variant
) -> None:
    stream = rig.connect(variant)
    await stream.ask(CLUSTER, node=node("hostile"))
    two = [request(variant, name) for name in ("a", "b")]
    for turn in range(10_000):
        await stream.raw(two[turn % 2])
        if turn % 2_000 == 0:
            await witness.is_served()


@pytest.mark.usefixtures("witness")
async def test_very_many_types(rig: Rig, variant: Variant) -> None:
    stream = rig.connect(variant)
    await stream.ask(LISTENER, node=node("hostile"))
    for number in range(2_000):
        await stream.raw(request(variant, "x", type_url=f"type.googleapis.com/no.such.Type{number}"))
    await stream.raw(request(variant, type_url=CLUSTER))
    await rig.seen(Subscribed, lambda event: event.type_url == CLUSTER)
    assert {event.type_url for event in rig.events if isinstance(event, Subscribed)} == {LISTENER, CLUSTER}


async def test_a_stream_that_says_nothing_ends(variant: Variant) -> None:
    async with no_tasks_left(), running(first_request_deadline_s=0.2) as rig:
        silent = rig.connect(variant)
        good = rig.connect(variant)
        await good.ask(CLUSTER, node=node())
        status = await silent.status()
        assert status == Status(grpc.StatusCode.DEADLINE_EXCEEDED, "the client sent no request for 0.2 s")
        assert (await rig.seen(StreamDenied)).cause is Cause.SILENT
        rig.commit(resource(CLUSTER, "a", b"1"))
        await good.take()


async def test_ten_thousand_streams_from_one_address(variant: Variant) -> None:
    """As many as the limit is are served, and the others are told that they are too many."""
    limits = StreamLimits(rate=1e6, burst=1_000_000)
    async with no_tasks_left(), running(limits=limits) as rig:
        opened = await connected(rig, variant, limits.per_peer)
        for _ in range(20):
            channels = [rig.channel() for _ in range(AT_ONCE // EACH)]
            ends = await asyncio.gather(
                *(Stream(channel, variant).end() for channel in channels for _ in range(EACH))
            )
            assert {each.code for each in ends} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            await asyncio.gather(*(channel.close() for channel in channels))
        rig.commit(resource(CLUSTER, "a", b"1"))
        answers = await asyncio.gather(*(stream.take() for stream in opened))
        assert all(len(each.resources) == 1 for each in answers)


async def connected(rig: Rig, variant: Variant, streams: int) -> list[Stream]:
    """So many streams that have said who they are."""
    found: list[Stream] = []
    while len(found) < streams:
        channels = [rig.channel() for _ in range(AT_ONCE // EACH)]
        more = [Stream(channel, variant) for channel in channels for _ in range(EACH)]
        await asyncio.gather(*(stream.ask(CLUSTER, node=node()) for stream in more))
        found += more
        there = len(found)
        await eventually(lambda: rig.count(StreamOpened) == there)  # noqa: B023 - it is asked here and now
    return found
