"""The status API (protos/): what the server knows, as messages. Translation only; the facts come from `app`
through the two callables, so that this module needs neither the pipeline nor Envoy's names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from xds_server.base.ids import NamespacedName, NodeId, TypeUrl
from xds_server.base.sizes import MIB
from xds_server.base.text import plain
from xds_server.core.keys import SHADOW_OF
from xds_server.core.plan import PortPlan, ShadowStatus
from xds_server.core.problems import Notice, Problem
from xds_server.core.terms import Setting
from xds_server.pb import status_pb2, status_pb2_grpc
from xds_server.xds.fleet import Connection, Fleet, Refusal, TypeState
from xds_server.xds.resource import Resource
from xds_server.xds.types import SHORT_NAMES

_NODES_BYTES: Final = 32 * MIB
"""Of all Envoys in an answer, which has to fit, with the shadows, into the 64 MiB that `status` takes."""

_LONGEST_NODE: Final = 100
"""Characters of an id beside a refusal, of which each shadow may have some."""

_LONGEST_SETTING: Final = 2_000
"""Characters of an annotation in effect, of which each shadow may have a score."""

_LEAST_TEXT: Final = 16
_TEXTS: Final = 10 * 4
"""Bytes of an Envoy's texts for each character: its id, cluster and build, and a refusal of each type."""

_Context = grpc.aio.ServicerContext[Message, Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What `count` Envoys refuse in the same words; `nodes` are the first of them. `at` is of the last."""

    type_url: TypeUrl
    message: str
    nodes: tuple[NodeId, ...]
    count: int
    at: float


class Told(NamedTuple):
    """What was told of an object, and when, in seconds since the epoch."""

    at: float
    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The facts of one moment. Times are seconds since the epoch; `committed` is when the configuration
    last changed; `versions` are by type, as people call them; `outage_s` is for how long the source has not
    answered, or has refused, or None; `gateways` are those that a shadowed Service is routed on; `objections`
    are by canary; `changes` are the last ones, the newest first."""

    version: str
    started: float
    committed: float
    build_failures: int
    source: str
    outage_s: float | None
    versions: dict[str, str]
    shadows: list[ShadowStatus]
    gateways: Mapping[NamespacedName, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem]
    objections: Mapping[NamespacedName, list[Objection]]
    changes: Sequence[Told] = ()
    notices: Sequence[Notice] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRoute:
    """A routed port with the names that Envoy knows it by."""

    plan: PortPlan
    cluster: str
    shadow_cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One shadow with all that follows from it."""

    shadow: ShadowStatus
    routes: list[ExplainedRoute]
    problems: list[Problem]
    resources: list[Resource]
    objections: list[Objection] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Implements ``xds_shadow.v1.StatusService``."""

    def __init__(
        self,
        *,
        state: Callable[[], ServerState],
        explain: Callable[[NamespacedName], Explanation | None],
        fleet: Fleet,
    ) -> None:
        self._state = state
        self._explain = explain
        self._fleet = fleet

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        status_pb2_grpc.add_StatusServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetStatus(  # noqa: N802 - gRPC's name
        self, _request: status_pb2.GetStatusRequest, _context: _Context
    ) -> status_pb2.GetStatusResponse:
        """Everything at a glance."""
        found = self.overview()
        found.shadows.extend(self.shadows())
        found.nodes.extend(self.nodes())
        return found

    def overview(self) -> status_pb2.GetStatusResponse:
        """Everything but the shadows and the Envoys."""
        state = self._state()
        return status_pb2.GetStatusResponse(
            problems=map(_problem, state.problems),
            notices=map(_notice, state.notices),
            changes=map(_change, state.changes),
            server=status_pb2.Server(
                version=state.version,
                started=_timestamp(state.started),
                committed=_timestamp(state.committed),
                versions=state.versions,
                build_failures=state.build_failures,
                source=status_pb2.Source(message=state.source, outage_seconds=state.outage_s),
            ),
        )

    def shadows(self) -> Iterable[status_pb2.Shadow]:
        """Every shadow as it is at the call. The messages are made as they are iterated, in any thread."""
        state = self._state()
        return (
            _shadow(each, state.objections.get(_name(each), ()), state.gateways.get(_of(each), ()))
            for each in state.shadows
        )

    async def Explain(  # noqa: N802 - gRPC's name
        self, request: status_pb2.ExplainRequest, context: _Context
    ) -> status_pb2.ExplainResponse:
        """One shadow in depth."""
        found = [each for each in self._state().shadows if _is_called(each, request)]
        if len(found) > 1:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, _ambiguous(found))
        explanation = self._explain(_name(found[0])) if found else None
        if explanation is None:
            what = f"{request.kind or 'workload'} {request.namespace}/{request.deployment}"
            problem = f"no {what} with the label {SHADOW_OF} is known to the server"
            await context.abort(grpc.StatusCode.NOT_FOUND, problem)
            raise AssertionError("abort() raises")  # for mypy: grpcio has no types
        return status_pb2.ExplainResponse(
            shadow=_shadow(
                explanation.shadow,
                explanation.objections,
                explanation.routes[0].plan.gateways if explanation.routes else (),
            ),
            routes=map(_route, explanation.routes),
            nodes=self.nodes(),
            problems=map(_problem, explanation.problems),
            notices=map(_notice, explanation.notices),
            resources=map(_resource, explanation.resources),
        )

    def nodes(self) -> Iterable[status_pb2.Node]:
        """Every Envoy that is connected at the call; made as `shadows` are. What Envoys say is cut if it is
        too much together."""
        return _fitting(self._fleet.connections())


