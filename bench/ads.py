"""A delta client that notes when an address of an endpoint arrived."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2

from xds_server.base.address import Address
from xds_server.xds.types import ENDPOINT

_METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1),)


class Watcher:
    """Subscribes to assignments by name; `arrived` is by address, in seconds of the machine's clock."""

    def __init__(self, server: Address, names: Sequence[str]) -> None:
        self.arrived: dict[str, float] = {}
        self._names = names
        self._news = asyncio.Event()
        self._channel = grpc.aio.insecure_channel(str(server), options=_UNLIMITED)
        self._requests: asyncio.Queue[discovery_pb2.DeltaDiscoveryRequest] = asyncio.Queue()

    async def run(self) -> None:
        """Until cancelled."""
        call = self._channel.stream_stream(
            _METHOD,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )
        self._requests.put_nowait(
            discovery_pb2.DeltaDiscoveryRequest(
                node=base_pb2.Node(id="bench"), type_url=ENDPOINT, resource_names_subscribe=self._names
            )
        )
        async for response in call(self._take()):
            now = time.monotonic()
            for resource in response.resources:
                assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.resource.value)
                for locality in assignment.endpoints:
                    for endpoint in locality.lb_endpoints:
                        address = endpoint.endpoint.address.socket_address.address
                        self.arrived.setdefault(address, now)
            self._news.set()
            self._requests.put_nowait(
                discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINT, response_nonce=response.nonce)
            )

    async def until_arrived(self, addresses: Collection[str]) -> None:
        """Wait until each of them has arrived."""
        while not self.arrived.keys() >= set(addresses):
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        await self._channel.close()

    async def _take(self) -> AsyncIterator[discovery_pb2.DeltaDiscoveryRequest]:
        while True:
            yield await self._requests.get()
