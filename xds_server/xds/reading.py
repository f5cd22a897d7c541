"""Reads the requests of a stream, within its address's share of the event loop, and feeds its machine."""

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Generic, TypeVar

from envoy.config.core.v3 import base_pb2

from xds_server.base.errors import RequestError
from xds_server.xds.admission import host_of
from xds_server.xds.clients import failure_of, wait_for_turn
from xds_server.xds.distribution import Distribution
from xds_server.xds.node import node_of
from xds_server.xds.pace import Pace
from xds_server.xds.stream import Context, Stream
from xds_server.xds.stream_events import Event, Node, StreamOpened
from xds_server.xds.variants import hosts_mode_of
from xds_server.xds.view_budget import ViewBudget

V = TypeVar("V", bound=Hashable)


class RequestLoop(Generic[V]):
    """Handles the requests of all streams of one server. `enforce_name_limits` is called after each request;
    it may end the stream."""

    def __init__(
        self,
        *,
        distribution: Distribution[V],
        pace: Pace,
        views: ViewBudget[V],
        view_of: Callable[[Node, frozenset[str]], V],
        observe: Callable[[Event], None],
        enforce_name_limits: Callable[[Stream[V]], None],
    ) -> None:
        self._distribution = distribution
        self._pace = pace
        self._views = views
        self._view_of = view_of
        self._observe = observe
        self._enforce_name_limits = enforce_name_limits

    async def run(self, stream: Stream[V], context: Context) -> None:
        """Handle requests until the client half-closes, sends an invalid request, or the stream ends."""
        # No error may leave this coroutine: the task would keep the error, the error the stack frames, and
        # the frames the task. Such a cycle holds the last request, which may be large, until a garbage
        # collection.
        try:
            while isinstance(raw := await context.read(), bytes) and not stream.ending:  # or grpc.aio.EOF
                await self._handle_paced(stream, raw)
                del raw  # otherwise every stream would keep its last request until the next one arrives
        except RequestError as error:
            failure = failure_of(error)
            stream.end(failure.reason, failure.cause, failure.code)

    async def _handle_paced(self, stream: Stream[V], raw: bytes) -> None:
        """Handle a request as soon as its address is within its share of the event loop."""
        host, clock = host_of(stream.peer), asyncio.get_running_loop().time
        await wait_for_turn(self._pace, host, len(raw), ended=lambda: bool(stream.ending))
        if stream.ending:
            return
        began = time.thread_time()
        try:
            self._handle(stream, raw)
        finally:
            self._pace.spend(host, len(raw), time.thread_time() - began, clock())

    def _handle(self, stream: Stream[V], raw: bytes) -> None:
        machine, request = stream.machine, stream.read(raw)
        stream.last_request_at = asyncio.get_running_loop().time()
        if stream.subscribers is None:
            self._open(stream, request.node)
        for event in machine.receive(request):
            self._observe(event)
        self._enforce_name_limits(stream)
        if stream.ending:
            return
        self._distribution.progressed(stream)
        if stream.subscribers is not None and machine.serves(request.type_url):
            stream.subscribers.subscribe(stream, request.type_url, machine.watched(request.type_url))
        if machine.may_send:
            stream.wake.set()

    def _open(self, stream: Stream[V], message: base_pb2.Node | None) -> None:
        """Identify the client. Only the first request of a stream must carry a node (rule 1)."""
        if message is None:
            raise RequestError("the first request of a stream has no node; set node.id in the bootstrap")
        node = node_of(message)
        stream.node, stream.opened_at = node.id, stream.last_request_at
        view = self._view_of(node, stream.names)
        self._views.join(stream.id, host_of(stream.peer), view)
        self._distribution.join(stream, view, hosts_mode_of(node, stream.wire.variant))
        node = replace(node, metadata={})  # used by `view_of` only, and possibly large
        opened = StreamOpened(stream=stream.id, node=node, variant=stream.wire.variant, peer=stream.peer)
        self._observe(opened)
