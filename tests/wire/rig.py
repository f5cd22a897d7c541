"""A real ADS server on 127.0.0.1 and a scripted client, both on grpc.aio. Every wait is for a condition and
has a deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import PATIENCE_S
from xds_server.base.errors import RequestError
from xds_server.base.ids import TypeUrl
from xds_server.xds.admission import StreamLimits
from xds_server.xds.budget import NameLimits
from xds_server.xds.cache import Derived, SnapshotCache
from xds_server.xds.pace import PaceLimits
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.server_options import HANDSHAKE_S, IDLE_S, server_options
from xds_server.xds.servicer import SERVICE, AdsServicer
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event, Node, Variant
from xds_server.xds.types import CLUSTER, LISTENER
from xds_server.xds.view_budget import ViewLimits

IDENTIFIER = "xds-shadow/test"
NO_TEAM = "node.metadata.team must be a text"
METHODS = {Variant.SOTW: "StreamAggregatedResources", Variant.DELTA: "DeltaAggregatedResources"}
_UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

_ALONE = ("grpc.use_local_subchannel_pool", 1)  # else all channels to a server share a connection

E = TypeVar("E")


class Status(NamedTuple):
    """How a stream ended."""

    code: grpc.StatusCode
    details: str


class Rig:
    """A server. The view of a node is its ``team``, and a team has a listener of its own name."""

    def __init__(
        self,
        write_deadline_s: float = 30.0,
        *,
        first_request_deadline_s: float = 30.0,
        limits: StreamLimits | None = None,
        name_limits: NameLimits | None = None,
        view_limits: ViewLimits | None = None,
        pace_limits: PaceLimits | None = None,
        max_age_s: float = 1800.0,
        handshake_s: float = HANDSHAKE_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self.cache: SnapshotCache[str] = SnapshotCache(_derive)
        self.events: list[Event] = []
        self.converged: list[tuple[int, bool]] = []
        self._happened = asyncio.Condition()
        self._announcing: set[asyncio.Task[None]] = set()
        self._channels: list[grpc.aio.Channel] = []
        self.servicer = AdsServicer(
            cache=self.cache,
            view_of=_view_of,
            observe=self._observe,
            identifier=IDENTIFIER,
            write_deadline_s=write_deadline_s,
            first_request_deadline_s=first_request_deadline_s,
            limits=limits,
            name_limits=name_limits,
            view_limits=view_limits,
            pace_limits=pace_limits,
            converged=lambda generation, answered: self.converged.append((generation, answered)),
        )
        options = server_options(max_age_s=max_age_s, grace_s=0.2, handshake_s=handshake_s, idle_s=idle_s)
        self.server = grpc.aio.server(options=options)
        self.servicer.register(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def commit(self, *resources: Resource) -> Snapshot:
        """Serve these resources and no others."""
        snapshot = Snapshot().updated(resources)
        self.cache.commit(snapshot)
        return snapshot

    def connect(self, variant: Variant) -> "Stream":
        """Open a stream over a connection of its own."""
        return Stream(self.channel(), variant)

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=(*_UNLIMITED, _ALONE))
        self._channels.append(channel)
        return channel

    async def seen(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        """The first event of a kind that passes, waiting for it if need be."""
        async with asyncio.timeout(PATIENCE_S), self._happened:
            while True:
                for event in self.events:
                    if isinstance(event, kind) and where(event):
                        return event
                await self._happened.wait()

    def count(self, kind: type[E]) -> int:
        """How many events of a kind there were."""
        return sum(isinstance(event, kind) for event in self.events)

    async def close(self) -> None:
        """End everything at once."""
        for channel in self._channels:
            await channel.close()
        await self.server.stop(None)

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        task = asyncio.create_task(self._announce(), name="announce")
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce(self) -> None:
        async with self._happened:
            self._happened.notify_all()


class Stream:
    """One scripted stream. `kinds` of messages follow from the variant; nothing is answered by itself."""

    def __init__(self, channel: grpc.aio.Channel, variant: Variant) -> None:
        self.variant = variant
        self._call: Any = channel.stream_stream(f"/{SERVICE}/{METHODS[variant]}")()

    async def raw(self, payload: bytes) -> None:
        """Send any bytes."""
        async with asyncio.timeout(PATIENCE_S):
            await self._call.write(payload)

    async def ask(
        self,
        type_url: str,
        *names: str,
        node: base_pb2.Node | None = None,
        answers: Any = None,
        error: str = "",
    ) -> None:
        """Send a request with these names, as an answer to the response `answers`, if there is one."""
        message = self.message(type_url, *names)
        if node is not None:
            message.node.CopyFrom(node)
        if answers is not None:
            message.response_nonce = answers.nonce
        if error:
            message.error_detail.message = error
        await self.raw(message.SerializeToString())

    def message(self, type_url: str, *names: str) -> Any:
        """A request with these names, not sent yet."""
        if self.variant is Variant.SOTW:
            return discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names)
        return discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)

    async def take_raw(self) -> bytes:
        """The bytes of the next response."""
        payload = await self._read()
        assert isinstance(payload, bytes), f"the stream ended: {await self.status()}"
        return payload

    async def take_or_end(self) -> Any:
        """The next response, parsed; None if the stream ended."""
        with suppress(grpc.aio.AioRpcError):
            payload = await self._read()
            return parse(payload, self.variant) if isinstance(payload, bytes) else None
        return None

    async def take(self) -> Any:
        """The next response, parsed."""
        return parse(await self.take_raw(), self.variant)

    async def _read(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await self._call.read()

    async def end(self) -> Status:
        """How the stream ended, after reading all that came before."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(grpc.aio.AioRpcError):
                while await self._call.read() is not grpc.aio.EOF:
                    pass
        return await self.status()

    async def status(self) -> Status:
        """How the stream ended, waiting for the end."""
        async with asyncio.timeout(PATIENCE_S):
            return Status(await self._call.code(), await self._call.details())

    async def finish(self) -> None:
        """Send no more."""
        await self._call.done_writing()

    def cancel(self) -> None:
        """Go away without a word."""
        self._call.cancel()


