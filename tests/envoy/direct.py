"""A control plane in the test's own loop that is given objects directly, and Envoys of both versions and
variants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from tests.envoy.scenarios.stage import BINARIES
from tests.support.backends import BACKEND
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.address import Address
from xds_server.core.conditions import errors
from xds_server.core.objects import Object
from xds_server.core.source import Health, Sink
from xds_server.core.world import Upsert
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

ANY_PORT = Address("127.0.0.1", 0)


class Anything:
    """A source that has checked nothing, as an older API server does not."""

    sink: Sink

    def health(self) -> Health:
        return Health(message="as the test says")

    async def run(self, sink: Sink) -> None:
        self.sink = sink
        sink.synced()
        await asyncio.Event().wait()

    def put(self, *objects: Object) -> None:
        self.sink.put(map(Upsert, objects))


@dataclass
class Fleet:
    """A control plane in the test's loop, and Envoys."""

    source: Anything
    app: App
    envoys: tuple[Envoy, ...]
    session: aiohttp.ClientSession

    async def get(self, envoy: Envoy, host: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{envoy.gateway_port}/"
        async with self.session.get(url, headers={"Host": host}) as response:
            return response.status, response.headers.get(BACKEND, "")

    async def until(self, host: str, status: int, backend: str = "") -> None:
        async def there(envoy: Envoy) -> bool:
            return await self.get(envoy, host) == (status, backend)

        for envoy in self.envoys:
            await eventually(partial(there, envoy), what=f"{status} {backend} of {host} by {envoy.id}")

    def problems(self) -> dict[str, str]:
        found = errors(self.app.reporter.server_state().conditions)
        return {str(each.subject): each.message for each in found}


@contextlib.asynccontextmanager
async def control_plane() -> AsyncIterator[tuple[Anything, App]]:
    source = Anything()
    config = ServeConfig(
        source=SourceConfig(allow_loopback_endpoints=True),
        xds_address=ANY_PORT,
        admin_address=ANY_PORT,
        http_address=ANY_PORT,
        drain_s=0.0,
    )
    app = App(config, source=source)
    task = asyncio.create_task(app.run())
    await asyncio.wait_for(app.ready.wait(), PATIENCE_S)
    try:
        yield source, app
    finally:
        app.stop()
        await task


@contextlib.asynccontextmanager
async def envoys(app: App, directory: Path, binaries: Iterable[str]) -> AsyncIterator[tuple[Envoy, ...]]:
    wanted = [(version, mode) for version in binaries for mode in Variant]
    async with contextlib.AsyncExitStack() as stack:
        found = []
        ports = stack.enter_context(reserved_ports(len(wanted)))
        for (version, mode), port in zip(wanted, ports, strict=True):
            options = BootstrapOptions(
                node_id=f"{mode}-{version}",
                mode=mode,
                xds_address=app.addresses.xds,
                admin_port=0,
                gateway_port=port,
            )
            envoy = Envoy(options, directory, binary=BINARIES[version])
            stack.push_async_callback(envoy.stop)
            found.append(envoy)
        await asyncio.gather(*(envoy.start() for envoy in found))
        await asyncio.gather(*(envoy.until_serving() for envoy in found))
        yield tuple(found)


@contextlib.asynccontextmanager
async def fleet(directory: Path, *before: Object) -> AsyncIterator[Fleet]:
    """Envoys of both versions and variants that start once the objects are there."""
    async with control_plane() as (source, app), aiohttp.ClientSession() as session:
        began = app.reporter.server_state().committed
        source.put(*before)
        await eventually(lambda: app.reporter.server_state().committed > began, what="what was put before")
        async with envoys(app, directory, BINARIES) as running:
            yield Fleet(source, app, running, session)
