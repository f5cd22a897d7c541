"""The access log service (ALS), beside ADS on the same port: takes what Envoys log of their requests to
backends.

A stream that is slow, silent, wrong or flooded affects no other: its messages wait until its address is
within its share of the event loop. Envoy drops entries that it cannot send, and delays no request.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar

import grpc

from xds_server.base.errors import RequestError, RequestLimitError
from xds_server.base.ids import StreamId
from xds_server.base.sizes import MIB
from xds_server.xds.admission import Admission, StreamLimits, host_of
from xds_server.xds.clients import (
    FIRST_REQUEST_DEADLINE_S,
    Failure,
    deny,
    failure_of,
    failure_of_denial,
    first_request,
    wait_for_turn,
)
from xds_server.xds.node import node_of
from xds_server.xds.pace import Pace, PaceLimits
from xds_server.xds.stream_events import Event, Node
from xds_server.xds.upstream_requests import Message, UpstreamRequest, message_of

SERVICE: Final = "envoy.service.accesslog.v3.AccessLogService"

ADDRESS_LIMITS: Final = PaceLimits(
    small_share=0.05, small_burst=1.0, large_share=0.05, large_burst=1.0, waiting=32 * MIB
)
TOTAL_LIMITS: Final = PaceLimits(
    small_share=0.25, small_burst=2.0, large_share=0.25, large_burst=2.0, waiting=128 * MIB
)
"""The share of the event loop that the entries of one address, and those of all, may take. An entry takes
some 10 µs, so an address may send some 5,000 entries a second. ADS has the rest of the loop."""

_LARGEST_MESSAGE: Final = MIB
"""Envoy sends a message when it has 16 KiB of entries. One entry may have a path of 60 KiB, or of what the
listener's owner allows."""

_ALL: Final = ""

V = TypeVar("V", bound=Hashable)
_Context = grpc.aio.ServicerContext[bytes, bytes]


class AccessLogServicer(Generic[V]):
    """Gives what any number of Envoys log to `take`, with the number and the view of the stream; `ended` is
    called when a stream has ended. Only logs of the name `log_name` are taken.

    `view_of`, `identify` and `observe` are as for `AdsServicer`; `observe` is called with streams that are
    denied or that end because of an error of the client."""

    def __init__(
        self,
        *,
        log_name: str,
        take: Callable[[StreamId, V, list[UpstreamRequest]], None],
        ended: Callable[[StreamId], None],
        view_of: Callable[[Node, frozenset[str]], V],
        identify: Callable[[Mapping[str, Iterable[bytes]]], frozenset[str]] = lambda _: frozenset(),
        observe: Callable[[Event], None],
        limits: StreamLimits | None = None,
        address_limits: PaceLimits = ADDRESS_LIMITS,
        total_limits: PaceLimits = TOTAL_LIMITS,
        first_request_deadline_s: float = FIRST_REQUEST_DEADLINE_S,
    ) -> None:
        self._log_name = log_name
        self._take = take
        self._ended = ended
        self._view_of = view_of
        self._identify = identify
        self._observe = observe
        self._admission = Admission(limits or StreamLimits())
        self._address, self._total = Pace(address_limits), Pace(total_limits)
        self._first_request_deadline_s = first_request_deadline_s
        self._readers: set[asyncio.Task[Failure | None]] = set()
        self._next_stream = 1

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server. Its handler takes raw bytes."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._handle)
        handlers = {"StreamAccessLogs": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def end_all(self) -> None:
        """End every stream, because the server shuts down."""
        for reader in self._readers:
            reader.cancel()

    async def _handle(self, _requests: object, context: _Context) -> bytes:
        peer = context.peer()
        host = host_of(peer)
        if denial := self._admission.admit(host, now=_now()):
            await deny(context, self._observe, failure_of_denial(denial))
        try:
            failure = await self._served(context, host)
        finally:
            self._admission.leave(host)
        if failure:
            await deny(context, self._observe, failure)
        return b""

    async def _served(self, context: _Context, host: str) -> Failure | None:
        """Serve a stream until it ends. Returns what was wrong with it."""
        stream = StreamId(self._next_stream)
        self._next_stream += 1
        reading = self._read(stream, context, host)
        reader = asyncio.create_task(reading, name=f"xds-shadow/access-log-{stream}")
        self._readers.add(reader)
        try:
            await asyncio.wait([reader])
            return None if reader.cancelled() else reader.result()
        finally:
            # No await before the accounting is complete: gRPC may cancel this coroutine a second time.
            reader.cancel()
            self._readers.discard(reader)
            self._ended(stream)

    async def _read(self, stream: StreamId, context: _Context, host: str) -> Failure | None:
        # No error leaves this coroutine: the task would keep it, and with it the frames and the last message.
        try:
            await self._take_all(stream, context, host)
        except RequestError as error:
            return failure_of(error)
        return None

    async def _take_all(self, stream: StreamId, context: _Context, host: str) -> None:
        view: V | None = None
        raw = await first_request(context, self._first_request_deadline_s)
        while isinstance(raw, bytes):  # or grpc.aio.EOF
            await wait_for_turn(self._address, host, len(raw))
            await wait_for_turn(self._total, _ALL, len(raw))
            began = time.thread_time()
            if len(raw) > _LARGEST_MESSAGE:
                raise RequestLimitError(f"a message of the access log has over {_LARGEST_MESSAGE:,} bytes")
            message = message_of(raw)
            if view is None:
                view = self._view(message, context)
            self._take(stream, view, message.requests)
            took, now = time.thread_time() - began, _now()
            self._address.spend(host, len(raw), took, now)
            self._total.spend(_ALL, len(raw), took, now)
            del raw, message  # otherwise every stream would keep its last message until the next one arrives
            raw = await context.read()

    def _view(self, first: Message, context: _Context) -> V:
        if first.node is None:
            raise RequestError("the first message of a stream has no node")
        if first.log_name != self._log_name:
            raise RequestError(f"this server takes the log {self._log_name} only")
        return self._view_of(node_of(first.node), self._identify(context.auth_context()))


def _now() -> float:
    return asyncio.get_running_loop().time()
