"""The load reporting service (LRS), beside ADS on the same port: asks each Envoy for the loads of some
clusters.

An Envoy is asked for clusters of its own view only, and what it reports of others does not count. Each
stream has one task that reads reports and one that writes what is asked. A stream that is slow, silent or
wrong affects no other.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import grpc
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.message import DecodeError

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
from xds_server.xds.framing import read_varint
from xds_server.xds.loads import Load, Loads
from xds_server.xds.node import node_of
from xds_server.xds.pace import Pace, PaceLimits
from xds_server.xds.stream_events import Event, Node
from xds_server.xds.view_budget import ViewBudget, ViewLimits

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"


REPORT_BYTES: Final = MIB // 4
CLUSTER_BYTES: Final = 2048
"""The size of a report: so much, and so much for each cluster that the Envoy was asked for."""

_NODE: Final = bytes([lrs_pb2.LoadStatsRequest.NODE_FIELD_NUMBER << 3 | 2])
"""The tag of the node, a message."""

V = TypeVar("V", bound=Hashable)
_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True, eq=False)
class _Stream(Generic[V]):
    """One open stream. The Envoy was last `asked` for these clusters; `answered` is whether it has reported
    since. Its next report may be about the clusters in `believed`, those that it was asked for before
    included."""

    id: StreamId
    view: V
    host: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    asked: frozenset[str] = frozenset()
    believed: frozenset[str] = frozenset()
    answered: bool = True
    failure: Failure | None = None
    ending: bool = False


class LoadReportServicer(Generic[V]):
    """Takes the reports of any number of Envoys into `loads`.

    `wanted` returns the names of the clusters of a view that are to be reported; call `refresh` when they
    change. `view_of`, `identify` and `observe` are as for `AdsServicer`; `observe` is called with streams
    that are denied or that end because of an error of the client.
    """

    def __init__(
        self,
        *,
        loads: Loads,
        wanted: Callable[[V], frozenset[str]],
        view_of: Callable[[Node, frozenset[str]], V],
        identify: Callable[[Mapping[str, Iterable[bytes]]], frozenset[str]] = lambda _: frozenset(),
        observe: Callable[[Event], None],
        limits: StreamLimits | None = None,
        view_limits: ViewLimits | None = None,
        pace_limits: PaceLimits | None = None,
        first_request_deadline_s: float = FIRST_REQUEST_DEADLINE_S,
    ) -> None:
        self._loads = loads
        self._wanted = wanted
        self._view_of = view_of
        self._identify = identify
        self._observe = observe
        self._first_request_deadline_s = first_request_deadline_s
        self._admission = Admission(limits or StreamLimits())
        self._views: ViewBudget[V] = ViewBudget(view_limits or ViewLimits())
        self._pace = Pace(pace_limits or PaceLimits())
        self._streams: dict[StreamId, _Stream[V]] = {}
        self._next_stream = 1

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server. Its handler takes and returns raw bytes."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._handle)
        handlers = {"StreamLoadStats": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def refresh(self) -> None:
        """Ask each Envoy again whose clusters have changed."""
        for stream in self._streams.values():
            stream.wake.set()

    def end_all(self) -> None:
        """End every stream: the server is shutting down. Envoys report to another replica, or later."""
        for stream in self._streams.values():
            stream.ending = True
            stream.wake.set()

    # --- the life of a stream --------------------------------------------------------------------------

    async def _handle(self, _requests: object, context: _Context) -> None:
        host = host_of(context.peer())
        if denial := self._admission.admit(host, now=_now()):
            await deny(context, self._observe, failure_of_denial(denial))
        try:
            failure = await self._serve(context, host)
            if failure is not None:
                await deny(context, self._observe, failure)
        finally:
            self._admission.leave(host)

    async def _serve(self, context: _Context, host: str) -> Failure | None:
        """Serve a stream until it ends; returns the client's error, if that was the reason."""
        identity = StreamId(self._next_stream)
        self._next_stream += 1
        try:
            node = await self._greeting(context, host)
            if node is None:
                return None
            stream = _Stream(identity, self._view_of(node, self._identify(context.auth_context())), host)
            self._views.join(stream.id, host, stream.view)
        except RequestError as error:
            return failure_of(error)
        self._streams[stream.id] = stream
        self._loads.join(stream.id, node.id, now=_now())
        reader = asyncio.create_task(self._read(stream, context), name=f"xds-shadow/loads-read-{stream.id}")
        reader.add_done_callback(lambda _: stream.wake.set())
        try:
            await self._write(stream, context, reader)
            return stream.failure
        finally:
            # No await before the accounting is complete: gRPC may cancel this coroutine a second time.
            self._loads.leave(stream.id)
            self._views.leave(stream.id)
            del self._streams[stream.id]
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _greeting(self, context: _Context, host: str) -> Node | None:
        """The node in the first request; None if the client ends the stream without one."""
        first = await first_request(context, self._first_request_deadline_s)
        if not isinstance(first, bytes):
            return None
        await wait_for_turn(self._pace, host, len(first))
        with self._spending(host, len(first)):
            request = _parsed(first)
            if not request.HasField("node"):
                raise RequestError("the first request of a stream has no node; set node.id in the bootstrap")
            return node_of(request.node)

    # --- reading and writing ---------------------------------------------------------------------------

    async def _read(self, stream: _Stream[V], context: _Context) -> None:
        # No error may leave this coroutine, or the task would keep the last report (see `reading`).
        try:
            while isinstance(raw := await context.read(), bytes):  # or grpc.aio.EOF
                await wait_for_turn(self._pace, stream.host, len(raw))
                with self._spending(stream.host, len(raw)):
                    self._take(stream, raw)
                del raw  # otherwise every stream would keep its last report until the next one arrives
        except RequestError as error:
            stream.failure = failure_of(error)

    def _take(self, stream: _Stream[V], raw: bytes) -> None:
        request = _parsed(raw, clusters=len(stream.believed), node=False)
        known = [each for each in request.cluster_stats if each.cluster_name in stream.believed]
        self._loads.rejected += len(request.cluster_stats) - len(known)
        loads = [(each.cluster_name, _load(each)) for each in known]
        self._loads.report(stream.id, loads, stream.believed, now=_now())
        stream.believed, stream.answered = stream.asked, True
        stream.wake.set()

    @contextmanager
    def _spending(self, host: str, size: int) -> Iterator[None]:
        """The client's address pays for the time that the block takes."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._pace.spend(host, size, time.thread_time() - began, _now())

    async def _write(self, stream: _Stream[V], context: _Context, reader: asyncio.Task[None]) -> None:
        """Ask for what is wanted. Envoy begins a new interval with each question, so an Envoy that was asked
        again before it reported would never report: the next question waits for the report."""
        said: tuple[frozenset[str], float] | None = None
        while not stream.ending:
            stream.wake.clear()
            if reader.done():
                reader.result()  # raises a bug in the reader
                return
            wish = self._wanted(stream.view), self._loads.interval_s()
            if wish != said and (stream.answered or not stream.asked):
                said = wish
                stream.believed, stream.asked = stream.asked | wish[0], wish[0]
                stream.answered = False
                await context.write(_question(*wish))
            else:
                await stream.wake.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _question(clusters: frozenset[str], interval_s: float) -> bytes:
    question = lrs_pb2.LoadStatsResponse(clusters=sorted(clusters))
    question.load_reporting_interval.FromMilliseconds(round(interval_s * 1000))
    encoded: bytes = question.SerializeToString()
    return encoded


def _parsed(raw: bytes, *, clusters: int = 0, node: bool = True) -> lrs_pb2.LoadStatsRequest:
    """A request about so many clusters. Without `node`, the node at its beginning is left out: Envoy repeats
    it in each report, and it takes nearly all of the time."""
    most = REPORT_BYTES + clusters * CLUSTER_BYTES
    if len(raw) > most:
        raise RequestLimitError(f"a load report of {len(raw):,} bytes, more than {most:,}")
    if not node and raw.startswith(_NODE) and (read := read_varint(raw, len(_NODE))):
        length, start = read
        raw = raw[start + length :]
    try:
        return lrs_pb2.LoadStatsRequest.FromString(raw)
    except DecodeError as error:
        raise RequestError(f"the request is not a LoadStatsRequest: {error}") from error


def _load(stats: load_report_pb2.ClusterStats) -> Load:
    places = stats.upstream_locality_stats
    return Load(
        issued=sum(each.total_issued_requests for each in places),
        succeeded=sum(each.total_successful_requests for each in places),
        failed=sum(each.total_error_requests for each in places),
        dropped=stats.total_dropped_requests,
        in_flight=sum(each.total_requests_in_progress for each in places),
    )
