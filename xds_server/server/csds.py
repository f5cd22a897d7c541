"""The client status discovery service (CSDS), by which generic tools query a management server.

The response has one ClientConfig for each open stream, with one `generic_xds_configs` entry for each
subscribed type. It has no fields that only an xDS client knows (`client_status`, `client_scope`, names of
resources). It has no resource contents, regardless of `exclude_resource_contents`, so that it stays small for
a large fleet.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

import grpc
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.config.core.v3 import base_pb2
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc
from google.protobuf.message import Message

from xds_server.base.errors import RequestError
from xds_server.base.ids import TypeUrl
from xds_server.base.sizes import MIB
from xds_server.server.timestamps import timestamp
from xds_server.xds.fleet import Connection, Fleet, Sync, TypeState

SERVICE: Final = csds_pb2.DESCRIPTOR.services_by_name["ClientStatusDiscoveryService"].full_name

_LARGEST_RESPONSE: Final = 4 * MIB
"""The default limit of gRPC clients."""

_LONGEST_DETAILS: Final = 500
"""Characters of the message of a NACK."""

_Context = grpc.aio.ServicerContext[Message, Message]
_Matcher = Any  # envoy.type.matcher.v3.NodeMatcher
_Admits = Callable[[str], bool]


class CsdsServicer(csds_pb2_grpc.ClientStatusDiscoveryServiceServicer):  # type: ignore[misc]  # no types
    """Implements ``envoy.service.status.v3.ClientStatusDiscoveryService``."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        csds_pb2_grpc.add_ClientStatusDiscoveryServiceServicer_to_server(self, server)

    async def FetchClientStatus(  # noqa: N802 - gRPC's name
        self, request: csds_pb2.ClientStatusRequest, context: _Context
    ) -> csds_pb2.ClientStatusResponse:
        """The current state of the clients that match the request."""
        return await self._respond(request, context)

    async def StreamClientStatus(  # noqa: N802 - gRPC's name
        self, requests: AsyncIterator[csds_pb2.ClientStatusRequest], context: _Context
    ) -> AsyncIterator[csds_pb2.ClientStatusResponse]:
        """The same for each request of the stream."""
        async for request in requests:
            yield await self._respond(request, context)

    async def _respond(
        self, request: csds_pb2.ClientStatusRequest, context: _Context
    ) -> csds_pb2.ClientStatusResponse:
        try:
            wanted = admits(request.node_matchers)
        except RequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        clients = [each for each in self._fleet.connections() if wanted(each.node.id)]
        response = csds_pb2.ClientStatusResponse(config=map(_client, clients))
        if response.ByteSize() > _LARGEST_RESPONSE:
            problem = f"the response for {len(clients)} clients is too large; select fewer with node_matchers"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, problem)
        return response


def admits(matchers: Iterable[_Matcher]) -> _Admits:
    """A predicate of node ids: those that at least one of `matchers` matches, or all without matchers.

    Raises:
        RequestError: a matcher is not supported. To ignore it would return other clients than requested.
            Regular expressions are not supported: the time of Python's is not bounded as that of RE2 is.
    """
    each = [_admits(matcher) for matcher in matchers]
    return lambda node: not each or any(admit(node) for admit in each)


def _admits(matcher: _Matcher) -> _Admits:
    if matcher.node_metadatas:
        raise RequestError("node_matchers: node_metadatas is not supported; match by node_id")
    if not matcher.HasField("node_id"):
        return lambda _: True
    pattern = matcher.node_id
    kind = pattern.WhichOneof("match_pattern")
    fold: Callable[[str], str] = str.lower if pattern.ignore_case else str
    match kind:
        case "exact":
            return lambda node: fold(node) == fold(pattern.exact)
        case "prefix":
            return lambda node: fold(node).startswith(fold(pattern.prefix))
        case "suffix":
            return lambda node: fold(node).endswith(fold(pattern.suffix))
        case "contains":
            return lambda node: fold(pattern.contains) in fold(node)
    raise RequestError(
        f"node_matchers: node_id has {kind or 'no pattern'}; use exact, prefix, suffix or contains"
    )


def _client(connection: Connection) -> csds_pb2.ClientConfig:
    name, _, version = connection.node.build.partition(" ")
    node = base_pb2.Node(
        id=connection.node.id,
        cluster=connection.node.cluster,
        user_agent_name=name,
        user_agent_version=version or None,
    )
    return csds_pb2.ClientConfig(node=node, generic_xds_configs=_configs(connection))


def _configs(connection: Connection) -> Iterator[csds_pb2.ClientConfig.GenericXdsConfig]:
    return (_config(type_url, state) for type_url, state in sorted(connection.types.items()))


def _config(type_url: TypeUrl, state: TypeState) -> csds_pb2.ClientConfig.GenericXdsConfig:
    return csds_pb2.ClientConfig.GenericXdsConfig(
        type_url=type_url,
        version_info=state.sent,
        config_status=csds_pb2.ConfigStatus.Value(state.sync),
        last_updated=timestamp(state.since),
        error_state=_error(state),
    )


def _error(state: TypeState) -> config_dump_shared_pb2.UpdateFailureState | None:
    """The last NACK, unless a later response was accepted."""
    if state.sync is not Sync.ERROR or state.nack is None:
        return None
    return config_dump_shared_pb2.UpdateFailureState(
        version_info=state.nack.version,
        details=state.nack.message[:_LONGEST_DETAILS],
        last_update_attempt=timestamp(state.nack.at),
    )
