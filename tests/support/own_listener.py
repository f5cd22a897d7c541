"""Envoys with a listener of their own, that of ``envoy/own-listener.yaml``, and the authorization service
that it asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.certificates import Authority
from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.translate.bootstrap import BootstrapOptions, routes_only_yaml

EXAMPLE = Path(__file__).parents[2] / "envoy" / "own-listener.yaml"
Config = dict[str, Any]
_ALLOWED = b"HTTP/1.1 200 OK\r\n%scontent-length: 0\r\n\r\n"
_DENIED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"


def manager_of(listener: Config) -> Config:
    """The connection manager of a listener."""
    [chain] = listener["filter_chains"]
    found: Config = chain["filters"][0]["typed_config"]
    return found


@dataclass(frozen=True)
class Surroundings:
    """What the example names: its certificate, and where it asks for authorization."""

    directory: Path
    authorization: Address

    def example(self) -> Config:
        """The example, here: on ports that the system chooses."""
        config: Config = yaml.safe_load(EXAMPLE.read_text())
        [listener], [cluster] = (
            config["static_resources"]["listeners"],
            config["static_resources"]["clusters"],
        )
        for address in (config["admin"]["address"], listener["address"]):
            address["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
        [pair] = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"][
            "tls_certificates"
        ]
        for each in pair.values():
            each["filename"] = str(self.directory / each["filename"])
        [asking] = [each for each in manager_of(listener)["http_filters"] if "ext_authz" in each["name"]]
        # On a busy machine the authorization service of the tests may need longer than the example allows.
        asking["typed_config"]["http_service"]["server_uri"]["timeout"] = f"{PATIENCE_S}s"
        [locality] = cluster["load_assignment"]["endpoints"]
        [host] = locality["lb_endpoints"]
        host["endpoint"]["address"]["socket_address"]["port_value"] = self.authorization.port
        return config


class OwnEnvoy(Envoy):
    """An Envoy with a bootstrap of its own, into which what it needs from the control plane is merged."""

    def __init__(
        self, config: Config, options: BootstrapOptions, directory: Path, *, binary: Path | None = None
    ) -> None:
        self._parts = routes_only_yaml(options)
        super().__init__(options, directory, binary=binary)
        (directory / f"{self.id}.yaml").write_text(yaml.safe_dump(config))

    def command(self, config: Path) -> list[str]:
        return [
            *super().command(config),
            *("--config-yaml", self._parts),
        ]

    async def listening(self, name: str = "https") -> Address | None:
        """Where one of its listeners is; None if it accepts no connections yet."""
        if not await self.workers_started():
            return None
        for status in (await self.admin("/listeners?format=json")).get("listener_statuses", ()):
            if status["name"] == name:
                address = status["local_address"]["socket_address"]
                return Address(address["address"], address["port_value"])
        return None


async def _authorize(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Nobody is not admitted. Who has a name is called by it."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            user = head.partition(b"authorization: bearer ")[2].partition(b"\r\n")[0]
            named = b"x-user: " + user + b"\r\n" if user else b""
            writer.write(_DENIED if user == b"nobody" else _ALLOWED % named)
    writer.close()


@contextlib.asynccontextmanager
async def authorization() -> AsyncIterator[Address]:
    """An authorization service on a free port."""
    server = await asyncio.start_server(_authorize, "127.0.0.1", 0, limit=2**20)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


@contextlib.asynccontextmanager
async def surroundings(directory: Path) -> AsyncIterator[Surroundings]:
    """A certificate for ``*.example.com``, and an authorization service."""
    Authority().issue(dns=["*.example.com"]).write(directory, "tls")
    async with authorization() as address:
        yield Surroundings(directory, address)


async def _serve() -> None:
    async with authorization() as address:
        print(address.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
