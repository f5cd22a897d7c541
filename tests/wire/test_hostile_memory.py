"""A control plane as people run it keeps its size, whatever is sent to it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import PATIENCE_S, eventually
from tests.wire.rig import Stream, node
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, SHORT_NAMES

ROUNDS: Final = 6
ALLOWED_MIB: Final = 64
"""By how much it may be larger after the second half of the rounds than after the first."""

PEAK_MIB: Final = 800
"""A few requests as large as may be, as bytes and read, beside what it needs itself."""

FLOOD: Final = 6
"""Streams at once, each of which asks for all the names that the limits of a stream allow otherwise."""

RETURNED_MIB: Final = 150
"""By how much it may be larger once a flood is over and memory was given back."""

_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)


def resident_mib(pid: int, what: str) -> float:
    """VmRSS or VmHWM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) / 1024


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """Of a directory without any manifests."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    started = ControlPlane([f"--manifests={manifests}"], tmp_path)
    try:
        yield await started.start()
    finally:
        await started.stop()


@contextlib.asynccontextmanager
async def stream_to(plane: ControlPlane, variant: Variant) -> AsyncIterator[Stream]:
    async with grpc.aio.insecure_channel(str(plane.xds_address), options=_OPTIONS) as channel:
        yield Stream(channel, variant)


def many_names(_: int) -> Any:
    return discovery_pb2.DiscoveryRequest(
        type_url=ENDPOINT, node=node("a"), resource_names=[f"{each:x}" for each in range(1_000_000)]
    )


def new_names(turn: int) -> Any:
    """As many as are taken, and others every time."""
    names = [f"round-{turn}-{each}" for each in range(200_000)]
    return discovery_pb2.DeltaDiscoveryRequest(
        type_url=ENDPOINT, node=node("b"), resource_names_subscribe=names
    )


def many_claims(turn: int) -> Any:
    claims = {f"round-{turn}-{each}": "1" for each in range(400_000)}
    return discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, node=node("c"), initial_resource_versions=claims
    )


def long_name(turn: int) -> Any:
    return discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, node=node("d"), resource_names_subscribe=[str(turn) * 15_000_000]
    )


def large_node(turn: int) -> Any:
    return discovery_pb2.DiscoveryRequest(
        type_url=CLUSTER, node=base_pb2.Node(id="e", cluster=str(turn) * 15_000_000)
    )


def new_types(turn: int) -> Any:
    return discovery_pb2.DiscoveryRequest(
        type_url=f"type.example/{turn}" + "x" * 1_000_000, node=node(f"f{turn}")
    )


ATTACKS: Final[tuple[Callable[[int], Any], ...]] = (
    many_names,
    new_names,
    many_claims,
    long_name,
    large_node,
    new_types,
)


async def attack(plane: ControlPlane, turn: int) -> None:
    """Everything, one after the other, each on a connection of its own."""
    for make in ATTACKS:
        message = make(turn)
        delta = isinstance(message, discovery_pb2.DeltaDiscoveryRequest)
        async with stream_to(plane, Variant.DELTA if delta else Variant.SOTW) as stream:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stream.raw(message.SerializeToString())
                await stream.finish()
                await stream.end()


async def test_memory_stays_bounded(plane: ControlPlane) -> None:
    pid = plane.process.pid
    async with stream_to(plane, Variant.DELTA) as good:
        await good.ask(LISTENER, node=node("good"))
        await good.take()
        sizes = []
        for turn in range(ROUNDS):
            await attack(plane, turn)
            sizes.append(resident_mib(pid, "VmRSS"))
        assert max(sizes[ROUNDS // 2 :]) - max(sizes[: ROUNDS // 2]) <= ALLOWED_MIB, sizes
        assert resident_mib(pid, "VmHWM") <= PEAK_MIB
        await good.ask(CLUSTER)
        assert (await asyncio.wait_for(good.take(), PATIENCE_S)).type_url == CLUSTER


async def test_a_request_is_gone_once_it_was_taken(plane: ControlPlane) -> None:
    """Streams that wait hold no bytes of what they last sent, though they may be many and it large."""
    claims = {f"{each:0100x}": "0123456789abcdef" for each in range(50_000)}
    raw = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, initial_resource_versions=claims, node=node()
    ).SerializeToString()
    pid = plane.process.pid
    async with contextlib.AsyncExitStack() as stack:

        async def open_one() -> None:
            stream = await stack.enter_async_context(stream_to(plane, Variant.DELTA))
            await stream.raw(raw)
            await stream.take()  # that there is nothing, and then what that takes away
            assert len((await stream.take()).removed_resources) == len(claims)

        await open_one()
        before = resident_mib(pid, "VmRSS")
        for _ in range(40):
            await open_one()
        assert resident_mib(pid, "VmRSS") - before < 40 * len(raw) / 2**20 / 2


async def flood(plane: ControlPlane, variant: Variant, number: int) -> None:
    """192,000 names of 2,000 characters, of all types, as fast as they are taken."""
    async with stream_to(plane, variant) as stream:
        reading = asyncio.create_task(stream.end())
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            for turn, type_url in zip(range(32), itertools.cycle(SHORT_NAMES)):
                names = [f"{number}-{turn}-{each}".ljust(2_000, "x") for each in range(6_000)]
                message = stream.message(type_url, *names)
                message.node.CopyFrom(node(f"hostile-{number}"))
                await stream.raw(message.SerializeToString())
        await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("variant", Variant, ids=str)
async def test_memory_is_bounded_in_a_flood_of_names_and_returns(
    plane: ControlPlane, variant: Variant
) -> None:
    pid = plane.process.pid
    async with stream_to(plane, Variant.DELTA) as good:
        await good.ask(LISTENER, node=node("good"))
        await good.take()
        before = resident_mib(pid, "VmRSS")
        await asyncio.gather(*(flood(plane, variant, number) for number in range(FLOOD)))
        assert resident_mib(pid, "VmHWM") <= PEAK_MIB
        await good.ask(CLUSTER)
        assert (await asyncio.wait_for(good.take(), PATIENCE_S)).type_url == CLUSTER
    await eventually(lambda: resident_mib(pid, "VmRSS") <= before + RETURNED_MIB)
