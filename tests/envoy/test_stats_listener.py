"""`bootstrap --stats-port`: an Envoy's statistics and readiness, and nothing else of its admin interface."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.objects import write_documents
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

ATTEMPTS = 20
SHOWN = ("/ready", "/stats/prometheus", "/stats/prometheus?usedonly&filter=http.stats")
HIDDEN = (
    ("GET", "/"),
    ("GET", "/stats"),
    ("GET", "/config_dump"),
    ("GET", "/stats/prometheus/"),
    ("GET", "/stats/prometheus/../../config_dump"),
    ("GET", "/ready%2F..%2Fconfig_dump"),
    ("POST", "/ready"),
    ("POST", "/quitquitquit"),
    ("POST", "/stats/prometheus"),
)


@dataclass(frozen=True)
class Shown:
    """An Envoy, and where its statistics are."""

    envoy: Envoy
    at: Address


async def started(stack: contextlib.AsyncExitStack, directory: Path, options: BootstrapOptions) -> Shown:
    """Its admin interface needs a port that is known before, and shares it with nobody, as listeners do; so
    another is tried if it is taken by then."""
    [gateway, stats] = stack.enter_context(reserved_ports(2))
    for _ in range(ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            admin = probe.getsockname()[1]
        at = Address("127.0.0.1", stats)
        whole = replace(options, gateway_port=gateway, admin_port=admin, stats=at)
        envoy = Envoy(whole, directory, binary=BINARIES[options.node_id.partition("-")[0]])
        stack.push_async_callback(envoy.stop)
        try:
            await envoy.start()
        except XdsShadowError as error:
            if "Address already in use" not in str(error):
                raise
        else:
            return Shown(envoy, at)
    raise AssertionError("no port is free")


async def test_statistics_and_readiness_are_shown_and_nothing_else(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    write_documents(manifests / "base.yaml", [objects.namespace(), objects.service()])
    async with contextlib.AsyncExitStack() as stack:
        control_plane = ControlPlane([f"--manifests={manifests}"], tmp_path)
        stack.push_async_callback(control_plane.stop)
        xds = (await control_plane.start()).xds_address
        await control_plane.stop()  # it has its port again later
        kinds = [
            BootstrapOptions(node_id=f"{version}-{variant}", mode=variant, xds_address=xds)
            for version in BINARIES
            for variant in Variant
        ]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        found = await asyncio.gather(*(started(stack, tmp_path, each) for each in kinds))
        for each in found:  # nobody has configured it
            assert await status(session, "GET", each.at, "/ready") is None
        await control_plane.start()
        for each in found:
            await shows_its_statistics_alone(session, each)


async def shows_its_statistics_alone(session: aiohttp.ClientSession, shown: Shown) -> None:
    await shown.envoy.until_serving()
    await eventually(partial(is_ready, session, shown.at), what=f"{shown.envoy.id} ready")
    for path in SHOWN:
        assert await status(session, "GET", shown.at, path) == 200
    for method, path in HIDDEN:
        assert (path, await status(session, method, shown.at, path)) == (path, 404)
    async with session.get(f"http://{shown.at}/stats/prometheus") as response:
        assert "envoy_listener_manager_total_listeners_active{} 2" in await response.text()
    assert (await shown.envoy.admin("/server_info"))["state"] == "LIVE"  # nobody has ended it


async def is_ready(session: aiohttp.ClientSession, address: Address) -> bool:
    return await status(session, "GET", address, "/ready") == 200


async def status(session: aiohttp.ClientSession, method: str, address: Address, path: str) -> int | None:
    """What is answered; None if nobody listens."""
    url = URL(f"http://{address}{path}", encoded=True)
    try:
        async with session.request(method, url) as response:
            return response.status
    except aiohttp.ClientConnectorError:
        return None
