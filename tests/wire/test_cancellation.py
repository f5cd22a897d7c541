"""A call that gRPC cancels twice, which it does when a client goes away at an awkward moment."""

import asyncio
import contextlib

from envoy.service.discovery.v3 import discovery_pb2

from tests.wire.rig import node
from xds_server.xds.cache import Derived, SnapshotCache
from xds_server.xds.servicer import AdsServicer
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event, Node, StreamClosed, StreamOpened, Subscribed
from xds_server.xds.types import CLUSTER


class StubbornContext:
    """Gives one request, and then takes its time to be cancelled."""

    def __init__(self, request: bytes) -> None:
        self._requests = [request]
        self.reading = asyncio.Event()
        self.released = asyncio.Event()

    def peer(self) -> str:
        return "test"

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def read(self) -> bytes:
        if self._requests:
            return self._requests.pop()
        self.reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.released.wait()
        raise AssertionError("never gets here")


def _same(snapshot: Snapshot, _view: str, _before: Derived | None) -> Snapshot:
    return snapshot


def _one_view(_node: Node, _names: frozenset[str]) -> str:
    return ""


async def test_a_second_cancellation_does_not_leave_the_stream_on_the_books() -> None:
    events: list[Event] = []
    servicer = AdsServicer(
        cache=SnapshotCache(_same), view_of=_one_view, observe=events.append, identifier="test"
    )
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node=node())
    context = StubbornContext(request.SerializeToString())
    call = asyncio.create_task(servicer._serve(servicer._sotw, context))  # type: ignore[arg-type]
    await context.reading.wait()
    for _ in range(2):
        call.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    context.released.set()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    assert [type(event) for event in events] == [StreamOpened, Subscribed, StreamClosed]
    assert servicer._streams == {}
