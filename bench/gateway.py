"""A delta client that asks for all that an Envoy would, and keeps it as it came."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from bench.peers.requests import ENVOY
from xds_server.base.address import Address
from xds_server.base.ids import TypeUrl
from xds_server.translate.names import GATEWAY
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST

_METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_AT_MOST_S: Final = 60.0


class Gateway:
    """`held` is by type and name, the bodies of resources; `responses` and `size` count since `count_anew`.
    An async context: it is connected inside."""

    def __init__(self, server: Address) -> None:
        self.held: dict[TypeUrl, dict[str, bytes]] = {
            each: {} for each in (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
        }
        self.responses = self.size = 0
        self._server = server
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="bench/gateway")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    def count_anew(self) -> None:
        """Begin to count."""
        self.responses = self.size = 0

    def has(self, services: int) -> bool:
        """Whether it has all of so many Services."""
        return all(len(self.held[each]) >= services for each in (CLUSTER, ENDPOINT, VIRTUAL_HOST))

    async def until(self, check: Callable[[], object]) -> None:
        """Wait until something that came makes `check` true.

        Raises:
            TimeoutError: nothing did, within a minute.
        """
        async with asyncio.timeout(_AT_MOST_S):
            while not check():
                self._news.clear()
                await self._news.wait()

    async def _run(self) -> None:
        requests: asyncio.Queue[discovery_pb2.DeltaDiscoveryRequest] = asyncio.Queue()
        async with grpc.aio.insecure_channel(str(self._server), options=_UNLIMITED) as channel:
            call: Any = channel.stream_stream(
                _METHOD,
                request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=None,
            )
            requests.put_nowait(discovery_pb2.DeltaDiscoveryRequest(node=ENVOY, type_url=CLUSTER))
            async for raw in call(_all(requests)):
                response = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
                self.responses += 1
                self.size += len(raw)
                for request in self._take(response):
                    requests.put_nowait(request)
                self._news.set()

    def _take(
        self, response: discovery_pb2.DeltaDiscoveryResponse
    ) -> list[discovery_pb2.DeltaDiscoveryRequest]:
        kind = TypeUrl(response.type_url)
        held = self.held[kind]
        new = [each.name for each in response.resources if each.name not in held]
        held.update((each.name, each.resource.value) for each in response.resources)
        gone = [name for name in response.removed_resources if held.pop(name, None) is not None]
        request = discovery_pb2.DeltaDiscoveryRequest
        answers = [request(type_url=kind, response_nonce=response.nonce)]
        if kind == CLUSTER:
            if not self.held[LISTENER]:
                answers += [request(type_url=each) for each in (LISTENER, VIRTUAL_HOST)]
                answers.append(request(type_url=ROUTE, resource_names_subscribe=[GATEWAY]))
            change = request(type_url=ENDPOINT, resource_names_subscribe=new, resource_names_unsubscribe=gone)
            if new or gone:
                answers.append(change)
        return answers


async def _all(
    requests: "asyncio.Queue[discovery_pb2.DeltaDiscoveryRequest]",
) -> AsyncIterator[discovery_pb2.DeltaDiscoveryRequest]:
    while True:
        yield await requests.get()
