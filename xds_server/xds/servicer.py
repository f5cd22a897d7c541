"""The gRPC side of the aggregated discovery service.

Each stream has one task that reads requests (`reading`) and one that writes responses. The writer asks the
stream's machine for the next response only when the stream can take one, so a slow client costs no queue.
A stream whose client does not take a response within a deadline is closed.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import grpc

from xds_server.base.ids import NodeId, StreamId
from xds_server.xds.admission import Admission, StreamLimits, host_of
from xds_server.xds.budget import Held, NameBudget, NameLimits
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.clients import (
    FIRST_REQUEST_DEADLINE_S,
    SilentError,
    deny,
    failure_of,
    failure_of_denial,
)
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.distribution import Distribution
from xds_server.xds.encode import Encoder
from xds_server.xds.pace import Pace, PaceLimits
from xds_server.xds.reading import RequestLoop
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.responses import Response
from xds_server.xds.routing_state import Subscriptions
from xds_server.xds.sotw import SotwMachine
from xds_server.xds.stream import Context, Stream, Wire
from xds_server.xds.stream_events import Cause, Event, Node, Sent, StreamClosed, StreamDenied, Variant
from xds_server.xds.view_budget import ViewBudget, ViewLimits

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

_WRITE_DEADLINE_S = 30.0

V = TypeVar("V", bound=Hashable)


class Client(NamedTuple):
    """The client of an open stream. `opened_at` is the loop time of its first request."""

    stream: StreamId
    node: NodeId
    opened_at: float
    subscriptions: Subscriptions


class AdsServicer(Generic[V]):
    """Serves a snapshot cache to any number of streams.

    `view_of` returns the view of a node, given the names in its client certificate (none without TLS), or
    raises RequestError with a message for the operator. `identify` reads those names from a connection, once
    for each stream. `observe` is called with every event, on the event loop; it must not block or raise.
    `converged` is passed to `Convergence`. `ended` is called when a call has ended and holds no resources. A
    client must send its first request within `first_request_deadline_s` and take each response within
    `write_deadline_s`.
    """

    def __init__(
        self,
        *,
        cache: SnapshotCache[V],
        view_of: Callable[[Node, frozenset[str]], V],
        observe: Callable[[Event], None],
        identifier: str,
        write_deadline_s: float = _WRITE_DEADLINE_S,
        first_request_deadline_s: float = FIRST_REQUEST_DEADLINE_S,
        limits: StreamLimits | None = None,
        name_limits: NameLimits | None = None,
        view_limits: ViewLimits | None = None,
        pace_limits: PaceLimits | None = None,
        identify: Callable[[Mapping[str, Iterable[bytes]]], frozenset[str]] = lambda _: frozenset(),
        converged: Callable[[int, bool], None] = lambda *_: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        encoder = Encoder(identifier)
        self._identify = identify
        self._observe = observe
        self._ended = ended
        self._write_deadline_s = write_deadline_s
        self._first_request_deadline_s = first_request_deadline_s
        self._admission = Admission(limits or StreamLimits())
        self._names = NameBudget(name_limits or NameLimits())
        self._views: ViewBudget[V] = ViewBudget(view_limits or ViewLimits())
        self._distribution = Distribution(cache, converged)
        self._requests = RequestLoop(
            distribution=self._distribution,
            pace=Pace(pace_limits or PaceLimits()),
            views=self._views,
            view_of=view_of,
            observe=observe,
            enforce_name_limits=self._enforce_name_limits,
        )
        self._streams: dict[StreamId, Stream[V]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._next_stream = 1
        self._sotw = Wire(Variant.SOTW, SotwMachine, SotwReader, encoder.sotw)
        self._delta = Wire(Variant.DELTA, DeltaMachine, DeltaReader, encoder.delta)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server. Its handlers take and return raw bytes."""
        handlers = {
            "StreamAggregatedResources": self._handler(self._sotw),
            "DeltaAggregatedResources": self._handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def drain(self, over_s: float) -> None:
        """End every stream, evenly spread over `over_s` seconds, so that the clients do not reconnect at the
        same time (rule 21)."""
        streams = list(self._streams.values())
        for stream in streams:
            stream.ending, stream.cause = "the server is shutting down", Cause.SHUTDOWN
            stream.wake.set()
            await asyncio.sleep(over_s / len(streams))

    def clients(self) -> list[Client]:
        """The clients that have identified themselves, in the order of their streams."""
        return [_client(each) for each in self._streams.values() if each.subscribers is not None]

    def client(self, stream: StreamId) -> Client | None:
        """The client of an open stream that has identified itself."""
        found = self._streams.get(stream)
        return None if found is None or found.subscribers is None else _client(found)

    # --- the life of a stream --------------------------------------------------------------------------

    def _handler(self, wire: Wire) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(_requests: object, context: Context) -> None:
            host = host_of(context.peer())
            if denial := self._admission.admit(host, now=asyncio.get_running_loop().time()):
                await deny(context, self._observe, failure_of_denial(denial))
            try:
                await self._serve(wire, context)
            finally:
                self._admission.leave(host)
                self._ended()

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _serve(self, wire: Wire, context: Context) -> None:
        identity = StreamId(self._next_stream)
        self._next_stream += 1
        names = self._identify(context.auth_context())
        stream: Stream[V] = Stream(
            identity, wire, wire.machine(identity), wire.reader().read, context.peer(), names
        )
        self._streams[identity] = stream
        reader = asyncio.create_task(
            self._requests.run(stream, context), name=f"xds-shadow/ads-read-{identity}"
        )
        reader.add_done_callback(lambda _: stream.wake.set())
        deadline = asyncio.get_running_loop().call_later(
            self._first_request_deadline_s, self._end_silent, stream
        )
        try:
            await self._write(stream, context, reader)
            if stream.status is not None:
                await context.abort(stream.status, stream.ending)
        finally:
            # No await before the accounting is complete: gRPC may cancel this coroutine a second time.
            deadline.cancel()
            reader.cancel()
            self._remove(stream)
            self._names.leave(stream.id)
            await asyncio.gather(reader, return_exceptions=True)

    def _remove(self, stream: Stream[V]) -> None:
        """Stop serving a stream. Further calls for the same stream do nothing."""
        if self._streams.pop(stream.id, None) is None:
            return
        # gRPC may take long to end the current write. Everything but that write is released now.
        stream.machine, stream.read = stream.wire.machine(stream.id), stream.wire.reader().read
        self._names.note(stream.id, host_of(stream.peer), Held(more=stream.writing_names))
        self._views.leave(stream.id)
        if stream.subscribers is None:
            if stream.status is not None:
                self._observe(
                    StreamDenied(stream=stream.id, peer=stream.peer, reason=stream.ending, cause=stream.cause)
                )
            return
        self._distribution.leave(stream, stream.subscribers)
        reason = stream.ending or stream.close_reason(asyncio.get_running_loop().time())
        self._observe(StreamClosed(stream=stream.id, node=stream.node, reason=reason, cause=stream.cause))

    def _end_silent(self, stream: Stream[V]) -> None:
        """End a stream whose first request has not arrived: it takes memory and a place in the limits."""
        if stream.subscribers is None:
            failure = failure_of(SilentError(self._first_request_deadline_s))
            stream.end(failure.reason, failure.cause, failure.code)
            stream.wake.set()

    def _enforce_name_limits(self, stream: Stream[V]) -> None:
        """End the streams that make this process keep more names than the limits allow."""
        if stream.subscribers is None:
            return
        held = stream.machine.held(known_versions=stream.subscribers.snapshot is None)
        for exceeded in self._names.hold(stream.id, host_of(stream.peer), held):
            ended = self._streams[exceeded.stream]
            ended.end(exceeded.reason, Cause.LIMIT, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self._remove(ended)
            ended.wake.set()

    # --- writing ---------------------------------------------------------------------------------------

    async def _write(self, stream: Stream[V], context: Context, reader: asyncio.Task[None]) -> None:
        clock = asyncio.get_running_loop().time
        while not stream.ending:
            stream.wake.clear()
            if reader.done():
                reader.result()  # raises a bug in the reader
                return
            response = self._next(stream)
            self._enforce_name_limits(stream)
            if stream.ending:
                return
            if response is None:
                self._distribution.progressed(stream)
                await self._sleep(stream)
                continue
            body = stream.wire.encode(response)
            self._observe(
                Sent(
                    stream=stream.id,
                    type_url=response.type_url,
                    version=response.version,
                    nonce=response.nonce,
                    resources=len(response.resources),
                    removed=len(response.removed),
                    size=len(body),
                )
            )
            stream.writing_since, stream.writing_names = clock(), response.batch.name_bytes
            if self._sweeping is None:
                self._schedule_sweep()
            try:
                await context.write(body)
            finally:
                stream.writing_since, stream.writing_names = None, 0

    def _next(self, stream: Stream[V]) -> Response | None:
        if stream.subscribers is None or stream.subscribers.snapshot is None:
            return None
        now = asyncio.get_running_loop().time()
        response = stream.machine.next(stream.subscribers.snapshot, now)
        for event in stream.machine.take_events():
            self._observe(event)
        return response

    async def _sleep(self, stream: Stream[V]) -> None:
        """Wait until there may be a response to write, or a reason to end."""
        wakes_at = stream.machine.wakes_at
        if wakes_at is None:
            await stream.wake.wait()
            return
        timer = asyncio.get_running_loop().call_at(wakes_at, stream.wake.set)
        try:
            await stream.wake.wait()
        finally:
            timer.cancel()

    # --- slow readers ----------------------------------------------------------------------------------
    # One timer for all streams: a timer for each write would cost more than the write.

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(self._write_deadline_s / 4, self._sweep)

    def _sweep(self) -> None:
        """End streams whose clients did not take the current response in time."""
        self._sweeping = None
        latest = asyncio.get_running_loop().time() - self._write_deadline_s
        writing = [stream for stream in self._streams.values() if stream.writing_since is not None]
        for stream in writing:
            if stream.writing_since is not None and stream.writing_since <= latest:
                self._end_slow(stream)
        if writing:
            self._schedule_sweep()

    def _end_slow(self, stream: Stream[V]) -> None:
        """gRPC cannot end a call during a write. The client gets the status when it reads on; if it is dead,
        the missing response to a keepalive ping ends the write."""
        reason = f"the client took nothing for {self._write_deadline_s:g} s"
        stream.end(reason, Cause.SLOW, grpc.StatusCode.DEADLINE_EXCEEDED)
        self._remove(stream)


def _client(stream: Stream[Any]) -> Client:
    return Client(stream.id, stream.node, stream.opened_at, stream.machine.subscriptions)
