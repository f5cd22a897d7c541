"""A control plane in this process, with short intervals of load reports, and real Envoys for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import yaml

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.own_listener import OwnEnvoy, surroundings
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

INTERVAL_S = 0.5
_ANY_PORT = Address("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def control_plane() -> AsyncIterator[tuple[App, ScriptedSource]]:
    source = ScriptedSource()
    config = ServeConfig(
        source=SourceConfig(allow_loopback_endpoints=True),
        xds_address=_ANY_PORT,
        admin_address=_ANY_PORT,
        http_address=_ANY_PORT,
        drain_s=0.0,
        route_configs=("elsewhere",),
    )
    app = App(config, source=source, intervals_s=(INTERVAL_S,))
    task = asyncio.create_task(app.run())
    try:
        sink = await source.opened()
        sink.put(_changes(objects.namespace()))
        sink.synced()
        await app.ready.wait()
        yield app, source
    finally:
        app.stop()
        await task


@contextlib.asynccontextmanager
async def envoy_of(
    xds: Address,
    directory: Path,
    version: str,
    variant: Variant,
    *,
    own: bool = False,
    reports: bool = True,
    node_id: str = "envoy-1",
) -> AsyncIterator[tuple[Envoy, str]]:
    """An Envoy that serves, and the address for clients."""
    async with contextlib.AsyncExitStack() as stack:
        [port] = stack.enter_context(reserved_ports(1))
        options = BootstrapOptions(
            node_id=node_id, mode=variant, xds_address=xds, admin_port=0, gateway_port=port
        )
        if own:
            around = await stack.enter_async_context(surroundings(directory))
            envoy: Envoy = OwnEnvoy(around.example(), options, directory, binary=BINARIES[version])
        else:
            envoy = Envoy(options, directory, binary=BINARIES[version])
        if not reports:
            file = directory / f"{node_id}.yaml"
            config = yaml.safe_load(file.read_text())
            del config["cluster_manager"]
            file.write_text(yaml.safe_dump(config))
        stack.push_async_callback(envoy.stop)
        await envoy.start()
        if isinstance(envoy, OwnEnvoy):
            await eventually(partial(envoy.listening, "https"), what="its listener")
            yield envoy, f"https://{await envoy.listening('https')}"
        else:
            await envoy.until_serving()
            yield envoy, f"http://{envoy.gateway}"
