"""What one peer asks for without end waits, and views are bounded; a good client has its pushes."""

import grpc

from tests.support.waiting import eventually
from tests.wire.rig import Status, no_tasks_left, node, resource, running
from xds_server.xds.pace import PaceLimits
from xds_server.xds.stream_events import StreamOpened, Subscribed, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, SECRET
from xds_server.xds.view_budget import ViewLimits

SLOW = PaceLimits(large=10_000, large_share=1e-6, large_burst=1e-6, waiting=100_000)
"""The first large request of an address takes all of its share for hours."""


async def test_large_requests_wait_and_small_ones_do_not(variant: Variant) -> None:
    async with no_tasks_left(), running(pace_limits=SLOW) as rig:
        hostile, good = rig.connect(variant), rig.connect(variant)
        large = [f"{number:0100}" for number in range(500)]
        await hostile.ask(ENDPOINT, *large, node=node("hostile"))
        await rig.seen(Subscribed, lambda event: event.type_url == ENDPOINT)
        await hostile.ask(SECRET, *large)
        await eventually(lambda: rig.servicer._requests._pace._waiting)
        for turn in (b"1", b"2"):
            rig.commit(resource(LISTENER, "a", turn))
            if turn == b"1":
                await good.ask(LISTENER, node=node("good"))
            await good.ask(LISTENER, answers=await good.take())
        hostile.cancel()
        await eventually(lambda: not rig.servicer._requests._pace._waiting)
        assert SECRET not in {event.type_url for event in rig.events if isinstance(event, Subscribed)}


async def test_more_large_requests_than_may_wait_end_their_stream(variant: Variant) -> None:
    async with no_tasks_left(), running(pace_limits=SLOW) as rig:
        first, second, third = (rig.connect(variant) for _ in range(3))
        large = [f"{number:0100}" for number in range(600)]
        await first.ask(ENDPOINT, *large, node=node("hostile"))
        await rig.seen(Subscribed)
        await second.ask(SECRET, *large, node=node("second"))
        await eventually(lambda: rig.servicer._requests._pace._waiting)
        await third.ask(SECRET, *large, node=node("third"))
        assert await third.status() == Status(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "the waiting requests of this address take more than 0 MiB",
        )


async def test_views_are_bounded(variant: Variant) -> None:
    async with no_tasks_left(), running(view_limits=ViewLimits(per_peer=2)) as rig:
        streams = [rig.connect(variant) for _ in range(4)]
        for number, (stream, team) in enumerate(zip(streams, ("a", "b", "a", "c"), strict=True), 1):
            await stream.ask(CLUSTER, node=node("e", team=team))
            if team != "c":
                await eventually(lambda: rig.count(StreamOpened) == number)  # noqa: B023 - asked here and now
        assert await streams[3].status() == Status(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "node.metadata of this address's streams asks for more than 2 views",
        )
        streams[1].cancel()
        await eventually(lambda: len(rig.servicer._streams) == 2)
        again = rig.connect(variant)
        await again.ask(CLUSTER, node=node("e", team="c"))
        await eventually(lambda: rig.count(StreamOpened) == 4)
