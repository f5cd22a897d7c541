"""xds-shadow as `manifests/install` installs it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.cluster.servers import Servers
from tests.kubectl.client import Kubectl
from tests.support.installation import INSTALL, SYSTEM, kubectl
from xds_server.base.address import Address

XDS_PORT: Final = 18000
ADMIN_PORT: Final = 18080
DEPLOYMENT: Final = "deployment/xds-shadow"
SERVICE_ACCOUNT: Final = f"system:serviceaccount:{SYSTEM}:xds-shadow"

_AVAILABLE_S: Final = 300


class Installation:
    """The installed objects, and an administrator's kubectl in their namespace."""

    def __init__(self, servers: Servers) -> None:
        self._environment = {"KUBECONFIG": str(servers.kubeconfig), "HOME": str(servers.directory)}
        self.kubectl = Kubectl(kubectl(), self._environment, SYSTEM)
        second = {**self._environment, "KUBECONFIG": str(servers.second_kubeconfig)}
        self.kubectl_on_second = Kubectl(kubectl(), second, SYSTEM)

    def apply(self) -> None:
        """Install, and wait for the replicas."""
        self._run("apply", "-k", str(INSTALL))
        self._until_available()

    async def restart(self) -> None:
        """Replace the replicas one after the other, and wait for the last one."""
        await self.kubectl("rollout", "restart", DEPLOYMENT)
        await asyncio.to_thread(self._until_available)

    def xds_address(self) -> Address:
        """Where Envoys connect: the cluster IP of the Service."""
        return Address(
            self._run("-n", SYSTEM, "get", "service", "xds-shadow", "-o", "jsonpath={.spec.clusterIP}"),
            XDS_PORT,
        )

    async def plugin(self, *arguments: str) -> str:
        """What ``kubectl shadow`` prints, for an administrator."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **self._environment, "PATH": path}
        process = await asyncio.create_subprocess_exec(
            *(kubectl(), "shadow", *arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def replicas(self) -> dict[str, str]:
        """The addresses of the ready Pods, by their names."""
        pods = (await self.kubectl.get("pods", "-l", "app.kubernetes.io/name=xds-shadow"))["items"]
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods if _is_ready(pod)}

    async def leader(self) -> str:
        """The Pod that holds the Lease; empty if none does."""
        lease = await self.kubectl.get("lease", "xds-shadow")
        return str(lease["spec"].get("holderIdentity") or "")

    def _until_available(self) -> None:
        self._run("-n", SYSTEM, "rollout", "status", DEPLOYMENT, f"--timeout={_AVAILABLE_S}s")

    def _run(self, *arguments: str) -> str:
        environment = {**os.environ, **self._environment}
        ran = subprocess.run(
            [kubectl(), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"kubectl {' '.join(arguments)}: {ran.stderr}"
        return ran.stdout


def _is_ready(pod: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
