"""Takes the bodies that Envoys send of mirrored requests, and compares them.

A body is taken from an Envoy only if its client certificate may see the canary's namespace, and only of
canaries whose bodies are to be compared. Bodies are compared in a thread, one request after another, and a
pause after each keeps that below a fifth of a processor. What exceeds a bound is counted and not compared.
No body is kept longer than it waits, and none is logged.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import grpc
import structlog

from xds_server.base.errors import RequestDeniedError
from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core.plan import NOTHING, ServicePlan
from xds_server.core.verdict.body_joining import BodyJoiner, Joined, Response, Unjoined
from xds_server.core.verdict.body_pairs import Compared, compared, count
from xds_server.core.verdict.body_text import MOST_BYTES, Body, Skipped
from xds_server.core.verdict.joining import Side
from xds_server.core.verdict.paths import group
from xds_server.core.verdict.record import Record
from xds_server.server.identity import Clients, names_of
from xds_server.server.pipeline import Published
from xds_server.translate import names
from xds_server.translate.comparing import REPORT
from xds_server.xds.admission import Admission, StreamLimits, host_of

_LIMITS: Final = StreamLimits(rate=500.0, burst=500, per_peer=64)
"""Bodies a second from all Envoys, and at once from one address."""

_MOST_QUEUED: Final = 200
_MOST_QUEUED_BYTES: Final = 16 * MIB
_PAUSE: Final = 4.0
"""Times what a comparison took."""

_EXPIRY_S: Final = 1.0

_Context = grpc.aio.ServicerContext[bytes, bytes]
_log = structlog.stdlib.get_logger(__name__)


class _Source(NamedTuple):
    """What a cluster of mirrored requests says about a body. `stable` is how many bodies of the stable
    version a request has."""

    canary: NamespacedName
    side: Side
    stable: int


class Comparer:
    """Compares bodies into the records that `record` returns, by canary. `clock` is a steady one, in
    seconds."""

    def __init__(
        self,
        record: Callable[[NamespacedName], Record | None],
        *,
        clients: Clients,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._clients = clients
        self._clock = clock
        self._admission = Admission(_LIMITS)
        self._sources: dict[str, _Source] = {}
        self._of: dict[NamespacedName, dict[str, _Source]] = {}
        self._joiner = BodyJoiner()
        self._queue: deque[Joined] = deque()
        self._queued = 0
        self._wake = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to the server of the fleet."""
        _, service, method = REPORT.split("/")
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._report)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))

    def stepped(self, before: Published | None, after: Published) -> None:
        """Follow a step, at the cost of what it moved."""
        for target in after.moved if before else after.plan.services.keys():
            for cluster in self._of.pop(target, {}):
                del self._sources[cluster]
            if found := dict(_sources(after.plan.services.get(target, NOTHING))):
                self._of[target] = found
                self._sources.update(found)

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            if not self._queue:
                self._wake.clear()
                try:
                    async with asyncio.timeout(_EXPIRY_S):
                        await self._wake.wait()
                except TimeoutError:
                    self._note(self._joiner.expire(self._clock()))
                continue
            joined = self._queue.popleft()
            self._queued -= _size(joined)
            began = self._clock()
            try:
                self._count(joined.canary.canary, await asyncio.to_thread(compared, joined))
            except Exception:  # noqa: BLE001 - a bug in comparing must not end the comparing
                _log.exception("body comparison failed")
            await asyncio.sleep(_PAUSE * (self._clock() - began))

    async def _report(self, body: bytes, context: _Context) -> bytes:
        host = host_of(context.peer())
        if denial := self._admission.admit(host, now=self._clock()):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, denial.reason)
        try:
            allowed = self._clients.namespaces(names_of(context.auth_context()))
            metadata = context.invocation_metadata() or ()
            said = {key: value for key, value in metadata if isinstance(value, str)}
            source = self._sources.get(said.get("x-cluster", ""))
            if source and (allowed is None or source.canary.namespace in allowed):
                self._take(source, said, body, host)
        except RequestDeniedError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        finally:
            self._admission.leave(host)
        return b""

    def _take(self, source: _Source, said: Mapping[str, str], body: bytes, host: str) -> None:
        response = Response(
            canary=source.canary,
            side=source.side,
            request=said.get("x-id", ""),
            group=group("GET", said.get("x-path", "")),
            status=_number(said.get("x-status", "")),
            size=max(len(body), _number(said.get("x-size", ""))),
            body=Body(body[: MOST_BYTES + 1], said.get("x-type", ""), said.get("x-encoding", "")),
        )
        self._note(self._joiner.add(response, source=host, stable=source.stable, now=self._clock()))

    def _note(self, outcomes: Iterable[Joined | Unjoined]) -> None:
        for each in outcomes:
            if isinstance(each, Unjoined):
                self._count(each.canary, each.reason)
            elif len(self._queue) >= _MOST_QUEUED or self._queued + _size(each) > _MOST_QUEUED_BYTES:
                self._count(each.canary.canary, Skipped.BUSY)
            else:
                self._queue.append(each)
                self._queued += _size(each)
                self._wake.set()

    def _count(self, canary: NamespacedName, outcome: Compared | Skipped) -> None:
        record = self._record(canary)
        if record is not None:  # it may be no shadow any more
            count(record.bodies, outcome)


def _sources(plan: ServicePlan) -> Iterator[tuple[str, _Source]]:
    """The clusters of mirrored requests of one Service whose bodies are compared."""
    for port in plan.ports:
        for mirror in port.mirrors:
            if mirror.compare:
                canary = NamespacedName(port.service.namespace, mirror.canary)
                shadow = names.shadow_cluster(port.service, port.name, mirror.canary)
                yield shadow, _Source(canary, Side.CANARY, mirror.baselines)
                baseline = names.baseline_cluster(port.service, port.name, mirror.canary)
                yield baseline, _Source(canary, Side.BASELINE, mirror.baselines)


def _size(joined: Joined) -> int:
    return sum(len(each.body.data) for each in (joined.canary, *joined.stable))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(2**53)) else 0
