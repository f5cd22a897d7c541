"""Addresses that cannot be endpoints cost nobody anything, on real Envoys of both versions and variants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support.backends import BACKEND, Recorder, recorder
from tests.support.waiting import eventually
from tests.unit.pure.kube import at, namespace, service, slice_of
from xds_server.ads.events import Variant
from xds_server.app import App
from xds_server.base.address import Address
from xds_server.bootstrap import BootstrapOptions
from xds_server.config import ServeConfig, SourceConfig
from xds_server.demo.envoy import Envoy
from xds_server.demo.fleet import reserved_ports
from xds_server.model.objects import EndpointSlice, Object, ServicePort, SlicePort
from xds_server.model.world import Upsert
from xds_server.snapshot.types import ENDPOINT
from xds_server.sources.source import Health, Sink

pytestmark = pytest.mark.envoy

ANY_PORT = Address("127.0.0.1", 0)
BAD = (
    *("010.0.0.1", "0177.0.0.1", "10.1", "1.2.3.4%eth0", "", "db.example.com", "fd00::1", "::ffff:127.0.0.1"),
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
)


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
        return {each.subject: each.message for each in self.app.server_state().problems}


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
    await asyncio.wait_for(app.ready.wait(), 20)
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
        source.put(*before)
        await eventually(lambda: app.server_state().problems, what="problems of what was put before")
        async with envoys(app, directory, BINARIES) as running:
            yield Fleet(source, app, running, session)


def tenant(name: str) -> tuple[Object, ...]:
    return namespace(name), service("app", namespace=name)


def served(by: Recorder, name: str, *bad: str) -> EndpointSlice:
    addresses = [*map(at, bad), at(by.address.host)]
    return slice_of("app", *addresses, namespace=name, ports=[SlicePort(port=by.address.port)])


async def test_a_bad_address_costs_nobody_anything(tmp_path: Path) -> None:
    async with recorder("shop") as shop, recorder("moved") as moved, recorder("evil") as evil:
        before = (*tenant("shop"), *tenant("evil"), served(shop, "shop"), served(evil, "evil", *BAD))
        async with fleet(tmp_path, *before) as running:
            # An Envoy that starts while the bad slice is there serves everybody, the good address too.
            await running.until("app.shop", 200, "shop")
            await running.until("app.evil", 200, "evil")
            assert running.problems()["EndpointSlice evil/app-1"].startswith(
                f"{len(BAD)} of its {len(BAD) + 1} addresses are left out; the first: '010.0.0.1' is not an"
            )
            # A change of somebody else's, together with each of them, arrives; and back again.
            for number, address in enumerate(BAD):
                other = moved if number % 2 == 0 else shop
                running.source.put(served(evil, "evil", address), served(other, "shop"))
                await running.until("app.shop", 200, other.name)
                await running.until("app.evil", 200, "evil")
            assert running.app.facts().traffic.types[ENDPOINT].nacks == 0
            # What is corrected is no problem any more.
            running.source.put(served(evil, "evil"))
            await eventually(lambda: not running.problems(), what="no problem")


async def test_no_tenant_reaches_the_control_plane_through_the_gateway(tmp_path: Path) -> None:
    async with control_plane() as (source, app), aiohttp.ClientSession() as session:
        grpc = ServicePort(port=80, app_protocol="grpc")
        for name, address in app.addresses._asdict().items():
            source.put(namespace(name), service("ssrf", namespace=name, ports=(grpc,)))
            port = SlicePort(port=address.port)
            source.put(slice_of("ssrf", at("127.0.0.1"), namespace=name, ports=[port]))
        async with envoys(app, tmp_path, BINARIES) as running:
            found = Fleet(source, app, running, session)
            for name in app.addresses._fields:
                await found.until(f"ssrf.{name}", 503)
                assert "is the control plane's own" in found.problems()[f"EndpointSlice {name}/ssrf-1"]
