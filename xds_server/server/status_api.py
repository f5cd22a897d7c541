"""The status API (protos/): the state of the server as protobuf messages.

It translates and decides nothing. `reporting` gathers what is translated.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import grpc
from google.protobuf.message import Message

from xds_server.base.errors import AmbiguousNameError, UnknownNameError, UsageError
from xds_server.base.ids import NamespacedName, TypeUrl
from xds_server.base.sizes import MIB
from xds_server.base.text import plain
from xds_server.core.conditions import Condition
from xds_server.core.plan import ShadowStatus
from xds_server.core.terms import Setting
from xds_server.pb import status_pb2, status_pb2_grpc
from xds_server.server.facts import ExplainedRoute, Explanation, ServerState
from xds_server.server.timestamps import timestamp
from xds_server.server.verdict_messages import message_of, replica_messages, terms_of, verdict_message
from xds_server.server.verdicts import Verdicts
from xds_server.xds.fleet import Connection, Fleet, Nack, TypeState
from xds_server.xds.resource import Resource
from xds_server.xds.types import SHORT_NAMES

_NODES_BYTES: Final = 32 * MIB
"""Of all Envoys in a response. With the shadows it has to fit into the 64 MiB that `status` accepts."""

_LONGEST_SETTING: Final = 2_000
"""Characters of an annotation in effect; a shadow may have twenty."""

_LEAST_TEXT: Final = 16
_TEXTS: Final = 10 * 4
"""Bytes of an Envoy's texts for each character: its id, cluster and build, and a NACK of each type."""

_Context = grpc.aio.ServicerContext[Message, Message]


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """Implements ``xds_shadow.v1.StatusService``."""

    def __init__(
        self,
        *,
        state: Callable[[], ServerState],
        explain: Callable[[NamespacedName], Explanation | None],
        fleet: Fleet,
        verdicts: Verdicts,
    ) -> None:
        self._state = state
        self._verdicts = verdicts
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
            conditions=map(_condition, state.conditions),
            changes=map(_condition, state.changes),
            server=status_pb2.Server(
                version=state.version,
                started=timestamp(state.started),
                committed=timestamp(state.committed),
                versions=state.versions,
                build_failures=state.build_failures,
                source=status_pb2.Source(message=state.source, outage_seconds=state.outage_s),
            ),
        )

    def shadows(self) -> Iterable[status_pb2.Shadow]:
        """Every shadow as it is at the call. The messages are made as they are iterated, in any thread."""
        state = self._state()
        verdicts = {(each.namespace, each.canary): each.verdict for each in self._verdicts.last.shadows}
        return (
            _shadow(
                each,
                state.nacks.get(_name(each), ()),
                state.gateways.get(_of(each), ()),
                verdicts.get((each.namespace, each.canary), ""),
            )
            for each in state.shadows
        )

    async def Explain(  # noqa: N802 - gRPC's name
        self, request: status_pb2.ExplainRequest, context: _Context
    ) -> status_pb2.ExplainResponse:
        """One shadow in depth."""
        await self._until_known(context)
        found = await self._found(request.namespace, request.name, request.kind, context)
        explanation = self._explain(_name(found))
        if explanation is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"{found.namespace}/{found.name} was just unmarked"
            )
            raise AssertionError("abort() raises")  # for mypy: grpcio has no types
        report = await self._verdicts.judge([found])
        return status_pb2.ExplainResponse(
            shadow=_shadow(
                explanation.shadow,
                explanation.nacks,
                explanation.routes[0].plan.gateways if explanation.routes else (),
                report.shadows[0].verdict,
            ),
            routes=map(_route, explanation.routes),
            nodes=self.nodes(),
            conditions=map(_condition, explanation.conditions),
            resources=map(_resource, explanation.resources),
            verdict=verdict_message(report.shadows[0]),
            replicas=replica_messages(report),
        )

    async def GetVerdicts(  # noqa: N802 - gRPC's name
        self, request: status_pb2.GetVerdictsRequest, context: _Context
    ) -> status_pb2.GetVerdictsResponse:
        """How canaries do."""
        await self._until_known(context)
        try:
            terms = terms_of(request.terms)
        except UsageError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if request.name:
            found = await self._found(request.namespace, request.name, request.kind, context)
            return message_of(await self._verdicts.judge([found], terms))
        # In a thread: a thousand verdicts take half a second.
        return await asyncio.to_thread(message_of, await self._verdicts.all(terms))

    async def _until_known(self, context: _Context) -> None:
        if not self._state().versions:
            problem = "shadows are not known yet: the first list is not complete"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)

    async def _found(self, namespace: str, name: str, kind: str, context: _Context) -> ShadowStatus:
        try:
            return self._verdicts.find(namespace, name, kind)
        except UnknownNameError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except AmbiguousNameError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        raise AssertionError("abort() raises")  # for mypy: grpcio has no types

    def nodes(self) -> Iterable[status_pb2.Node]:
        """Every Envoy that is connected at the call. The messages are made as they are iterated. Texts that
        Envoys chose are cut if they are too long together."""
        return _fitting(self._fleet.connections())


def _name(shadow: ShadowStatus) -> NamespacedName:
    return NamespacedName(shadow.namespace, shadow.canary)


def _of(shadow: ShadowStatus) -> NamespacedName:
    return NamespacedName(shadow.namespace, shadow.service)


def _shadow(
    shadow: ShadowStatus, nacks: Iterable[Condition], gateways: Iterable[str], verdict: str
) -> status_pb2.Shadow:
    return status_pb2.Shadow(
        namespace=shadow.namespace,
        name=shadow.name,
        kind=shadow.kind,
        service=shadow.service,
        state=shadow.state,
        reason=shadow.reason,
        message=shadow.message,
        percent=shadow.percent,
        methods=shadow.methods,
        endpoints=map(str, shadow.endpoints),
        conditions=map(_condition, nacks),
        gateways=gateways,
        settings=map(_setting, shadow.settings),
        verdict=verdict,
    )


def _setting(setting: Setting) -> status_pb2.Setting:
    # A Namespace's annotation can have 256 KiB and be the setting of each shadow in it.
    value, most = setting.value, _LONGEST_SETTING
    cut = value if len(value) <= most else f"{value[:most]}…"
    return status_pb2.Setting(name=setting.name, value=cut, origin=setting.origin)


def _condition(condition: Condition) -> status_pb2.Condition:
    return status_pb2.Condition(
        subject=str(condition.subject),
        reason=condition.reason,
        message=condition.message,
        severity=condition.severity,
        origin=condition.origin,
        since=None if condition.since is None else timestamp(condition.since),
    )


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
        connected=timestamp(connection.since),
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
        last_nack=_nack(state.nack) if state.nack else None,
        pushes=state.pushes,
        bytes=state.size,
    )


def _nack(nack: Nack) -> status_pb2.Nack:
    return status_pb2.Nack(version=nack.version, message=nack.message, at=timestamp(nack.at))
