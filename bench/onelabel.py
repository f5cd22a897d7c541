"""What one label costs the whole control plane, from the Kubernetes API to an Envoy: processor time and
bytes, among few Services and among many.
"""

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.gateway import Gateway
from bench.objects import service_of
from bench.process import cpu_s, cpu_when_idle
from bench.scale import Server, Size, control_plane, serving
from xds_server.base.ids import NamespacedName
from xds_server.core.keys import SHADOW_OF
from xds_server.translate.names import shadow_cluster, virtual_host_key
from xds_server.xds.types import CLUSTER, ENDPOINT, VIRTUAL_HOST

_MERGE: Final = {"Content-Type": "application/merge-patch+json"}


class _Label:
    """Of the first Service's canary."""

    def __init__(self, server: Server, size: Size, gateway: Gateway) -> None:
        namespace, self._service = service_of(0, size.namespaces)
        service = NamespacedName(namespace, self._service)
        deployment = f"{self._service}-canary"
        self._url = f"{server.url}/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"
        self._cluster = shadow_cluster(service, "http", deployment)
        self._host = virtual_host_key(service, "http").name
        self._gateway = gateway

    async def put(self, session: aiohttp.ClientSession, *, on: bool) -> None:
        """Put it on or take it off, and wait until the Envoy has what follows."""
        labels = {SHADOW_OF: self._service if on else None}
        async with session.patch(
            self._url, json={"metadata": {"labels": labels}}, headers=_MERGE
        ) as response:
            response.raise_for_status()
        await self._gateway.until(self._is(on))

    def _is(self, on: bool) -> Callable[[], bool]:  # noqa: FBT001 - it is said in `put`
        held, name = self._gateway.held, self._cluster
        return lambda: (
            all((name in held[each]) is on for each in (CLUSTER, ENDPOINT))
            and (name.encode() in held[VIRTUAL_HOST].get(self._host, b"")) is on
        )


async def measure(size: Size, directory: Path, *, times: int) -> dict[str, Any]:
    """Put the label on so many times; medians."""
    async with (
        serving(size, directory) as server,
        control_plane(server, directory) as (plane, _),
        Gateway(plane.xds_address) as gateway,
        aiohttp.ClientSession() as session,
    ):
        label = _Label(server, size, gateway)
        await gateway.until(lambda: gateway.has(size.services))
        costs, sizes, responses = [], [], []
        for _ in range(times):
            await label.put(session, on=False)
            before = await cpu_when_idle(plane.process.pid)
            gateway.count_anew()
            await label.put(session, on=True)
            costs.append((await cpu_when_idle(plane.process.pid) - before) * 1e6)
            sizes.append(gateway.size)
            responses.append(gateway.responses)
        began = cpu_s(plane.process.pid)
        await asyncio.sleep(1.0)
        idle = cpu_s(plane.process.pid) - began
    return {
        "services": size.services,
        "times": times,
        "cpu_us": statistics.median(costs),
        "bytes": statistics.median(sizes),
        "responses": statistics.median(responses),
        "idle_share": idle,
    }
