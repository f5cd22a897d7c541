"""The load reporting service, beside ADS on the same port: asks each Envoy for the loads of some clusters.

An Envoy is asked for clusters of its own view alone, and what it reports beside them does not count. One
task a stream reads, one writes. A stream that is slow, silent or wrong costs itself.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import grpc
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.message import DecodeError

from xds_server.base.errors import RequestDeniedError, RequestError, RequestLimitError
from xds_server.base.ids import StreamId
from xds_server.xds.admission import Admission, StreamLimits, host_of
from xds_server.xds.loads import Load, Loads
from xds_server.xds.node import node_of
from xds_server.xds.stream_events import Node

SERVICE = "envoy.service.load_stats.v3.LoadReportingService"

_GREETING_DEADLINE_S = 30.0
_WRITE_DEADLINE_S = 30.0

V = TypeVar("V", bound=Hashable)
_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True, eq=False)
class _Stream(Generic[V]):
    id: StreamId
    view: V
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    asked: frozenset[str] = frozenset()


class LoadReportServicer(Generic[V]):
    """Takes the reports of any number of Envoys into `loads`.

    `wanted` gives the names of the clusters of a view that are to be reported; call `refresh` when it would
    give others. `view_of` and `identify` are as for `AdsServicer`. `clock` is a steady one, in seconds.
    """

    def __init__(
        self,
        *,
        loads: Loads,
        wanted: Callable[[V], frozenset[str]],
        view_of: Callable[[Node, frozenset[str]], V],
        identify: Callable[[Mapping[str, Iterable[bytes]]], frozenset[str]],
        clock: Callable[[], float],
        limits: StreamLimits | None = None,
    ) -> None:
        self._loads = loads
        self._wanted = wanted
        self._view_of = view_of
        self._identify = identify
        self._clock = clock
        self._admission = Admission(limits or StreamLimits())
        self._streams: dict[StreamId, _Stream[V]] = {}
        self._next_stream = 1

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server, with a handler that takes and gives raw bytes."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._handle)
        handlers = {"StreamLoadStats": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def refresh(self) -> None:
        """Ask each Envoy again whose clusters have changed."""
        for stream in self._streams.values():
            stream.wake.set()

    async def _handle(self, _requests: object, context: _Context) -> None:
        host = host_of(context.peer())
        if denial := self._admission.admit(host, now=self._clock()):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, denial.reason)
        try:
            await self._serve(context)
        except RequestDeniedError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except RequestLimitError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except RequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the client was silent for too long")
        finally:
            self._admission.leave(host)

    async def _serve(self, context: _Context) -> None:
        async with asyncio.timeout(_GREETING_DEADLINE_S):
            first = await context.read()
        if not isinstance(first, bytes):
            return
        request = _parsed(first)
        if not request.HasField("node"):
            raise RequestError("the first request of a stream has no node; set node.id in the bootstrap")
        node = node_of(request.node)
        view = self._view_of(node, self._identify(context.auth_context()))
        stream = _Stream(StreamId(self._next_stream), view)
        self._next_stream += 1
        self._streams[stream.id] = stream
        self._loads.join(stream.id, node.id)
        name = f"xds-shadow/loads-{stream.id}"
        tasks = [
            asyncio.create_task(self._read(stream, context), name=f"{name}-read"),
            asyncio.create_task(self._write(stream, context), name=f"{name}-write"),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            # Nothing is awaited before the books are right: gRPC may cancel this a second time.
            self._loads.leave(stream.id)
            del self._streams[stream.id]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, stream: _Stream[V], context: _Context) -> None:
        while isinstance(raw := await context.read(), bytes):  # or grpc.aio.EOF
            self._loads.report(stream.id, _loads(_parsed(raw)), stream.asked, now=self._clock())

    async def _write(self, stream: _Stream[V], context: _Context) -> None:
        said: tuple[frozenset[str], int] | None = None
        while True:
            stream.wake.clear()
            wish = self._wanted(stream.view), self._loads.interval_s()
            if wish != said:
                said = stream.asked, interval = wish
                answer = lrs_pb2.LoadStatsResponse(clusters=sorted(stream.asked))
                answer.load_reporting_interval.FromSeconds(interval)
                async with asyncio.timeout(_WRITE_DEADLINE_S):
                    await context.write(answer.SerializeToString())
            await stream.wake.wait()


def _parsed(raw: bytes) -> lrs_pb2.LoadStatsRequest:
    try:
        return lrs_pb2.LoadStatsRequest.FromString(raw)
    except DecodeError as error:
        raise RequestError("a load report cannot be read") from error


def _loads(request: lrs_pb2.LoadStatsRequest) -> Iterator[tuple[str, Load]]:
    return ((each.cluster_name, _load(each)) for each in request.cluster_stats)


def _load(stats: load_report_pb2.ClusterStats) -> Load:
    places = stats.upstream_locality_stats
    return Load(
        issued=sum(each.total_issued_requests for each in places),
        succeeded=sum(each.total_successful_requests for each in places),
        failed=sum(each.total_error_requests for each in places),
        dropped=stats.total_dropped_requests,
        in_flight=sum(each.total_requests_in_progress for each in places),
    )
