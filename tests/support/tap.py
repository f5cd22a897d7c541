"""Sits between gRPC and the server under test: keeps what Envoy asked, and stands for a bad network.

It can end every stream, as a reset connection does, and keep back responses of one type, as if they were
late. The server takes part in neither: a write that is kept back has succeeded, as one in a buffer has.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
from envoy.service.discovery.v3 import discovery_pb2

_REQUESTS = {
    "StreamAggregatedResources": discovery_pb2.DiscoveryRequest,
    "DeltaAggregatedResources": discovery_pb2.DeltaDiscoveryRequest,
}

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(frozen=True)
class Asked:
    """A request. `stream` numbers the streams from 1; `message` is of the stream's variant."""

    stream: int
    message: Any

    @property
    def type_url(self) -> str:
        return str(self.message.type_url)

    @property
    def names(self) -> set[str]:
        """The names that it adds (delta) or lists (SotW)."""
        if isinstance(self.message, discovery_pb2.DiscoveryRequest):
            return set(self.message.resource_names)
        return set(self.message.resource_names_subscribe)


class Tap(grpc.aio.ServerInterceptor):
    """For one server; all of its streams."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.streams = 0
        self._late: str | None = None
        self._kept: list[tuple[Any, bytes]] = []
        self._resets: set[asyncio.Event] = set()

    def keep_back(self, type_url: str) -> None:
        """From now on responses of this type do not arrive."""
        self._late = type_url

    async def let_through(self) -> None:
        """What was kept back arrives, in its order."""
        self._late = None
        kept, self._kept = self._kept, []
        for context, body in kept:
            await context.write(body)

    def reset(self) -> None:
        """End all streams. What was kept back is lost, and nothing is kept back any more."""
        self._late = None
        self._kept.clear()
        for reset in self._resets:
            reset.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["_Handler | None"]],
        details: grpc.HandlerCallDetails,
    ) -> "_Handler":
        """Put this between gRPC and the handler of a stream."""
        inner: Any = await continuation(details)
        request = _REQUESTS.get(str(details.method).rpartition("/")[2])
        if request is None:  # another service than ADS
            return cast("_Handler", inner)

        async def handle(_requests: object, context: Any) -> None:
            await self._handle(inner.stream_stream, request, context)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _handle(self, handler: Any, request: Any, context: Any) -> None:
        self.streams += 1
        reset = asyncio.Event()
        self._resets.add(reset)
        serving = asyncio.create_task(handler(None, _Tapped(self, context, request)), name="tapped stream")
        resetting = asyncio.create_task(reset.wait(), name="waiting for a reset")
        try:
            await asyncio.wait({serving, resetting}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return
        finally:
            self._resets.discard(reset)
            for task in (serving, resetting):
                task.cancel()
            await asyncio.gather(serving, resetting, return_exceptions=True)
        with suppress(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.INTERNAL, "reset")

    def keeps(self, type_url: str, context: Any, body: bytes) -> bool:
        """Whether this response does not arrive now."""
        if type_url != self._late:
            return False
        self._kept.append((context, body))
        return True


class _Tapped:
    """A stream's context whose reads and writes are seen."""

    def __init__(self, tap: Tap, context: Any, request: Any) -> None:
        self._tap = tap
        self._context = context
        self._request = request
        self._stream = tap.streams

    async def read(self) -> Any:
        raw = await self._context.read()
        if isinstance(raw, bytes):
            self._tap.asked.append(Asked(self._stream, self._request.FromString(raw)))
        return raw

    async def write(self, body: bytes) -> None:
        is_sotw = self._request is discovery_pb2.DiscoveryRequest
        response = discovery_pb2.DiscoveryResponse if is_sotw else discovery_pb2.DeltaDiscoveryResponse
        if not self._tap.keeps(response.FromString(body).type_url, self._context, body):
            await self._context.write(body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
