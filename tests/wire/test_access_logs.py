"""The access log service on a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2

from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.errors import RequestDeniedError
from xds_server.base.ids import StreamId
from xds_server.xds.access_logs import ADDRESS_LIMITS, TOTAL_LIMITS, AccessLogServicer
from xds_server.xds.admission import StreamLimits
from xds_server.xds.pace import PaceLimits
from xds_server.xds.server_options import server_options
from xds_server.xds.stream_events import Cause, Event, Node, StreamDenied
from xds_server.xds.upstream_requests import UpstreamRequest

METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
INVALID, DENIED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
Call = grpc.aio.StreamUnaryCall[bytes, bytes]


class Rig:
    """A server. The view of a node is its cluster; the team ``stranger`` is denied."""

    def __init__(
        self,
        *,
        limits: StreamLimits | None = None,
        address: PaceLimits = ADDRESS_LIMITS,
        total: PaceLimits = TOTAL_LIMITS,
        deadline_s: float = 30.0,
    ) -> None:
        self.taken: list[tuple[StreamId, str, list[UpstreamRequest]]] = []
        self.ended: list[StreamId] = []
        self.events: list[Event] = []
        self.servicer = AccessLogServicer(
            log_name="log",
            take=lambda *taken: self.taken.append(taken),
            ended=self.ended.append,
            view_of=self._view_of,
            observe=self.events.append,
            limits=limits,
            address_limits=address,
            total_limits=total,
            first_request_deadline_s=deadline_s,
        )

    @staticmethod
    def _view_of(node: Node, _names: frozenset[str]) -> str:
        if node.cluster == "stranger":
            raise RequestDeniedError("a stranger")
        return node.cluster

    @property
    def ids(self) -> list[str]:
        return [request.id for _, _, requests in self.taken for request in requests]

    @property
    def causes(self) -> list[Cause]:
        return [event.cause for event in self.events if isinstance(event, StreamDenied)]


@asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[Callable[[], Call]]:
    server = grpc.aio.server(options=server_options())
    rig.servicer.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.stream_unary(METHOD)
    await server.stop(0)


def message(*ids: str, first: bool = False, cluster: str = "team", log: str = "log", pad: int = 0) -> bytes:
    found = als_pb2.StreamAccessLogsMessage()
    if first:
        found.identifier.log_name = log
        found.identifier.node.CopyFrom(base_pb2.Node(id="envoy", cluster=cluster))
    for each in ids:
        entry = found.http_logs.log_entry.add()
        entry.request.request_id, entry.request.path = each, "/" + "x" * pad
        entry.common_properties.access_log_type = accesslog_pb2.UpstreamEnd
    raw: bytes = found.SerializeToString()
    return raw


async def status_of(call: Call) -> tuple[grpc.StatusCode, str]:
    async with asyncio.timeout(PATIENCE_S):
        return await call.code(), await call.details()


async def test_entries_arrive_in_order_with_the_view_of_their_stream() -> None:
    rig = Rig()
    async with serving(rig) as open_:
        one, other = open_(), open_()
        await one.write(message("a", first=True))
        await one.write(message("b", "c"))
        await other.write(message("d", first=True, cluster="other"))
        await eventually(lambda: len(rig.ids) == 4, what="all entries")
        await one.done_writing()
        assert (await status_of(one))[0] is grpc.StatusCode.OK
    by_view: dict[str, list[str]] = {}
    for _, view, found in rig.taken:
        by_view.setdefault(view, []).extend(each.id for each in found)
    assert by_view == {"team": ["a", "b", "c"], "other": ["d"]}
    assert len({stream for stream, _, _ in rig.taken}) == 2
    await eventually(lambda: len(rig.ended) == 2, what="the end of both streams")
    assert rig.causes == []


@pytest.mark.parametrize(
    ("first", "code", "words", "cause"),
    [
        (b"\xff", INVALID, "cannot be read", Cause.INVALID),
        (message("a"), INVALID, "no node", Cause.INVALID),
        (
            message(first=True, log="mine"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "the log log only",
            Cause.INVALID,
        ),
        (
            message(first=True, cluster="stranger"),
            grpc.StatusCode.PERMISSION_DENIED,
            "stranger",
            Cause.DENIED,
        ),
        (message("a", first=True, pad=2**20), grpc.StatusCode.RESOURCE_EXHAUSTED, "bytes", Cause.LIMIT),
    ],
)
async def test_a_stream_that_is_wrong_ends(
    first: bytes, code: grpc.StatusCode, words: str, cause: Cause
) -> None:
    rig = Rig()
    async with serving(rig) as open_:
        call = open_()
        await call.write(first)
        found, details = await status_of(call)
        assert found is code
        assert words in details
    assert (rig.causes, rig.taken) == ([cause], [])


async def test_a_silent_stream_ends() -> None:
    rig = Rig(deadline_s=0.01)
    async with serving(rig) as open_:
        assert (await status_of(open_()))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert rig.causes == [Cause.SILENT]


async def test_streams_are_admitted_at_a_rate() -> None:
    rig = Rig(limits=StreamLimits(rate=0, burst=1))
    async with serving(rig) as open_:
        first = open_()
        await first.write(message("a", first=True))
        await eventually(lambda: rig.ids == ["a"], what="the first stream")
        assert (await status_of(open_()))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.causes == [Cause.RATE]


async def test_a_flooding_address_waits() -> None:
    """It has spent its share with one message, so the next one waits for longer than the test runs."""
    spent = PaceLimits(small_share=1e-9, small_burst=0.0)
    rig = Rig(address=spent)
    async with serving(rig) as open_:
        flooding = open_()
        await flooding.write(message("a", first=True))
        await flooding.write(message("b"))
        await eventually(lambda: rig.ids == ["a"], what="the first message")
        rig.servicer.end_all()
        assert (await status_of(flooding))[0] is grpc.StatusCode.OK
    assert rig.ids == ["a"]


async def test_all_addresses_together_wait() -> None:
    rig = Rig(total=PaceLimits(small_share=1e-9, small_burst=0.0))
    async with serving(rig) as open_:
        one, other = open_(), open_()
        await one.write(message("a", first=True))
        await eventually(lambda: rig.ids == ["a"], what="the first message")
        await other.write(message("b", first=True))
        rig.servicer.end_all()
        await status_of(one)
    assert rig.ids == ["a"]


async def test_the_end_of_the_server_ends_streams() -> None:
    rig = Rig()
    async with serving(rig) as open_:
        call = open_()
        await call.write(message("a", first=True))
        await eventually(lambda: rig.ids == ["a"], what="an entry")
        rig.servicer.end_all()
        assert (await status_of(call))[0] is grpc.StatusCode.OK
    assert (len(rig.ended), rig.causes) == (1, [])
