"""``xds-shadow serve`` as a child process."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from xds_server.base.address import Address, parse_address
from xds_server.local.demo.processes import Process


class ControlPlane:
    """A control plane with the given source options. A restart keeps its ports."""

    def __init__(
        self,
        source: Sequence[str],
        directory: Path,
        *,
        xds: Address = Address("127.0.0.1", 0),  # noqa: B008 - immutable
        admin: Address = Address("127.0.0.1", 0),  # noqa: B008 - immutable
        extra: Sequence[str] = (),
    ) -> None:
        self.xds_address = xds
        self.admin_address = admin
        self.http_address = Address("127.0.0.1", 0)
        self._options = [*source, *extra]
        self._ready_file = directory / "control-plane.ready"
        self._log = directory / "control-plane.log"
        self.process = Process("xds-shadow serve", (), self._log)

    async def start(self) -> Self:
        """Start it and wait until it serves."""
        self._ready_file.unlink(missing_ok=True)
        self.process = Process("xds-shadow serve", self._command(), self._log)
        await self.process.start()

        async def ready() -> bool:
            return self._ready_file.exists()

        await self.process.until(ready, what="being ready")
        where = json.loads(self._ready_file.read_text())
        self.xds_address = parse_address(where["xds_address"], option="xds_address")
        self.admin_address = parse_address(where["admin_address"], option="admin_address")
        self.http_address = parse_address(where["http_address"], option="http_address")
        return self

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """Stop it."""
        await self.process.stop(first)

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "xds_server.cli", "serve", *self._options),
            f"--xds-address={self.xds_address}",
            f"--admin-address={self.admin_address}",
            f"--http-address={self.http_address}",
            f"--ready-file={self._ready_file}",
        ]
