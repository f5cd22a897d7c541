"""The ADS service by itself, in this process: tests commit what they like, and nothing derives it."""

from typing import Self

import grpc

from tests.support.tap import Tap
from xds_server.base.address import Address
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.resource import Resource
from xds_server.xds.server_options import server_options
from xds_server.xds.servicer import AdsServicer
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event


class Server:
    """The server under test, what it says of itself, and what is in between."""

    def __init__(self) -> None:
        self.cache: SnapshotCache[str] = SnapshotCache(lambda snapshot, *_: snapshot)
        self.events: list[Event] = []
        self.tap = Tap()
        self.grpc = grpc.aio.server(options=server_options(), interceptors=[self.tap])
        servicer = AdsServicer(
            cache=self.cache,
            view_of=lambda _node, _names: "",
            observe=self.events.append,
            identifier="xds-shadow/scenarios",
        )
        servicer.register(self.grpc)
        self.address = Address("127.0.0.1", self.grpc.add_insecure_port("127.0.0.1:0"))

    def commit(self, *resources: Resource) -> Snapshot:
        """Serve these and no others; what stays as it was is shared with the snapshot before."""
        before = self.cache.current("") or Snapshot()
        stays = {resource.key for resource in resources}
        gone = [
            held.key
            for of_type in before.types.values()
            for held in of_type.resources.values()
            if held.key not in stays
        ]
        snapshot = before.updated(resources, gone)
        self.cache.commit(snapshot)
        return snapshot

    async def __aenter__(self) -> Self:
        await self.grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.grpc.stop(None)
