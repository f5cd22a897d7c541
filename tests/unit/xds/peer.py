"""The other end of a machine: says the same things in either variant, so that a common rule has one test.

Every call sends one request to the machine. Nothing is acknowledged unless the test says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.base.ids import StreamId, TypeUrl
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.machine import StreamMachine
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.responses import Response
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.sotw import SotwMachine
from xds_server.xds.stream_events import Event, Variant
from xds_server.xds.types import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SECRET,
    SHORT_NAMES,
    VIRTUAL_HOST,
)

STREAM = StreamId(7)
REJECTION = "no such filter"


class Said(NamedTuple):
    """What a response says, in short."""

    type: str
    resources: list[str]
    removed: list[str]


def says(response: Response | None) -> Said | None:
    """The names in a response, in its own order."""
    if response is None:
        return None
    names = [resource.name for resource in response.resources]
    return Said(SHORT_NAMES[response.type_url], names, list(response.removed))


def cluster(name: str, rev: int = 1) -> Resource:
    """A cluster whose assignment has the same name."""
    return _resource(CLUSTER, name, rev, (ResourceKey(ENDPOINT, name),))


def endpoints(name: str, rev: int = 1) -> Resource:
    """An assignment."""
    return _resource(ENDPOINT, name, rev)


def secret(name: str, rev: int = 1) -> Resource:
    """A secret."""
    return _resource(SECRET, name, rev)


def listener(name: str, route: str, rev: int = 1) -> Resource:
    """A listener that takes its routes from `route`."""
    return _resource(LISTENER, name, rev, (ResourceKey(ROUTE, route),))


def route(name: str, *clusters: str, rev: int = 1) -> Resource:
    """A route configuration that sends to `clusters`."""
    return _resource(ROUTE, name, rev, tuple(ResourceKey(CLUSTER, target) for target in clusters))


def host(name: str, *clusters: str, rev: int = 1) -> Resource:
    """A virtual host that sends to `clusters`."""
    return _resource(VIRTUAL_HOST, name, rev, tuple(ResourceKey(CLUSTER, target) for target in clusters))


def snapshot(*resources: Resource) -> Snapshot:
    """A snapshot of these and nothing else."""
    return Snapshot().updated(resources)


def _resource(type_url: TypeUrl, name: str, rev: int, refs: tuple[ResourceKey, ...] = ()) -> Resource:
    uses = ",".join(ref.name for ref in refs)
    return Resource(ResourceKey(type_url, name), f"{name} rev {rev} uses {uses}".encode(), refs)


class Peer(ABC):
    """A scripted client of one machine."""

    variant: Variant
    machine: StreamMachine[Any]

    def next(self, current: Snapshot, now: float = 0.0) -> Response | None:
        """The machine's next response, not acknowledged."""
        return self.machine.next(current, now)

    def flow(self, current: Snapshot, now: float = 0.0) -> list[Said]:
        """Everything that the machine sends without any acknowledgement."""
        said = []
        while (response := self.next(current, now)) is not None:
            said.append(says(response))
        return [each for each in said if each is not None]

    def settle(self, current: Snapshot) -> list[Said]:
        """Everything that the machine sends to a client that accepts each response at once."""
        said = []
        while (response := self.next(current)) is not None:
            said.append(says(response))
            self.ack(response)
        return [each for each in said if each is not None]

    def open(self, *types: TypeUrl, names: Iterable[str] = ()) -> None:
        """First requests for `types`: everything for clusters and listeners, `names` for the others."""
        for type_url in types:
            self.subscribe(type_url, *(() if type_url in (CLUSTER, LISTENER) else names))

    @abstractmethod
    def subscribe(self, type_url: TypeUrl, *names: str) -> list[Event]:
        """Ask for `names` besides those asked for before."""

    @abstractmethod
    def unsubscribe(self, type_url: TypeUrl, *names: str, nonce: str | None = None) -> list[Event]:
        """Ask no longer for `names`; `nonce` overrides the right one."""

    @abstractmethod
    def ack(self, response: Response) -> list[Event]:
        """Accept."""

    @abstractmethod
    def nack(self, response: Response, also: Iterable[str] = (), message: str = REJECTION) -> list[Event]:
        """Reject, and in the same request subscribe to the names `also`."""


