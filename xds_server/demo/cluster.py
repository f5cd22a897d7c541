"""The demo's cluster: ``xds-shadow kube`` as a child process, and what the story does to it.

A label is put on with the request that kubectl sends; kubectl itself is not needed, and works as well.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from xds_server.base.address import Address, parse_address
from xds_server.base.errors import XdsShadowError
from xds_server.demo.processes import Process
from xds_server.demo.stage import CANARY, NAMESPACE, PERCENT, SERVICE, Document, endpoint_slice, pod
from xds_server.model.world import SHADOW_OF

_COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
}
_MERGE_PATCH = "application/merge-patch+json"


class Cluster:
    """An embedded Kubernetes API with the example in it. Started again, it takes the same port and has
    what it had."""

    def __init__(self, directory: Path, address: Address = Address("127.0.0.1", 0)) -> None:  # noqa: B008
        self.address = address
        self.kubeconfig = directory / "kubeconfig"
        self._data = directory / "kube"
        self._ready_file = directory / "kube.ready"
        self._log = directory / "kube.log"
        self.process = Process("xds-shadow kube", (), self._log)

    async def start(self) -> Self:
        """Start it and wait until it answers."""
        self._ready_file.unlink(missing_ok=True)
        self.process = Process("xds-shadow kube", self._command(), self._log)
        await self.process.start()

        async def ready() -> bool:
            return self._ready_file.exists()

        await self.process.until(ready, what="being ready")
        where = json.loads(self._ready_file.read_text())
        self.address = parse_address(where["kube_address"], option="kube_address")
        return self

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        await self.process.stop(first)

    async def create(self, document: Document) -> None:
        """Create an object, and its status as a controller would."""
        path = _COLLECTIONS[document["kind"]].format(namespace=document["metadata"].get("namespace"))
        await self._send("POST", path, document, "application/json")
        if "status" in document:
            name = document["metadata"]["name"]
            await self._send("PATCH", f"{path}/{name}/status", {"status": document["status"]}, _MERGE_PATCH)

    async def add_pods(self, stable: Address, canary: Address) -> None:
        """Say where the backends listen, and that each is its Deployment's one ready Pod."""
        await self.create(endpoint_slice(f"{SERVICE}-1", SERVICE, stable))
        for deployment, address in ((SERVICE, stable), (CANARY, canary)):
            await self.create(pod(f"{deployment}-1", {"app": deployment}, address))
            status = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
            await self._patch_deployment(deployment, {"status": status}, "/status")

    async def label(self) -> None:
        """``kubectl label deployment myapp-canary xds-shadow.io/shadow-of=myapp``."""
        await self._patch_canary("labels", SHADOW_OF, SERVICE)

    async def unlabel(self) -> None:
        """``kubectl label deployment myapp-canary xds-shadow.io/shadow-of-``."""
        await self._patch_canary("labels", SHADOW_OF, None)

    async def annotate_percent(self, percent: str) -> None:
        """``kubectl annotate deployment myapp-canary xds-shadow.io/percent=…``."""
        await self._patch_canary("annotations", PERCENT, percent)

    async def _patch_canary(self, section: str, key: str, value: str | None) -> None:
        await self._patch_deployment(CANARY, {"metadata": {section: {key: value}}})

    async def _patch_deployment(self, name: str, patch: Document, subresource: str = "") -> None:
        path = _COLLECTIONS["Deployment"].format(namespace=NAMESPACE)
        await self._send("PATCH", f"{path}/{name}{subresource}", patch, _MERGE_PATCH)

    async def _send(self, method: str, path: str, body: Any, content_type: str) -> None:
        url, headers = f"http://{self.address}{path}", {"Content-Type": content_type}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=json.dumps(body), headers=headers) as response,
        ):
            if not response.ok:
                raise XdsShadowError(f"{method} {path}: {response.status} {await response.text()}")

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "xds_server.cli", "kube"),
            f"--data={self._data}",
            f"--listen={self.address}",
            f"--kubeconfig={self.kubeconfig}",
            f"--ready-file={self._ready_file}",
        ]
