"""A client that says the same things in either variant over a real connection, and knows when it was told
everything.

That nothing more comes cannot be seen by waiting. So every client also asks for one secret, the fence, and
what else was due has come when the fence that was committed last has.
"""

from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from tests.support.waiting import eventually
from tests.unit.xds.peer import Said
from tests.wire.rig import Rig, Stream, node, resource
from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, StreamOpened, Variant
from xds_server.xds.types import SECRET, SHORT_NAMES

FENCE = "fence"
REJECTION = "no such filter"


class Served:
    """What a server serves: what the test says, and the fence."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._resources: tuple[Resource, ...] = ()
        self._fence = 0
        self._clients = 0

    def now(self, *resources: Resource) -> Snapshot:
        """Serve these and no others."""
        self._resources = resources
        return self.rig.commit(*resources, resource(SECRET, FENCE, f"{FENCE} rev {self._fence}".encode()))

    def raise_fence(self) -> bytes:
        """Change the fence alone; returns its new contents."""
        self._fence += 1
        self.now(*self._resources)
        return f"{FENCE} rev {self._fence}".encode()

    async def client(self, variant: Variant) -> "Client":
        """A new client that has asked for nothing but the fence."""
        self._clients += 1
        client = Client(self, variant, f"envoy-{self._clients}")
        await client.greet()
        return client


class Client:
    """One stream. Nothing is acknowledged unless the test says so, but for the fence."""

    def __init__(self, served: Served, variant: Variant, identity: str) -> None:
        self.variant = variant
        self.latest: dict[TypeUrl, Any] = {}
        self._served = served
        self._stream: Stream = served.rig.connect(variant)
        self._identity = identity
        self._names: dict[TypeUrl, list[str]] = {}
        self._answered: dict[TypeUrl, str] = {}

    async def greet(self) -> None:
        """Open the stream."""
        names = self._names.setdefault(SECRET, [FENCE])
        await self._stream.ask(SECRET, *names, node=node(self._identity))
        opened = await self._served.rig.seen(StreamOpened, lambda event: event.node.id == self._identity)
        self._id = opened.stream

    # --- asking ---

    async def subscribe(self, type_url: TypeUrl, *names: str) -> None:
        """Ask for `names` besides those asked for before."""
        self._names.setdefault(type_url, []).extend(names)
        await self.request(type_url, subscribe=names)

    async def unsubscribe(self, type_url: TypeUrl, *names: str) -> None:
        """Ask no longer for `names`."""
        self._names[type_url] = [name for name in self._names[type_url] if name not in names]
        await self.request(type_url, unsubscribe=names)

    async def ack(self, type_url: TypeUrl) -> None:
        """Accept the latest response of a type."""
        nonce = self._answered[type_url] = self.latest[type_url].nonce
        await self.request(type_url, nonce=nonce)

    async def nack(self, type_url: TypeUrl, *also: str, message: str = REJECTION) -> None:
        """Reject the latest response of a type, and subscribe to the names `also`."""
        nonce = self._answered[type_url] = self.latest[type_url].nonce
        self._names.setdefault(type_url, []).extend(also)
        await self.request(type_url, nonce=nonce, error=message, subscribe=also)

    async def request(
        self,
        type_url: TypeUrl,
        *,
        nonce: str | None = None,
        error: str | None = None,
        version: str = "",
        subscribe: tuple[str, ...] = (),
        unsubscribe: tuple[str, ...] = (),
        claims: Mapping[str, str] | None = None,
    ) -> None:
        """One request, whatever it says. State of the world lists the names as they are now and the nonce
        that was answered last; `version` is its own, and the rest are delta's."""
        message: Any
        if self.variant is Variant.SOTW:
            message = discovery_pb2.DiscoveryRequest(
                type_url=type_url,
                resource_names=self._names.setdefault(type_url, []),
                version_info=version,
                response_nonce=self._answered.get(type_url, "") if nonce is None else nonce,
            )
        else:
            message = discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url,
                resource_names_subscribe=subscribe,
                resource_names_unsubscribe=unsubscribe,
                response_nonce=nonce or "",
                initial_resource_versions=claims or {},
            )
        if error is not None:
            message.error_detail.message = error
        await self._stream.raw(message.SerializeToString())

    # --- listening ---

    async def flow(self) -> list[Said]:
        """Everything that the server sends without any acknowledgement."""
        rig = self._served.rig
        said = await self._till_fence()
        # The server has read all that was asked for when it has read this, and then sends what is due.
        await self.ack(SECRET)
        nonce = self.latest[SECRET].nonce
        await rig.seen(Acked, lambda event: event.stream == self._id and event.nonce == nonce)
        machine = rig.servicer._streams[self._id].machine
        await eventually(lambda: not machine.may_send)
        return said + await self._till_fence()

    async def settle(self) -> list[Said]:
        """Everything that the server sends to a client that accepts each response."""
        together: list[Said] = []
        while said := await self.flow():
            together += said
            for short in dict.fromkeys(each.type for each in said):
                await self.ack(next(url for url, name in SHORT_NAMES.items() if name == short))
        return together

    async def _till_fence(self) -> list[Said]:
        fence = self._served.raise_fence()
        said = []
        while True:
            response = await self._stream.take()
            self.latest[response.type_url] = response
            contents = _contents(response)
            names = [content.split()[0].decode() for content in contents if content.split()[0] != b"fence"]
            removed = [*getattr(response, "removed_resources", ())]
            if names or removed or response.type_url != SECRET:
                said.append(Said(SHORT_NAMES[response.type_url], names, removed))
            if fence in contents:
                return said


def _contents(response: Any) -> list[bytes]:
    if isinstance(response, discovery_pb2.DiscoveryResponse):
        return [each.value for each in response.resources]
    return [each.resource.value for each in response.resources]
