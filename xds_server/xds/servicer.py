"""The gRPC side of the aggregated discovery service: reads requests, writes what the machines give.

One task a stream writes, one reads. The writer asks the machine for the next response whenever the stream
can take one, so backpressure costs no memory; a reader that takes nothing for too long is dropped.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

import grpc
from envoy.config.core.v3 import base_pb2

from xds_server.base.errors import RequestDeniedError, RequestError, RequestLimitError
from xds_server.base.ids import StreamId
from xds_server.xds.admission import Admission, Limits, host_of
from xds_server.xds.budget import Held, NameBudget, NameLimits
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.convergence import Convergence
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.encode import Encoder
from xds_server.xds.machine import Response
from xds_server.xds.node import node_of
from xds_server.xds.pace import Pace, PaceLimits
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.sotw import SotwMachine
from xds_server.xds.stream import Stream, Wire
from xds_server.xds.stream_events import (
    Cause,
    Event,
    Node,
    Sent,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Variant,
)
from xds_server.xds.subscribers import Audience
from xds_server.xds.variants import Hosts, hosts_for
from xds_server.xds.view_budget import ViewBudget, ViewLimits

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

_WRITE_DEADLINE_S = 30.0
_GREETING_DEADLINE_S = 30.0
_NO_STREAM = StreamId(0)

V = TypeVar("V", bound=Hashable)
_Context = grpc.aio.ServicerContext[bytes, bytes]


class AdsServicer(Generic[V]):
    """Serves a cache to any number of streams.

    `view_of` gives the view of a node whose client's certificate has certain names (none without TLS), or
    raises RequestError with a sentence for its operator. `identify` reads those names off a connection, once
    for a stream. `observe` is called with every event, on the event loop, and must not block or raise;
    `converged` likewise, as `Convergence` says. `ended` is told that a call is over and holds nothing any
    more. A stream must send its first request within `greeting_deadline_s`, and take what is written to it
    within `write_deadline_s`.
    """

    def __init__(
        self,
        *,
        cache: SnapshotCache[V],
        view_of: Callable[[Node, frozenset[str]], V],
        observe: Callable[[Event], None],
        identifier: str,
        write_deadline_s: float = _WRITE_DEADLINE_S,
        greeting_deadline_s: float = _GREETING_DEADLINE_S,
        limits: Limits | None = None,
        name_limits: NameLimits | None = None,
        view_limits: ViewLimits | None = None,
        pace_limits: PaceLimits | None = None,
        identify: Callable[[Mapping[str, Iterable[bytes]]], frozenset[str]] = lambda _: frozenset(),
        converged: Callable[[int, bool], None] = lambda *_: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        encoder = Encoder(identifier)
        self._cache = cache
        self._view_of = view_of
        self._identify = identify
        self._observe = observe
        self._ended = ended
        self._write_deadline_s = write_deadline_s
        self._greeting_deadline_s = greeting_deadline_s
        self._admission = Admission(limits or Limits())
        self._names = NameBudget(name_limits or NameLimits())
        self._views: ViewBudget[V] = ViewBudget(view_limits or ViewLimits())
        self._pace = Pace(pace_limits or PaceLimits())
        self._convergence = Convergence(converged)
        self._streams: dict[StreamId, Stream[V]] = {}
        self._audiences: dict[tuple[V, Hosts], Audience[Stream[V]]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._next_stream = 1
        self._sotw = Wire(Variant.SOTW, SotwMachine, SotwReader, encoder.sotw)
        self._delta = Wire(Variant.DELTA, DeltaMachine, DeltaReader, encoder.delta)
        cache.listen(self._changed)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server, with handlers that take and give raw bytes."""
        handlers = {
            "StreamAggregatedResources": self._handler(self._sotw),
            "DeltaAggregatedResources": self._handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def drain(self, over_s: float) -> None:
        """End every stream, evenly spread over `over_s` seconds, so that the fleet does not reconnect at
        once (rule 21)."""
        streams = list(self._streams.values())
        for stream in streams:
            stream.ending, stream.cause = "the server is shutting down", Cause.SHUTDOWN
            stream.wake.set()
            await asyncio.sleep(over_s / len(streams))

    def _changed(self) -> None:
        """There is a new snapshot: wake those whom it concerns. A view that cannot be made leaves its nodes
        on what they have, and costs the others nothing.

        Raises:
            ExceptionGroup: of what went wrong with views; bugs of ours.
        """
        failures = []
        woken: set[StreamId] = set()
        for (view, _), audience in self._audiences.items():
            try:
                base = self._cache.current(view)
                concerned = audience.show(base) if base is not None else ()
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
                continue
            for stream in concerned:
                stream.wake.set()
            woken.update(stream.id for stream in concerned)
        self._convergence.begin(self._cache.generation, woken, now=time.monotonic())
        if failures:
            raise ExceptionGroup("views could not be made", failures)

    def _handler(self, form: Wire) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(_requests: object, context: _Context) -> None:
            host = host_of(context.peer())
            if refusal := self._admission.refusal(host, now=asyncio.get_running_loop().time()):
                self._observe(
                    StreamDenied(
                        stream=_NO_STREAM, peer=context.peer(), reason=refusal.reason, cause=refusal.cause
                    )
                )
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal.reason)
            try:
                await self._serve(form, context)
            finally:
                self._admission.leave(host)
                self._ended()

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _serve(self, form: Wire, context: _Context) -> None:
        identity = StreamId(self._next_stream)
        self._next_stream += 1
        names = self._identify(context.auth_context())
        stream: Stream[V] = Stream(
            identity, form, form.machine(identity), form.reader().read, context.peer(), names
        )
        self._streams[identity] = stream
        reader = asyncio.create_task(self._read(stream, context), name=f"xds-shadow/ads-read-{identity}")
        reader.add_done_callback(lambda _: stream.wake.set())
        greeting = asyncio.get_running_loop().call_later(
            self._greeting_deadline_s, self._expect_greeting, stream
        )
        try:
            await self._write(stream, context, reader)
            if stream.status is not None:
                await context.abort(stream.status, stream.ending)
        finally:
            # Nothing is awaited before the books are right: gRPC may cancel this a second time.
            greeting.cancel()
            reader.cancel()
            self._forget(stream)
            self._names.leave(stream.id)
            await asyncio.gather(reader, return_exceptions=True)

    def _forget(self, stream: Stream[V]) -> None:
        """Take a stream off the books, once."""
        if self._streams.pop(stream.id, None) is None:
            return
        # It may take gRPC long to end what is being written. Of the rest nothing is kept till then.
        stream.machine, stream.read = stream.form.machine(stream.id), stream.form.reader().read
        self._names.note(stream.id, host_of(stream.peer), Held(more=stream.writing_names))
        self._views.leave(stream.id)
        if stream.audience is None:
            if stream.status is not None:
                self._observe(
                    StreamDenied(stream=stream.id, peer=stream.peer, reason=stream.ending, cause=stream.cause)
                )
            return
        self._convergence.leave(stream.id)
        stream.audience.leave(stream)
        if not stream.audience:
            self._audiences = {key: each for key, each in self._audiences.items() if each}
            if stream.view not in {view for view, _ in self._audiences}:
                self._cache.forget(stream.view)  # type: ignore[arg-type]  # it is set with `audience`
        reason = stream.ending or stream.lost(asyncio.get_running_loop().time())
        self._observe(StreamClosed(stream=stream.id, node=stream.node, reason=reason, cause=stream.cause))

    # --- writing ---------------------------------------------------------------------------------------

    async def _write(self, stream: Stream[V], context: _Context, reader: asyncio.Task[None]) -> None:
        clock = asyncio.get_running_loop().time
        while not stream.ending:
            stream.wake.clear()
            if reader.done():
                reader.result()  # raises what was wrong with a request
                return
            response = self._next(stream)
            self._count_names(stream)
            if stream.ending:
                return
            if response is None:
                self._look(stream)
                await self._sleep(stream)
                continue
            body = stream.form.encode(response)
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
                self._sweep_later()
            try:
                await context.write(body)
            finally:
                stream.writing_since, stream.writing_names = None, 0

    def _next(self, stream: Stream[V]) -> Response | None:
        if stream.audience is None or stream.audience.snapshot is None:
            return None
        now = asyncio.get_running_loop().time()
        response = stream.machine.next(stream.audience.snapshot, now)
        for event in stream.machine.take_noted():
            self._observe(event)
        return response

    def _count_names(self, stream: Stream[V]) -> None:
        """End whoever makes this process keep more names than it may."""
        if stream.audience is None:
            return
        held = stream.machine.held(claims=stream.audience.snapshot is None)
        for exceeded in self._names.hold(stream.id, host_of(stream.peer), held):
            ended = self._streams[exceeded.stream]
            ended.ending, ended.cause = exceeded.reason, Cause.LIMIT
            ended.status = grpc.StatusCode.RESOURCE_EXHAUSTED
            self._forget(ended)
            ended.wake.set()

    async def _sleep(self, stream: Stream[V]) -> None:
        """Until there may be something to write, or a reason to end."""
        wakes_at = stream.machine.wakes_at
        if wakes_at is None:
            await stream.wake.wait()
            return
        timer = asyncio.get_running_loop().call_at(wakes_at, stream.wake.set)
        try:
            await stream.wake.wait()
        finally:
            timer.cancel()

    def _look(self, stream: Stream[V]) -> None:
        if stream.audience is not None and stream.audience.snapshot is not None:
            self._convergence.look(stream.id, stream.machine, stream.audience.snapshot)

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(self._write_deadline_s / 4, self._sweep)

    def _sweep(self) -> None:
        """Give up streams whose clients do not take what is being written."""
        self._sweeping = None
        too_early = asyncio.get_running_loop().time() - self._write_deadline_s
        writing = [stream for stream in self._streams.values() if stream.writing_since is not None]
        for stream in writing:
            if stream.writing_since is not None and stream.writing_since <= too_early:
                self._drop(stream)
        if writing:
            self._sweep_later()

    def _expect_greeting(self, stream: Stream[V]) -> None:
        """Give up a stream that has not said who it is: it costs memory and a place among the streams."""
        if stream.audience is None:
            stream.ending, stream.cause = (
                f"the client sent no request for {self._greeting_deadline_s:g} s",
                Cause.SILENT,
            )
            stream.status = grpc.StatusCode.DEADLINE_EXCEEDED
            stream.wake.set()

    def _drop(self, stream: Stream[V]) -> None:
        """gRPC cannot end a call during a write, so the client learns of it when it reads on, and reconnects
        then. If it is dead, the missing answer to a keepalive ping ends the write."""
        stream.ending, stream.cause = (
            f"the client took nothing for {self._write_deadline_s:g} s",
            Cause.SLOW,
        )
        stream.status = grpc.StatusCode.DEADLINE_EXCEEDED
        self._forget(stream)

    # --- reading ---------------------------------------------------------------------------------------

    async def _read(self, stream: Stream[V], context: _Context) -> None:
        """Take requests until the client sends no more, or one that it may not send."""
        # An error must not leave here: the task would keep it, it the stack, and that the task. Such a circle
        # holds a request, which may be large, until the collector of garbage comes by, which it does seldom.
        try:
            while isinstance(raw := await context.read(), bytes) and not stream.ending:  # or grpc.aio.EOF
                await self._take_in_turn(stream, raw)
                del raw  # or every stream would hold its last until the next one comes
        except RequestDeniedError as error:
            stream.ending, stream.cause = str(error), Cause.DENIED
            stream.status = grpc.StatusCode.PERMISSION_DENIED
        except RequestLimitError as error:
            stream.ending, stream.cause = str(error), Cause.LIMIT
            stream.status = grpc.StatusCode.RESOURCE_EXHAUSTED
        except RequestError as error:
            stream.ending, stream.cause = str(error), Cause.INVALID
            stream.status = grpc.StatusCode.INVALID_ARGUMENT

    async def _take_in_turn(self, stream: Stream[V], raw: bytes) -> None:
        """Take a request once its address has not had more than its share of the loop."""
        host, clock = host_of(stream.peer), asyncio.get_running_loop().time
        if wait := self._pace.wait(host, len(raw), clock()):
            self._pace.hold(host, len(raw))
            try:
                while wait and not stream.ending:
                    await asyncio.sleep(wait)
                    wait = self._pace.wait(host, len(raw), clock())
            finally:
                self._pace.release(host, len(raw))
            if stream.ending:
                return
        began = time.thread_time()
        try:
            self._take(stream, raw)
        finally:
            self._pace.spend(host, len(raw), time.thread_time() - began, clock())

    def _take(self, stream: Stream[V], raw: bytes) -> None:
        machine, request = stream.machine, stream.read(raw)
        stream.heard = asyncio.get_running_loop().time()
        if stream.audience is None:
            self._greet(stream, request.node)
        for event in machine.receive(request):
            self._observe(event)
        self._count_names(stream)
        if stream.ending:
            return
        self._look(stream)
        if stream.audience is not None and machine.serves(request.type_url):
            stream.audience.watch(stream, request.type_url, machine.watched(request.type_url))
        if machine.restless:
            stream.wake.set()

    def _greet(self, stream: Stream[V], message: base_pb2.Node | None) -> None:
        """Learn who the client is; only a stream's first request must say so (rule 1)."""
        if message is None:
            raise RequestError("the first request of a stream has no node; set node.id in the bootstrap")
        node = node_of(message)
        stream.node, stream.opened = node.id, stream.heard
        stream.view = self._view_of(node, stream.names)
        self._views.join(stream.id, host_of(stream.peer), stream.view)
        stream.audience = self._audience(stream.view, hosts_for(node, stream.form.variant))
        stream.audience.join(stream)
        node = replace(node, metadata={})  # it has served its purpose, and may be large
        opened = StreamOpened(stream=stream.id, node=node, variant=stream.form.variant, peer=stream.peer)
        self._observe(opened)

    def _audience(self, view: V, hosts: Hosts) -> "Audience[Stream[V]]":
        known = self._audiences.get((view, hosts))
        if known is not None:
            return known
        audience: Audience[Stream[V]] = Audience(hosts)
        if (base := self._cache.current(view)) is not None:
            audience.show(base)
        self._audiences[view, hosts] = audience
        return audience
