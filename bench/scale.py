"""A large cluster: time, memory and CPU until the control plane is ready, and a steady state of changes."""

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench import yardstick
from bench.ads import Watcher
from bench.cluster import PROBED
from bench.gateway import Gateway
from bench.objects import ENDPOINTS_EACH, service_of
from bench.process import used
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import NamespacedName
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.translate.names import cluster as cluster_name

_DRAIN_S: Final = 10.0


@dataclass(frozen=True)
class Size:
    """Of a cluster."""

    namespaces: int
    services: int

    @property
    def endpoints(self) -> int:
        return self.services * ENDPOINTS_EACH


class Server:
    """The process of `bench.cluster`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, kubeconfig: Path) -> None:
        self.process = process
        self.url = url
        self.kubeconfig = kubeconfig

    async def fact(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self.process.stdout
        line = await self.process.stdout.readline()
        if not line:
            raise XdsShadowError("the process that serves the cluster has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def churn(self, rate: int, seconds: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"churn {rate} {seconds}\n".encode())


@contextlib.asynccontextmanager
async def serving(size: Size, directory: Path) -> AsyncIterator[Server]:
    """A cluster of that size."""
    kubeconfig = directory / "kubeconfig"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.cluster", str(size.namespaces), str(size.services), str(kubeconfig)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    server = Server(process, "", kubeconfig)
    try:
        server.url = (await server.fact())["serving"]
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def start(size: Size, directory: Path) -> dict[str, Any]:
    """Start a control plane on a cluster of that size, until it is ready."""
    async with serving(size, directory) as server, control_plane(server, directory) as (plane, seconds):
        ready = used(plane.process.pid)
        async with Gateway(plane.xds_address) as gateway:
            await gateway.until(lambda: gateway.has(size.services))
        bound = await yardstick.measure(server.url, gateway.held)
        return {
            **asdict(size),
            "endpoints": size.endpoints,
            "ready_s": seconds,
            **asdict(bound),
            "ratio": seconds / bound.needed_s,
            "least_ratio": seconds / bound.least_s,
            **{f"ready_{name}": value for name, value in asdict(ready).items()},
        }


@contextlib.asynccontextmanager
async def control_plane(server: Server, directory: Path) -> AsyncIterator[tuple[ControlPlane, float]]:
    """A control plane that is ready, and how many seconds that took from its start."""
    plane = ControlPlane([f"--kubeconfig={server.kubeconfig}", "--no-events"], directory)
    began = time.perf_counter()
    try:
        await plane.start()
        yield plane, time.perf_counter() - began
    finally:
        await plane.stop()


async def steady(size: Size, directory: Path, *, rate: int, seconds: int) -> dict[str, Any]:
    """Change endpoints at a steady rate, and see when an Envoy would have them."""
    async with serving(size, directory) as server, control_plane(server, directory) as (plane, _):
        names = [
            cluster_name(NamespacedName(*service_of(number, size.namespaces)), "http")
            for number in range(PROBED)
        ]
        watcher = Watcher(plane.xds_address, names)
        watching = asyncio.create_task(watcher.run())
        before, api_before = used(plane.process.pid), used(server.process.pid)
        began = time.perf_counter()
        server.churn(rate, seconds)
        probes: dict[str, float] = {}
        while "churned" not in (fact := await server.fact()):
            probes[fact["probe"]] = fact["at"]
        took = time.perf_counter() - began
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await watcher.until_arrived(probes)
        drained = max(0.0, time.monotonic() - max(probes.values()))
        after, api_after = used(plane.process.pid), used(server.process.pid)
        events = int(await _metric(plane, 'xds_shadow_watch_events_total{kind="EndpointSlice"}'))
        lag = await _metric(plane, "xds_shadow_loop_longest_lag_seconds")
        watching.cancel()
        await watcher.close()
    late = [watcher.arrived[address] - at for address, at in probes.items() if address in watcher.arrived]
    half = len(late) // 2
    return {
        **asdict(size),
        "endpoints": size.endpoints,
        "rate": rate,
        "seconds": seconds,
        "made": fact["churned"],
        "taken": events,
        "lost": len(probes) - len(late),
        "median_ms": statistics.median(late) * 1000,
        "p99_ms": statistics.quantiles(late, n=100, method="inclusive")[98] * 1000,
        "worst_ms": max(late) * 1000,
        "first_half_ms": statistics.mean(late[:half]) * 1000,
        "second_half_ms": statistics.mean(late[half:]) * 1000,
        "drained_s": drained,
        "cpu_share": (after.cpu_s - before.cpu_s) / took,
        "api_cpu_share": (api_after.cpu_s - api_before.cpu_s) / took,
        "rss_mib": after.rss_mib,
        "grown_mib": after.rss_mib - before.rss_mib,
        "longest_lag_ms": lag * 1000,
        "generator_behind_ms": fact["behind"] * 1000,
    }


async def _metric(plane: ControlPlane, name: str) -> float:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{plane.http_address}/metrics") as response,
    ):
        text = await response.text()
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[-1])


def keeps_up(found: dict[str, Any]) -> bool:
    """Nothing lost, everything taken within a second of the last change, and no growing delay."""
    steady_delay = found["second_half_ms"] <= 2 * found["first_half_ms"] + 50
    return (
        not found["lost"] and found["taken"] == found["made"] and found["drained_s"] <= 1.0 and steady_delay
    )


async def measure(*, quick: bool, progress: Any) -> dict[str, Any]:
    """Everything about scale."""
    sizes = [Size(40, 200), Size(200, 1_000)] if quick else [Size(200, 1_000), Size(2_000, 10_000)]
    result: dict[str, Any] = {"starts": []}
    for size in sizes:
        progress(f"starting on {size.services} Services with {size.endpoints} endpoints")
        with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
            result["starts"].append(await start(size, Path(directory)))
    small, large = result["starts"]
    grown, more = large["ready_rss_mib"] - small["ready_rss_mib"], large["services"] - small["services"]
    result["mib_per_1000_services"] = grown / more * 1000
    rate, seconds = (50, 3) if quick else (200, 30)
    progress(f"{rate} endpoint changes a second for {seconds} s")
    with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
        result["steady"] = await steady(sizes[-1], Path(directory), rate=rate, seconds=seconds)
    result["steady"]["keeps_up"] = keeps_up(result["steady"])
    return result
