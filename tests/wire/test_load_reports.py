"""Load reports over a real connection: what Envoys are asked, and what a wrong or hostile client costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from envoy.service.load_stats.v3 import lrs_pb2

from tests.support.waiting import PATIENCE_S, eventually
from tests.wire.rig import Status, no_tasks_left, node
from xds_server.base.errors import RequestDeniedError
from xds_server.xds.admission import StreamLimits
from xds_server.xds.load_reports import SERVICE, LoadReportServicer
from xds_server.xds.loads import NO_LOAD, Load, Loads
from xds_server.xds.pace import PaceLimits
from xds_server.xds.server_options import server_options
from xds_server.xds.stream_events import Cause, Event, Node, StreamDenied
from xds_server.xds.view_budget import ViewLimits

ALL = {"one": frozenset({"a", "b"}), "two": frozenset({"c"})}
MANY = ("grpc.use_local_subchannel_pool", 1)


class Rig:
    """A server. The view of a node is its ``team``; each team has clusters of its own."""

    def __init__(self, **limits: Any) -> None:
        self.wanted = dict(ALL)
        self.loads = Loads((60.0,))
        self.events: list[Event] = []
        self.loads.want({"a", "b", "c", "d"})
        self.servicer = LoadReportServicer(
            loads=self.loads,
            wanted=lambda team: self.wanted[team],
            view_of=_team,
            observe=self.events.append,
            **limits,
        )
        self.server = grpc.aio.server(options=server_options())
        self.servicer.register(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.channels: list[grpc.aio.Channel] = []

    def connect(self) -> "Client":
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=(MANY,))
        self.channels.append(channel)
        return Client(channel.stream_stream(f"/{SERVICE}/StreamLoadStats")())

    async def greeted(self, team: str = "one", identity: str = "envoy-1") -> "Client":
        """A client that has been asked."""
        client = self.connect()
        await client.send(node=node(identity, team=team))
        client.asked = await client.take()
        return client

    def denied(self) -> list[Cause]:
        return [each.cause for each in self.events if isinstance(each, StreamDenied)]


class Client:
    """One scripted stream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.asked: Any = None

    async def send(self, **stats: Any) -> None:
        await self.raw(lrs_pb2.LoadStatsRequest(**stats).SerializeToString())

    async def raw(self, payload: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.call.write(payload)

    async def report(self, **issued: int) -> None:
        """Report that a cluster was sent that many requests."""
        await self.send(cluster_stats=[_stats(name, count) for name, count in issued.items()])

    async def take(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            payload = await self.call.read()
        assert isinstance(payload, bytes), await self.status()
        return lrs_pb2.LoadStatsResponse.FromString(payload)

    async def status(self) -> Status:
        """How the stream ended, after reading all that came before."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            return Status(await self.call.code(), await self.call.details())


def _stats(name: str, issued: int) -> dict[str, Any]:
    localities = [{"total_issued_requests": issued, "total_successful_requests": issued}]
    return {"cluster_name": name, "upstream_locality_stats": localities}


def _team(who: Node, _names: frozenset[str]) -> str:
    team = str(who.metadata.get("team", ""))
    if team not in ALL and not team.startswith("other"):
        raise RequestDeniedError(f"there is no team {team}")
    return team


@asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Rig]:
    async with no_tasks_left():
        rig = Rig(**limits)
        await rig.server.start()
        try:
            yield rig
        finally:
            for channel in rig.channels:
                await channel.close()
            await rig.server.stop(None)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running() as started:
        yield started


async def test_an_envoy_is_asked_for_the_clusters_of_its_view(rig: Rig) -> None:
    one, two = await rig.greeted("one"), await rig.greeted("two", "envoy-2")
    assert (list(one.asked.clusters), list(two.asked.clusters)) == (["a", "b"], ["c"])
    assert one.asked.load_reporting_interval.ToSeconds() == 60
    assert not one.asked.send_all_clusters
    assert {each.node for each in rig.loads.reporters()} == {"envoy-1", "envoy-2"}


async def test_what_it_reports_counts(rig: Rig) -> None:
    client = await rig.greeted()
    localities = [
        {
            "total_issued_requests": 5,
            "total_successful_requests": 2,
            "total_error_requests": 1,
            "total_requests_in_progress": 2,
        },
        {"total_issued_requests": 1, "total_successful_requests": 1},
    ]
    stats = {"cluster_name": "a", "upstream_locality_stats": localities, "total_dropped_requests": 7}
    await client.send(cluster_stats=[stats])
    await eventually(lambda: rig.loads.accepted)
    assert rig.loads.total("a") == Load(6, 3, 1, 7, 2)


async def test_the_node_may_be_repeated(rig: Rig) -> None:
    client = await rig.greeted()
    await client.send(node=node("x" * 70_000, team="two"), cluster_stats=[_stats("a", 5)])
    await eventually(lambda: rig.loads.accepted)
    assert rig.loads.total("a") == Load(5, 5)
    assert [each.node for each in rig.loads.reporters()] == ["envoy-1"]


async def test_clusters_of_another_view_do_not_count(rig: Rig) -> None:
    client = await rig.greeted("two")
    await client.report(a=5, c=1)
    await eventually(lambda: rig.loads.accepted)
    assert (rig.loads.total("a"), rig.loads.total("c"), rig.loads.rejected) == (NO_LOAD, Load(1, 1), 1)


async def test_counts_that_cannot_be_true_do_not_count(rig: Rig) -> None:
    client = await rig.greeted()
    await client.report(a=2**63, b=1)
    await eventually(lambda: rig.loads.accepted)
    assert (rig.loads.total("a"), rig.loads.total("b"), rig.loads.rejected) == (NO_LOAD, Load(1, 1), 1)


async def test_the_next_question_waits_for_a_report(rig: Rig) -> None:
    """Each question begins a new interval of Envoy's, so questions in quick succession would mean no
    reports."""
    client = await rig.greeted()
    for clusters in ({"a", "d"}, {"d"}):
        rig.wanted["one"] = frozenset(clusters)
        rig.servicer.refresh()
    await client.report(a=1, b=1)
    assert list((await client.take()).clusters) == ["d"]
    await client.report(b=1, d=1)  # Envoy may have sent it before it had the question
    await client.report(b=1, d=1)
    await eventually(lambda: rig.loads.total("d").issued == 2)
    assert (rig.loads.total("b").issued, rig.loads.rejected) == (2, 1)


async def test_an_envoy_that_was_asked_for_nothing_is_asked_at_once(rig: Rig) -> None:
    rig.wanted["one"] = frozenset()
    client = await rig.greeted()
    assert list(client.asked.clusters) == []
    rig.wanted["one"] = frozenset({"a"})
    rig.servicer.refresh()
    assert list((await client.take()).clusters) == ["a"]


async def test_an_envoy_that_goes_is_no_reporter_any_more(rig: Rig) -> None:
    client = await rig.greeted()
    client.call.cancel()
    await eventually(lambda: not rig.loads.reporters())


async def test_all_streams_end_at_a_shutdown(rig: Rig) -> None:
    client = await rig.greeted()
    rig.servicer.end_all()
    assert (await client.status()).code is grpc.StatusCode.OK


async def _without_node(client: Client) -> None:
    await client.report(a=1)


async def _of_nobody(client: Client) -> None:
    await client.send(node=node("envoy-1", team="ghosts"))


async def _garbage(client: Client) -> None:
    await client.raw(b"\xff\xff")


async def _enormous(client: Client) -> None:
    await client.send(node=node("envoy-1", team="one"))
    await client.send(cluster_stats=[_stats("x" * 100, 1)] * 12_000)


@pytest.mark.parametrize(
    ("does", "code", "cause"),
    [
        (_without_node, grpc.StatusCode.INVALID_ARGUMENT, Cause.INVALID),
        (_garbage, grpc.StatusCode.INVALID_ARGUMENT, Cause.INVALID),
        (_of_nobody, grpc.StatusCode.PERMISSION_DENIED, Cause.DENIED),
        (_enormous, grpc.StatusCode.RESOURCE_EXHAUSTED, Cause.LIMIT),
    ],
)
async def test_a_client_that_is_wrong_ends_its_own_stream(
    rig: Rig, does: Callable[[Client], Any], code: grpc.StatusCode, cause: Cause
) -> None:
    other = await rig.greeted(identity="other")
    client = rig.connect()
    await does(client)
    assert (await client.status()).code is code
    assert rig.denied() == [cause]
    await other.report(a=1)
    await eventually(lambda: rig.loads.total("a").issued == 1)
    assert [each.node for each in rig.loads.reporters()] == ["other"]


async def test_a_silent_client_is_ended() -> None:
    async with running(first_request_deadline_s=0.05) as rig:
        client = rig.connect()
        assert (await client.status()).code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert rig.denied() == [Cause.SILENT]


async def test_streams_of_an_address_are_limited() -> None:
    async with running(limits=StreamLimits(per_peer=1)) as rig:
        await rig.greeted()
        other = rig.connect()
        assert (await other.status()).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert rig.denied() == [Cause.PEER]


async def test_views_of_an_address_are_limited() -> None:
    async with running(view_limits=ViewLimits(per_peer=1)) as rig:
        await rig.greeted()
        other = rig.connect()
        await other.send(node=node("envoy-2", team="two"))
        assert "asks for more than 1 views" in (await other.status()).details
        assert rig.denied() == [Cause.LIMIT]


async def test_a_flood_of_reports_costs_its_address_alone() -> None:
    """A stream over its address's share waits, while a report of the share of small ones is taken at once."""
    pace = PaceLimits(large=100, large_burst=0.0, large_share=1e-9)
    async with running(pace_limits=pace) as rig:
        flood, other = await rig.greeted(), await rig.greeted(identity="other")
        for _ in range(10):
            await flood.send(cluster_stats=[_stats("a", 1), _stats("b" * 100, 1)])
        await other.report(b=1)
        await eventually(lambda: rig.loads.total("b").issued == 1)
        assert rig.loads.total("a").issued == 1  # the first; the second would wait for years