def pushed(to: Peer, current: Snapshot, now: float = 0.0) -> Response:
    """The machine's next response, which there is."""
    response = to.next(current, now)
    assert response is not None
    return response


class SotwPeer(Peer):
    """Speaks state of the world: every request lists every name and the last nonce."""

    variant = Variant.SOTW

    def __init__(self) -> None:
        self.machine = SotwMachine(STREAM)
        self.reader = SotwReader()
        self.names: dict[TypeUrl, list[str]] = {}
        self.versions: dict[TypeUrl, str] = {}
        self.nonces: dict[TypeUrl, str] = {}

    def subscribe(self, type_url: TypeUrl, *names: str) -> list[Event]:
        self.names.setdefault(type_url, []).extend(names)
        return self.request(type_url)

    def unsubscribe(self, type_url: TypeUrl, *names: str, nonce: str | None = None) -> list[Event]:
        self.names[type_url] = [name for name in self.names[type_url] if name not in names]
        return self.request(type_url, nonce=nonce)

    def ack(self, response: Response) -> list[Event]:
        self.versions[response.type_url] = response.version
        self.nonces[response.type_url] = response.nonce
        return self.request(response.type_url)

    def nack(self, response: Response, also: Iterable[str] = (), message: str = REJECTION) -> list[Event]:
        self.names[response.type_url].extend(also)
        self.nonces[response.type_url] = response.nonce
        return self.request(response.type_url, error=message)

    def request(
        self, type_url: TypeUrl, *, nonce: str | None = None, error: str | None = None
    ) -> list[Event]:
        """One request with the present names, version and nonce."""
        message = discovery_pb2.DiscoveryRequest(
            type_url=type_url,
            resource_names=self.names.setdefault(type_url, []),
            version_info=self.versions.get(type_url, ""),
            response_nonce=self.nonces.get(type_url, "") if nonce is None else nonce,
        )
        if error is not None:
            message.error_detail.message = error
        return self.machine.receive(self.reader.read(message.SerializeToString()))


class DeltaPeer(Peer):
    """Speaks incremental: a request says what changes; one without a nonce answers nothing."""

    variant = Variant.DELTA

    def __init__(self) -> None:
        self.machine = DeltaMachine(STREAM)
        self.reader = DeltaReader()

    def subscribe(self, type_url: TypeUrl, *names: str) -> list[Event]:
        return self.request(type_url, subscribe=names)

    def unsubscribe(self, type_url: TypeUrl, *names: str, nonce: str | None = None) -> list[Event]:
        return self.request(type_url, unsubscribe=names, nonce=nonce or "")

    def ack(self, response: Response) -> list[Event]:
        return self.request(response.type_url, nonce=response.nonce)

    def nack(self, response: Response, also: Iterable[str] = (), message: str = REJECTION) -> list[Event]:
        return self.request(response.type_url, nonce=response.nonce, error=message, subscribe=also)

    def request(
        self,
        type_url: TypeUrl,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        nonce: str = "",
        error: str | None = None,
        claims: Mapping[str, str] | None = None,
    ) -> list[Event]:
        """One request; `claims` are its ``initial_resource_versions``."""
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=subscribe,
            resource_names_unsubscribe=unsubscribe,
            response_nonce=nonce,
            initial_resource_versions=claims or {},
        )
        if error is not None:
            message.error_detail.message = error
        return self.machine.receive(self.reader.read(message.SerializeToString()))


def peer(variant: Variant) -> Peer:
    """A new stream in this variant."""
    return SotwPeer() if variant is Variant.SOTW else DeltaPeer()
