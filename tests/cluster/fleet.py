"""Real Envoys that connect to the installation, and steady load on them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

_CONNECTIONS: Final = 4
_PAUSE_S: Final = 0.01
_ALL: Final = "^(listener_manager|cluster_manager|http.gateway.rds)"
_CHANGES: Final = (
    "listener_manager.listener_added",
    "listener_manager.listener_modified",
    "listener_manager.listener_removed",
    "cluster_manager.cluster_added",
    "cluster_manager.cluster_modified",
    "cluster_manager.cluster_removed",
    "http.gateway.rds.gateway.config_reload",
)


@dataclass
class Responses:
    """What clients have received: how often each status, and each image that served a 200."""

    statuses: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Fleet:
    """One Envoy of each variant."""

    envoys: tuple[Envoy, ...]
    session: aiohttp.ClientSession

    async def get(self, envoy: Envoy, host: str) -> tuple[int, str]:
        """Status and body of a request through a gateway."""
        url = f"http://{envoy.gateway}/"
        async with self.session.get(url, headers={"Host": host}) as response:
            return response.status, await response.text()

    async def served(self, host: str) -> bool:
        """Whether every Envoy routes the host."""
        return all([(await self.get(envoy, host))[0] == 200 for envoy in self.envoys])

    async def connected(self) -> bool:
        """Whether every Envoy has a control plane."""
        return all([await envoy.stat("control_plane.connected_state") == 1 for envoy in self.envoys])

    async def changes(self) -> list[dict[str, int]]:
        """How often each Envoy has changed its configuration, other than endpoints."""
        stats = [await envoy.stats(_ALL) for envoy in self.envoys]
        return [{name: each.get(name, 0) for name in _CHANGES} for each in stats]

    @contextlib.asynccontextmanager
    async def load(self, host: str) -> AsyncIterator[Responses]:
        """Clients send requests through every Envoy until the block ends."""
        found, ended = Responses(), asyncio.Event()

        async def client(envoy: Envoy) -> None:
            while not ended.is_set():
                try:
                    status, body = await self.get(envoy, host)
                except aiohttp.ClientError as error:
                    found.statuses[type(error).__name__] += 1
                else:
                    found.statuses[str(status)] += 1
                    found.images[body.split(" ")[0]] += status == 200
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for envoy in self.envoys * _CONNECTIONS:
                group.create_task(client(envoy))
            try:
                yield found
            finally:
                ended.set()


@contextlib.asynccontextmanager
async def fleet_of(xds: Address, directory: Path) -> AsyncIterator[Fleet]:
    """Start the Envoys and wait until they have a listener; end them afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(reserved_ports(len(Variant)))
        envoys = []
        for mode, port in zip(Variant, ports, strict=True):
            options = BootstrapOptions(
                node_id=f"envoy-{mode.value}", mode=mode, xds_address=xds, admin_port=0, gateway_port=port
            )
            envoy = Envoy(options, directory)
            stack.push_async_callback(envoy.stop)
            envoys.append(await envoy.start())
        await asyncio.gather(*(envoy.until_serving() for envoy in envoys))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Fleet(tuple(envoys), session)
