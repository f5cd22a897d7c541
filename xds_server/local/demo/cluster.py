"""The demo's cluster: ``xds-shadow kube`` as a child process."""

import json
import signal
import sys
from pathlib import Path
from typing import Self

from xds_server.base.address import Address, parse_address
from xds_server.local.demo.api import Api
from xds_server.local.demo.processes import Process


class Cluster:
    """An embedded Kubernetes API with the example's objects. A restart keeps the port and the objects; `api`
    sends requests to it."""

    def __init__(self, directory: Path, address: Address = Address("127.0.0.1", 0)) -> None:  # noqa: B008
        self.api = Api(address)
        self.kubeconfig = directory / "kubeconfig"
        self._data = directory / "kube"
        self._ready_file = directory / "kube.ready"
        self._log = directory / "kube.log"
        self.process = Process("xds-shadow kube", (), self._log)

    async def start(self) -> Self:
        """Start it and wait until it serves."""
        self._ready_file.unlink(missing_ok=True)
        self.process = Process("xds-shadow kube", self._command(), self._log)
        await self.process.start()

        async def ready() -> bool:
            return self._ready_file.exists()

        await self.process.until(ready, what="being ready")
        where = json.loads(self._ready_file.read_text())
        self.api = Api(parse_address(where["kube_address"], option="kube_address"))
        return self

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """Stop it."""
        await self.process.stop(first)

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "xds_server.cli", "kube"),
            f"--data={self._data}",
            f"--listen={self.api.address}",
            f"--kubeconfig={self.kubeconfig}",
            f"--ready-file={self._ready_file}",
        ]
