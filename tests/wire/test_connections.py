"""Who may connect, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.waiting import PATIENCE_S, eventually
from tests.wire.rig import Rig, Stream, bodies, no_tasks_left, node, resource, running
from xds_server.server.tls import Certificates
from xds_server.xds.admission import StreamLimits
from xds_server.xds.server_options import server_options
from xds_server.xds.stream_events import Cause, StreamClosed, StreamDenied, Variant
from xds_server.xds.types import CLUSTER

BURST = 3


@asynccontextmanager
async def limited(limits: StreamLimits) -> AsyncIterator[Rig]:
    async with no_tasks_left(), running(limits=limits) as rig:
        rig.commit(resource(CLUSTER, "a", b"a"))
        yield rig


async def served(stream: Stream) -> bool:
    """Whether the stream is let in. A write to one that ends meanwhile is an error of gRPC's client's own, so
    the status of a rejection is looked at where nothing is written."""
    try:
        await stream.ask(CLUSTER, node=node())
        return isinstance(await stream.take_raw(), bytes)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
        return False


async def test_rule_20_an_old_connection_is_closed_and_reconnects(variant: Variant) -> None:
    async with no_tasks_left(), running(max_age_s=0.1) as rig:
        rig.commit(resource(CLUSTER, "a", b"a"))
        stream = rig.connect(variant)
        await stream.ask(CLUSTER, node=node())
        await stream.take()
        assert await stream.status() == (grpc.StatusCode.UNAVAILABLE, "max connection age")
        assert (await rig.seen(StreamClosed)).cause is Cause.CLIENT
        again = rig.connect(variant)
        await again.ask(CLUSTER, node=node())
        assert list(bodies(await again.take()).values()) == [b"a"]


def test_rule_20_pings_go_out_and_are_allowed() -> None:
    options = dict(server_options())
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.http2.min_recv_ping_interval_without_data_ms"] == 10_000
    assert options["grpc.max_connection_age_ms"] == 1_800_000


async def test_rule_22_past_the_burst_a_stream_is_rejected_and_every_client_gets_in(variant: Variant) -> None:
    async with limited(StreamLimits(rate=0.2, burst=BURST, per_peer=1000)) as rig:
        for _ in range(BURST):
            assert await served(rig.connect(variant))
        assert await rig.connect(variant).status() == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "too many streams are being opened; try again later",
        )
        assert (await rig.seen(StreamDenied)).cause is Cause.RATE
        waiting, rejected = 1, 0
        async with asyncio.timeout(PATIENCE_S):
            while waiting:
                if await served(rig.connect(variant)):
                    waiting -= 1
                else:
                    rejected += 1
        assert rejected


async def test_one_address_may_open_so_many_streams_and_one_more_when_one_has_ended(variant: Variant) -> None:
    async with limited(StreamLimits(rate=1000.0, burst=1000, per_peer=2)) as rig:
        streams = [rig.connect(variant) for _ in range(2)]
        assert [await served(stream) for stream in streams] == [True, True]
        rejection = await rig.connect(variant).status()
        assert rejection.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "2 streams are open from this address" in rejection.details
        assert (await rig.seen(StreamDenied)).cause is Cause.PEER
        streams[0].cancel()
        await rig.seen(StreamClosed)
        assert await served(rig.connect(variant))


async def test_rule_24_no_resource_has_a_time_to_live(variant: Variant) -> None:
    async with limited(StreamLimits()) as rig:
        stream = rig.connect(variant)
        await stream.ask(CLUSTER, node=node())
        [found] = (await stream.take()).resources
        if variant is Variant.DELTA:
            assert not found.HasField("ttl")
        else:
            # Only a cluster wrapped in a discovery ``Resource`` could have one here.
            assert found.type_url == CLUSTER


HALF = {
    "nothing": b"",
    "a part of the preface": b"PRI * HTTP/2.0\r\n",
    "the preface alone": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a part of a TLS handshake": b"\x16\x03\x01\x02\x00\x01",
    "no call": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("sent", HALF)
@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_that_comes_to_no_call_ends(tmp_path: Path, sent: str, tls: bool) -> None:
    options = server_options(handshake_s=0.3, idle_s=0.3)
    server = grpc.aio.server(options=options)
    if tls:
        credentials = Certificates(Authority().server_files(tmp_path)).credentials()
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(HALF[sent])
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                await reader.read()
    finally:
        writer.close()
        await server.stop(0)


async def test_a_stream_that_has_nothing_to_say_keeps_its_connection(variant: Variant) -> None:
    async with no_tasks_left(), running(idle_s=0.1, handshake_s=0.1) as rig:
        rig.commit(resource(CLUSTER, "a", b"a"))
        quiet, other = rig.connect(variant), rig.channel()
        await quiet.ask(CLUSTER, node=node())
        await quiet.take()
        # As long as it takes that another connection, which has no call any more, is told to go.
        brief = Stream(other, variant)
        assert await served(brief)
        brief.cancel()
        await eventually(lambda: other.get_state() is grpc.ChannelConnectivity.IDLE)
        rig.commit(resource(CLUSTER, "a", b"b"))
        assert list(bodies(await quiet.take()).values()) == [b"b"]
