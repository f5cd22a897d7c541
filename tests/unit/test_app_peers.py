"""Two control planes in this process that are peers of each other, as `serve` starts them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.waiting import eventually
from tests.unit.test_app import ANY_PORT, ScriptedSource
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.local.demo.fleet import reserved_ports
from xds_server.server.app import App
from xds_server.server.config import PeersConfig, Security, ServeConfig, SourceConfig
from xds_server.server.verdict_report import Replica


def config(name: str, port: int, ports: tuple[int, ...], security: Security) -> ServeConfig:
    peers = tuple(Address("127.0.0.1", each) for each in ports)
    return ServeConfig(
        source=SourceConfig(),
        xds_address=ANY_PORT,
        admin_address=ANY_PORT,
        http_address=ANY_PORT,
        drain_s=0.0,
        replica=name,
        security=security,
        peers=PeersConfig(peers=peers, address=Address("127.0.0.1", port)),
    )


@contextlib.asynccontextmanager
async def replica(name: str, port: int, ports: tuple[int, ...], security: Security) -> AsyncIterator[App]:
    source = ScriptedSource()
    app = App(config(name, port, ports, security), source=source)
    task = asyncio.create_task(app.run())
    try:
        (await source.opened()).synced()
        await app.ready.wait()
        yield app
    finally:
        app.stop()
        await task


@pytest.mark.parametrize("tls", [False, True])
async def test_replicas_that_are_served_ask_each_other(tls: bool, tmp_path: Path) -> None:
    security = Security(tls=Authority().server_files(tmp_path)) if tls else Security()
    with reserved_ports(2) as ports:
        async with (
            replica("one", ports[0], ports, security) as one,
            replica("two", ports[1], ports, security) as two,
        ):
            for app, expected in ((one, ("one", "two")), (two, ("two", "one"))):

                async def all_answer(app: App = app, names: tuple[str, ...] = expected) -> bool:
                    return (await app.verdicts.ask()).replicas == tuple(map(Replica, names))

                await eventually(all_answer, what=f"the answers of {expected}")
            assert one.addresses.peer == Address("127.0.0.1", ports[0])


async def test_an_address_for_replicas_that_is_in_use_ends_it_with_the_option_to_change() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    with pytest.raises(XdsShadowError, match="select another with --peer-address"):
        await App(config("one", port, (port,), Security()), source=ScriptedSource()).run()
    await server.stop(0)