def node(identity: str = "envoy-1", **metadata: Any) -> base_pb2.Node:
    """A node message."""
    message = base_pb2.Node(id=identity, cluster="edge", user_agent_name="envoy")
    version = message.user_agent_build_version.version
    version.major_number, version.minor_number, version.patch = 1, 40, 2
    message.metadata.update(metadata)
    return message


def resource(type_url: TypeUrl, name: str, body: bytes = b"") -> Resource:
    """A resource that refers to nothing."""
    return Resource(ResourceKey(type_url, name), body)


def parse(payload: bytes, variant: Variant) -> Any:
    """A response from its bytes, by protobuf's own parser."""
    if variant is Variant.SOTW:
        return discovery_pb2.DiscoveryResponse.FromString(payload)
    return discovery_pb2.DeltaDiscoveryResponse.FromString(payload)


def bodies(response: Any) -> dict[str, bytes]:
    """Names to contents in a delta response; a SotW response has no names, so contents stand for them."""
    if isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
        return {each.name: each.resource.value for each in response.resources}
    return {each.value.decode()[:40]: each.value for each in response.resources}


@asynccontextmanager
async def running(
    *,
    write_deadline_s: float = 30.0,
    first_request_deadline_s: float = 30.0,
    limits: StreamLimits | None = None,
    name_limits: NameLimits | None = None,
    view_limits: ViewLimits | None = None,
    pace_limits: PaceLimits | None = None,
    max_age_s: float = 1800.0,
    handshake_s: float = HANDSHAKE_S,
    idle_s: float = IDLE_S,
) -> AsyncIterator[Rig]:
    """A started server."""
    rig = Rig(
        write_deadline_s,
        first_request_deadline_s=first_request_deadline_s,
        limits=limits,
        name_limits=name_limits,
        view_limits=view_limits,
        pace_limits=pace_limits,
        max_age_s=max_age_s,
        handshake_s=handshake_s,
        idle_s=idle_s,
    )
    await rig.server.start()
    try:
        yield rig
    finally:
        await rig.close()


@asynccontextmanager
async def no_tasks_left() -> AsyncIterator[None]:
    """What ran before may still run after; nothing else may."""
    before = asyncio.all_tasks()
    yield
    current = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() - before if task is not current]
    if left:
        _, running_on = await asyncio.wait(left, timeout=PATIENCE_S)
        assert not running_on, f"tasks left: {sorted(task.get_name() for task in running_on)}"


def _view_of(who: Node, _names: frozenset[str]) -> str:
    team = who.metadata.get("team", "")
    if not isinstance(team, str):
        raise RequestError(NO_TEAM)
    return team


def _derive(snapshot: Snapshot, team: str, _before: Derived | None) -> Snapshot:
    if team == "haunted" or (team == "later" and snapshot.of(CLUSTER).resources.get("ghost")):
        raise ZeroDivisionError("a bug in a view")
    return snapshot.updated([resource(LISTENER, team, team.encode())]) if team else snapshot