def _is_called(shadow: ShadowStatus, request: status_pb2.ExplainRequest) -> bool:
    return (shadow.namespace, shadow.name) == (request.namespace, request.deployment) and (
        request.kind.lower() in ("", shadow.kind.lower())
    )


def _ambiguous(shadows: Sequence[ShadowStatus]) -> str:
    names = [f"{each.namespace}/{each.kind.lower()}/{each.name}" for each in shadows]
    return f"several marked workloads have this name; ask for one of {', '.join(names)}"


def _name(shadow: ShadowStatus) -> NamespacedName:
    return NamespacedName(shadow.namespace, shadow.canary)


def _of(shadow: ShadowStatus) -> NamespacedName:
    return NamespacedName(shadow.namespace, shadow.service)


def _shadow(
    shadow: ShadowStatus, objections: Iterable[Objection], gateways: Iterable[str]
) -> status_pb2.Shadow:
    return status_pb2.Shadow(
        namespace=shadow.namespace,
        deployment=shadow.name,
        kind=shadow.kind,
        service=shadow.service,
        state=shadow.state,
        reason=shadow.reason,
        message=shadow.message,
        percent=shadow.percent,
        methods=shadow.methods,
        endpoints=map(str, shadow.endpoints),
        refusals=map(_refusal, objections),
        gateways=gateways,
        settings=map(_setting, shadow.settings),
    )


def _setting(setting: Setting) -> status_pb2.Setting:
    # A Namespace's annotation can have 256 KiB and be the setting of each shadow in it.
    value, most = setting.value, _LONGEST_SETTING
    cut = value if len(value) <= most else f"{value[:most]}…"
    return status_pb2.Setting(name=setting.name, value=cut, origin=setting.origin)


def _refusal(objection: Objection) -> status_pb2.Refusal:
    return status_pb2.Refusal(
        short_name=SHORT_NAMES[objection.type_url],
        message=objection.message,
        nodes=(plain(node, _LONGEST_NODE) for node in objection.nodes),
        envoys=objection.count,
        at=_timestamp(objection.at),
    )


def _change(change: Told) -> status_pb2.Change:
    found = status_pb2.Change(subject=change.subject, reason=change.reason, message=change.message)
    found.at.CopyFrom(_timestamp(change.at))
    return found


def _notice(notice: Notice) -> status_pb2.Notice:
    return status_pb2.Notice(**notice._asdict())


def _problem(problem: Problem) -> status_pb2.Problem:
    return status_pb2.Problem(**problem._asdict())


def _route(route: ExplainedRoute) -> status_pb2.Route:
    return status_pb2.Route(
        port=route.plan.number,
        protocol=route.plan.protocol,
        domains=route.plan.domains,
        cluster=route.cluster,
        endpoints=map(str, route.plan.endpoints),
        shadow_cluster=route.shadow_cluster,
    )


def _resource(resource: Resource) -> status_pb2.Resource:
    return status_pb2.Resource(type_url=resource.key.type_url, name=resource.name, body=resource.body)


def _fitting(connections: Sequence[Connection], most: int = _NODES_BYTES) -> Iterator[status_pb2.Node]:
    nodes = [_node(each) for each in connections]
    if sum(node.ByteSize() for node in nodes) > most:
        longest = max(most // (_TEXTS * len(nodes)), _LEAST_TEXT)
        for node in nodes:
            node.id, node.cluster, node.build = (
                plain(text, longest) for text in (node.id, node.cluster, node.build)
            )
            for state in node.types:
                if state.HasField("last_nack"):
                    state.last_nack.message = plain(state.last_nack.message, longest)
    yield from nodes


def _node(connection: Connection) -> status_pb2.Node:
    return status_pb2.Node(
        id=connection.node.id,
        cluster=connection.node.cluster,
        variant=connection.variant,
        peer=connection.peer,
        build=connection.node.build,
        connected=_timestamp(connection.since),
        routes_only=connection.routes_only,
        types=[_type(url, connection.types[url]) for url in SHORT_NAMES if url in connection.types],
    )


def _type(type_url: TypeUrl, state: TypeState) -> status_pb2.TypeStatus:
    return status_pb2.TypeStatus(
        type_url=type_url,
        short_name=SHORT_NAMES[type_url],
        sync=state.sync,
        sent_version=state.sent,
        acked_version=state.acked or "",
        last_nack=_nack(state.refusal) if state.refusal else None,
        pushes=state.pushes,
        bytes=state.size,
    )


def _nack(refusal: Refusal) -> status_pb2.Nack:
    return status_pb2.Nack(version=refusal.version, message=refusal.message, at=_timestamp(refusal.at))


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(round(seconds * 1000))
    return stamp
