"""The gRPC side of the aggregated discovery service: reads requests, writes what the machines give.

One task a stream writes, one reads. The writer asks the machine for the next response whenever the stream
can take one, so backpressure costs no memory; a reader that takes nothing for too long is dropped.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from xds_server.ads.delta import DeltaMachine
from xds_server.ads.encode import Encoder
from xds_server.ads.events import Event, Node, Sent, StreamClosed, StreamOpened, Variant
from xds_server.ads.machine import Response, StreamMachine
from xds_server.ads.sotw import SotwMachine
from xds_server.base.errors import RequestError
from xds_server.base.ids import NodeId, StreamId
from xds_server.snapshot.cache import SnapshotCache

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""gRPC's default of 4 MiB is less than one acknowledgement of 10,000 names (line 19)."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Line 20: find dead peers, allow Envoy's own pings.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Two servers must never share a port by accident: the fleet would be split between them.
    ("grpc.so_reuseport", 0),
)
_WRITE_DEADLINE_S = 30.0

V = TypeVar("V", bound=Hashable)
_Context = grpc.aio.ServicerContext[bytes, bytes]
_Request = Any  # DiscoveryRequest or DeltaDiscoveryRequest; both have `node`
_Machine = StreamMachine[_Request]


@dataclass(frozen=True, slots=True)
class _Form:
    """What differs between the variants on the wire."""

    variant: Variant
    machine: Callable[[StreamId], _Machine]
    parse: Callable[[bytes], _Request]
    encode: Callable[[Response], bytes]


@dataclass(frozen=True, slots=True)
class _Client(Generic[V]):
    """Who is at the other end, once the first request has said so."""

    node: Node
    view: V


@dataclass(slots=True, eq=False)
class _Stream(Generic[V]):
    """One open stream. `wake` says that there may be something to write, or a reason to end. `late` says that
    the reason is a write that took too long."""

    id: StreamId
    form: _Form
    machine: _Machine
    peer: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    client: _Client[V] | None = None
    ending: str = ""
    late: bool = False


class AdsServicer(Generic[V]):
    """Serves a cache to any number of streams.

    `view_of` gives a node's view, or raises RequestError with a sentence for its operator. `observe` is
    called with every event, on the event loop, and must not block or raise.
    """

    def __init__(
        self,
        *,
        cache: SnapshotCache[V],
        view_of: Callable[[Node], V],
        observe: Callable[[Event], None],
        identifier: str,
        write_deadline_s: float = _WRITE_DEADLINE_S,
    ) -> None:
        encoder = Encoder(identifier)
        self._cache = cache
        self._view_of = view_of
        self._observe = observe
        self._write_deadline_s = write_deadline_s
        self._streams: dict[StreamId, _Stream[V]] = {}
        self._opened = 0
        self._sotw = _Form(Variant.SOTW, SotwMachine, discovery_pb2.DiscoveryRequest.FromString, encoder.sotw)
        self._delta = _Form(
            Variant.DELTA, DeltaMachine, discovery_pb2.DeltaDiscoveryRequest.FromString, encoder.delta
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server, with handlers that take and give raw bytes."""
        handlers = {
            "StreamAggregatedResources": self._handler(self._sotw),
            "DeltaAggregatedResources": self._handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def drain(self, over_s: float) -> None:
        """End every stream, evenly spread over `over_s` seconds, so that the fleet does not reconnect at
        once (line 21)."""
        streams = list(self._streams.values())
        for stream in streams:
            stream.ending = "the server is shutting down"
            stream.wake.set()
            await asyncio.sleep(over_s / len(streams))

    def _handler(self, form: _Form) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(_requests: object, context: _Context) -> None:
            await self._serve(form, context)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _serve(self, form: _Form, context: _Context) -> None:
        self._opened += 1
        identity = StreamId(self._opened)
        stream: _Stream[V] = _Stream(identity, form, form.machine(identity), context.peer())
        self._streams[identity] = stream
        unlisten = self._cache.listen(stream.wake.set)
        reader = asyncio.create_task(self._read(stream, context), name=f"xds-shadow/ads-read-{identity}")
        reader.add_done_callback(lambda _: stream.wake.set())
        try:
            await self._write(stream, context, reader)
            if stream.late:
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"stream dropped: {stream.ending}")
        except RequestError as error:
            stream.ending = str(error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            # Nothing is awaited before the books are right: gRPC may cancel this a second time.
            unlisten()
            reader.cancel()
            self._forget(stream)
            await asyncio.gather(reader, return_exceptions=True)

    def _drop(self, stream: _Stream[V]) -> None:
        """Give a stream up whose client does not take what is being written. gRPC cannot end a call during a
        write, so the client learns of it when it reads on, and reconnects then. If it is dead, the missing
        answer to a keepalive ping ends the write."""
        stream.late = True
        stream.ending = f"it took nothing for {self._write_deadline_s:g} s"
        self._forget(stream)

    def _forget(self, stream: _Stream[V]) -> None:
        """Take a stream off the books, once."""
        if self._streams.pop(stream.id, None) is not None and stream.client is not None:
            self._observe(StreamClosed(stream=stream.id, reason=stream.ending))

    async def _write(self, stream: _Stream[V], context: _Context, reader: asyncio.Task[None]) -> None:
        while not stream.ending:
            stream.wake.clear()
            if reader.done():
                reader.result()  # raises what was wrong with a request
                return
            response = self._next(stream)
            if response is None:
                await stream.wake.wait()
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
            late = asyncio.get_running_loop().call_later(self._write_deadline_s, self._drop, stream)
            try:
                await context.write(body)
            finally:
                late.cancel()

    def _next(self, stream: _Stream[V]) -> Response | None:
        if stream.client is None:
            return None
        snapshot = self._cache.current(stream.client.view)
        if snapshot is None:
            return None
        response = stream.machine.next(snapshot)
        for event in stream.machine.take_resumed():
            self._observe(event)
        return response

    async def _read(self, stream: _Stream[V], context: _Context) -> None:
        while isinstance(raw := await context.read(), bytes):  # or grpc.aio.EOF
            if stream.ending:
                return
            try:
                request = stream.form.parse(raw)
            except DecodeError as error:
                raise RequestError(f"the request is not a {stream.form.variant} request: {error}") from error
            if stream.client is None:
                self._greet(stream, request)
            for event in stream.machine.receive(request):
                self._observe(event)
            stream.wake.set()

    def _greet(self, stream: _Stream[V], request: _Request) -> None:
        """Learn who the client is; only a stream's first request must say so (line 1)."""
        if not request.HasField("node"):
            raise RequestError("the first request of a stream has no node; set node.id in the bootstrap")
        node = _node(request.node)
        stream.client = _Client(node, self._view_of(node))
        opened = StreamOpened(stream=stream.id, node=node, variant=stream.form.variant, peer=stream.peer)
        self._observe(opened)


def _node(message: base_pb2.Node) -> Node:
    try:
        metadata = MessageToDict(message.metadata)
    except (JsonError, ValueError) as error:
        raise RequestError(f"node.metadata cannot be read: {error}") from error
    version = message.user_agent_build_version.version
    build = f"{version.major_number}.{version.minor_number}.{version.patch}"
    return Node(
        id=NodeId(message.id),
        cluster=message.cluster,
        metadata=metadata,
        build=f"{message.user_agent_name} {build}".strip() if message.user_agent_name else "",
    )
