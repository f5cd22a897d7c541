"""Names without end: who asks for more than the process may keep is ended, and nobody else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import eventually
from tests.wire.rig import Rig, Status, Stream, no_tasks_left, node, resource, running
from xds_server.base.ids import TypeUrl
from xds_server.xds.budget import NameLimits
from xds_server.xds.stream_events import Acked, Cause, Sent, StreamClosed, StreamOpened, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET

MIB = 2**20
LIMITS = NameLimits(per_stream=2 * MIB, per_peer=5 * MIB, total=5 * MIB)
ONE_MIB = 900
"""Names of 1,000 characters that take about as much."""

ADDRESS = "the names of this address's streams take more than 5 MiB"
STREAM = "the names of one stream take more than 2 MiB"


@pytest.fixture
async def limited() -> AsyncIterator[Rig]:
    async with no_tasks_left(), running(name_limits=LIMITS) as rig:
        yield rig


def some(letter: str, count: int = ONE_MIB, first: int = 0) -> list[str]:
    return [f"{letter}{number}".ljust(1000, "x") for number in range(first, first + count)]


@asynccontextmanager
async def good(rig: Rig) -> AsyncIterator[None]:
    """A client that is served before and after."""
    stream = rig.connect(Variant.DELTA)
    await stream.ask(LISTENER, node=node("good"))
    for turn in (b"1", b"2"):
        rig.commit(resource(LISTENER, "a", turn))
        response = await stream.take()
        assert [each.resource.value for each in response.resources] == [turn]
        await stream.ask(LISTENER, answers=response)
        if turn == b"1":
            yield


def exceeded(reason: str) -> Status:
    return Status(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)


async def test_the_names_of_all_types_of_a_stream_count(limited: Rig, variant: Variant) -> None:
    async with good(limited):
        stream = limited.connect(variant)
        await stream.ask(ENDPOINT, *some("a"), node=node("hostile"))
        await limited.seen(StreamOpened, lambda event: event.node.id == "hostile")
        await stream.ask(SECRET, *some("b", ONE_MIB + 100))
        assert await stream.end() == exceeded(STREAM)
        closed = await limited.seen(StreamClosed)
        assert (closed.cause, closed.reason) == (Cause.LIMIT, STREAM)
    assert limited.servicer._names._all.size < 1000


async def test_the_streams_of_an_address_count_together_and_equal_sets_once(
    limited: Rig, variant: Variant
) -> None:
    async def holding(letter: str) -> Stream:
        stream = limited.connect(variant)
        there, acked = limited.count(StreamOpened), limited.count(Acked)
        await stream.ask(SECRET, *some(letter, ONE_MIB // 2), node=node())
        await eventually(lambda: limited.count(StreamOpened) > there)
        if variant is Variant.DELTA:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):  # it was ended
                await stream.ask(SECRET, answers=await stream.take())
                await eventually(lambda: limited.count(Acked) > acked or limited.count(StreamClosed))
        return stream

    async with good(limited):
        same = [await holding("s") for _ in range(20)]
        assert limited.count(StreamClosed) == 0
        others = [await holding(letter) for letter in "abcdefghijkl"]
        ended = await limited.seen(StreamClosed)
        assert ended.reason == ADDRESS
        assert await others[ended.stream - len(same) - 2].end() == exceeded(ADDRESS)
        for stream in (*same, *others):
            stream.cancel()
        await eventually(lambda: len(limited.servicer._streams) == 1)
        # There is room again.
        await holding("z")
    assert limited.servicer._names._all.size < MIB


async def test_names_that_were_sent_as_removed_count_until_that_is_answered(limited: Rig) -> None:
    """Of delta: a response names what does not exist, and is kept until its client has answered."""
    async with good(limited):
        stream = limited.connect(Variant.DELTA)
        await stream.ask(ENDPOINT, *some("0", ONE_MIB // 3), node=node("hostile"))
        await stream.take()
        for turn in range(1, 10):
            dropped, wanted = some(str(turn - 1), ONE_MIB // 3), some(str(turn), ONE_MIB // 3)
            message = discovery_pb2.DeltaDiscoveryRequest(
                type_url=ENDPOINT, resource_names_subscribe=wanted, resource_names_unsubscribe=dropped
            )
            await stream.raw(message.SerializeToString())
            # What is read here came of this request: gRPC's client calls a write to a stream that was ended
            # meanwhile an internal error, and the reason is lost.
            if (found := await stream.take_or_end()) is None:
                break
            assert len(found.removed_resources) == len(wanted)
        assert await stream.status() == exceeded(STREAM)


async def test_what_a_client_claims_to_have_counts(limited: Rig) -> None:
    """Of delta: what no longer exists is to be taken away, and is kept while that has to wait."""
    async with good(limited):
        stream = limited.connect(Variant.DELTA)
        await stream.ask(LISTENER, node=node("hostile"))
        await stream.take()  # and is not answered: a cluster may still be in use
        claims = dict.fromkeys(some("a", 2 * ONE_MIB + 100), "1")
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions=claims)
        await stream.raw(message.SerializeToString())
        assert await stream.end() == exceeded(STREAM)


async def test_claims_count_while_there_is_nothing_to_compare_them_with(limited: Rig) -> None:
    stream = limited.connect(Variant.DELTA)
    claims = dict.fromkeys(some("a", 2 * ONE_MIB + 100), "1")
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, initial_resource_versions=claims, node=node("hostile")
    )
    await stream.raw(message.SerializeToString())
    assert await stream.end() == exceeded(STREAM)


async def test_names_of_types_that_do_not_exist_are_not_kept(limited: Rig, variant: Variant) -> None:
    async with good(limited):
        stream = limited.connect(variant)
        await stream.ask(CLUSTER, node=node("hostile"))
        for turn in range(20):
            await stream.ask(TypeUrl(f"type.googleapis.com/no.such.Type{turn}"), *some(str(turn)))
        await stream.ask(SECRET, "z")
        await eventually(
            lambda: [len(each.names) for each in of(limited, 2).machine._subscriptions.values()] == [0, 1]
        )
        read = of(limited, 2).read.__self__
        assert sum(len(each.names) for each in getattr(read, "_regions", {}).values()) <= 1


def of(rig: Rig, stream: int) -> Any:
    """What the server keeps of a stream."""
    return rig.servicer._streams[stream]  # type: ignore[index]  # a number


async def test_a_stream_that_ends_lets_go_while_its_client_reads_nothing(limited: Rig) -> None:
    """gRPC cannot end a call whose write is under way. What is in it goes on counting, and nothing else."""
    async with good(limited):
        stream = limited.connect(Variant.SOTW)  # its clusters are one response
        large = [resource(CLUSTER, f"large-{number}", b"x" * 3 * MIB) for number in range(7)]
        limited.commit(resource(LISTENER, "a", b"1"), *large)
        await stream.ask(CLUSTER, node=node("hostile"))
        await limited.seen(Sent, lambda event: event.size > 20 * MIB)
        kept = of(limited, 2)
        await stream.ask(ENDPOINT, *some("a", 3 * ONE_MIB))
        assert (await limited.seen(StreamClosed)).reason == STREAM
        assert kept.machine._subscriptions == {}
        assert limited.servicer._names._streams[2][1].more == 0  # type: ignore[index]
        limited.commit(resource(LISTENER, "a", b"1"))
        stream.cancel()
