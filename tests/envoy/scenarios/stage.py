"""Where a scenario is told: a server of the ADS service in this process, one real Envoy, one backend."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

import aiohttp

from tests.support.ads_server import Server
from tests.support.backends import Recorder, recorder
from tests.support.resources import assignment, cluster, listener, route_configuration
from tests.support.tap import Asked
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.ids import TypeUrl
from xds_server.local.demo.envoy import Envoy
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, Nacked, Resumed, Sent, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

BINARIES: Final = {
    "1.40": None,  # the one beside this Python, from requirements.lock
    "1.36": Path(sys.prefix, "envoy-1.36", "envoy", "_bin", "envoy"),  # see the Makefile
}
"""The Envoys that the scenarios run on, by version."""

E = TypeVar("E", Sent, Acked, Nacked)


class Stage:
    """A server and its Envoy. A chapter begins with `opened` or `chapter`; what happened before it is not
    told."""

    def __init__(
        self, server: Server, envoy: Envoy, version: str, variant: Variant, backend: Recorder
    ) -> None:
        self.commit = server.commit
        self.events = server.events
        self.tap = server.tap
        self.envoy = envoy
        self.variant = variant
        self.hosts_apart = variant is Variant.DELTA and version != "1.36"  # which rejects VHDS over ADS
        self.backend = backend
        self._chapter = 0
        self._whole: list[Resource] = []

    def endpoints(self, name: str) -> Resource:
        """The backend as the only endpoint of a cluster."""
        return assignment(name, self.backend.address)

    def whole(self, *names: str) -> list[Resource]:
        """Clusters with their assignments."""
        return [each for name in names for each in (cluster(name), self.endpoints(name))]

    def basics(self) -> list[Resource]:
        """One resource of each type: with these Envoy serves requests."""
        return [
            *self.whole("cluster_0"),
            listener("listener_0", "routes_0"),
            route_configuration("routes_0", "cluster_0"),
        ]

    async def opened(self) -> None:
        """Serve the basics and see that they work; the story begins after that."""
        snapshot = self.commit(*self.basics())
        await self.until_acked(snapshot, CLUSTER, ENDPOINT, LISTENER, ROUTE)
        await self.until_answered("listener_0")
        self.chapter()

    def chapter(self) -> None:
        """From here on only new events count."""
        self._chapter = len(self.events)

    def commit_warming(self, *clusters: Resource, beside: Iterable[Resource] = ()) -> None:
        """Serve these new clusters, which warm, as Envoy does not get their assignments.

        State of the world: the endpoints do not exist yet. In delta a removal would end warming (rule 32 of
        docs/internals/xds-checklist.md), so there the endpoints exist and arrive late."""
        served = [*beside, *clusters]
        self._whole = [*served, *(self.endpoints(cluster.name) for cluster in clusters)]
        if self.variant is Variant.SOTW:
            self.commit(*served)
        else:
            self.tap.keep_back(ENDPOINT)
            self.commit(*self._whole)

    async def release(self) -> None:
        """What warms gets its assignments."""
        if self.variant is Variant.SOTW:
            self.commit(*self._whole)
        else:
            await self.tap.let_through()

    def of(self, kind: type[E], type_url: TypeUrl) -> list[E]:
        """The events of this kind, about this type, of the present chapter, in their order."""
        new = self.events[self._chapter :]
        return [event for event in new if isinstance(event, kind) and event.type_url == type_url]

    async def until_acked(self, snapshot: Snapshot, *type_urls: TypeUrl) -> None:
        """Wait until Envoy accepted a response of each type that said all of this snapshot."""

        def acked() -> bool:
            accepted = {(e.type_url, e.version) for e in self.events if isinstance(e, Acked | Resumed)}
            return accepted >= {(type_url, snapshot.of(type_url).version) for type_url in type_urls}

        await eventually(acked, what=f"{type_urls} acknowledged")

    async def until(self, kind: type[E], type_url: TypeUrl) -> E:
        """Wait for an event in this chapter; the latest of its kind."""
        await eventually(lambda: self.of(kind, type_url), what=f"{kind.__name__} of {type_url}")
        return self.of(kind, type_url)[-1]

    async def reset(self) -> None:
        """Begin a chapter, end the stream, and wait for the next one."""
        self.chapter()
        streams = self.tap.streams
        self.tap.reset()
        await eventually(lambda: self.tap.streams > streams, what="a new stream")

    async def until_asked(self, type_url: TypeUrl) -> Asked:
        """The first request of this type on the newest stream, waiting for it if need be."""

        def found() -> list[Asked]:
            return [
                asked
                for asked in self.tap.asked
                if asked.stream == self.tap.streams and asked.type_url == type_url
            ]

        await eventually(found, what=f"a request for {type_url}")
        return found()[0]

    async def until_stat(self, name: str, check: Callable[[int], bool] | int) -> None:
        """Wait until one of Envoy's counters or gauges is this much, or is as `check` wants it."""
        seen = -1

        async def holds() -> bool:
            nonlocal seen
            seen = await self.envoy.stat(name)
            return check(seen) if callable(check) else seen == check

        try:
            await eventually(holds)
        except AssertionError as error:
            raise AssertionError(f"{name} is {seen}, {error}") from error

    async def until_warming(self, clusters: int) -> None:
        """Wait until so many clusters are warming."""
        await self.until_stat("cluster_manager.warming_clusters", clusters)

    async def until_listeners_warming(self, listeners: int) -> None:
        """Wait until so many listeners are warming."""
        await self.until_stat("listener_manager.total_listeners_warming", listeners)

    async def until_answered(self, listener_name: str) -> None:
        """Wait until a request to this listener is answered by the backend."""
        await eventually(lambda: self._answered(listener_name), what=f"an answer through {listener_name}")

    async def until_status(self, listener_name: str, host: str, status: HTTPStatus) -> None:
        """Wait until requests for this host are answered so."""

        async def answered() -> bool:
            found = await self.get(listener_name, host)
            return found is not None and found[0] == status

        await eventually(answered, what=f"{status} for {host}")

    async def _answered(self, listener_name: str) -> bool:
        return await self.get(listener_name) == (HTTPStatus.OK, self.backend.name)

    async def get(self, listener_name: str, host: str = "") -> tuple[int, str] | None:
        """Status and text of an answer; None while there is no such listener."""
        headers = {"Host": host} if host else {}
        for status in (await self.envoy.admin("/listeners?format=json")).get("listener_statuses", ()):
            if status["name"] == listener_name:
                address = status["local_address"]["socket_address"]
                url = f"http://{address['address']}:{address['port_value']}/"
                # Envoy names a listener a moment before it listens.
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as found:
                        return found.status, await found.text()
        return None


@contextlib.asynccontextmanager
async def stage(version: str, variant: Variant, directory: Path) -> AsyncIterator[Stage]:
    """Start a server that has nothing to serve yet, a backend, and an Envoy that is connected."""
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(recorder("backend"))
        server = await stack.enter_async_context(Server())
        envoy = await stack.enter_async_context(connected(version, variant, server.address, directory))
        yield Stage(server, envoy, version, variant, backend)


@contextlib.asynccontextmanager
async def connected(
    version: str, variant: Variant, address: Address, directory: Path, *, name: str = "envoy"
) -> AsyncIterator[Envoy]:
    """Start an Envoy of this version that gets everything from `address`."""
    options = BootstrapOptions(
        node_id=f"{name}-{version}-{variant}", mode=variant, xds_address=address, admin_port=0
    )
    envoy = Envoy(options, directory, binary=BINARIES[version])
    try:
        yield await envoy.start()
    finally:
        await envoy.stop()
