"""Memory: with a thousand streams connected, and after very many changes."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from bench.cluster import PROBE_EVERY
from bench.gateway import Gateway
from bench.peers.side import Child, child
from bench.process import used
from bench.scale import Server, Size, control_plane, serving
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, VIRTUAL_HOST

_TYPES: Final = {
    "delta": (CLUSTER, ENDPOINT, VIRTUAL_HOST, LISTENER),
    "sotw": (CLUSTER, ENDPOINT, LISTENER),
}
_AT_ONCE: Final = 20
_SAMPLES: Final = 10


@contextlib.asynccontextmanager
async def _envoys(server: Address, variant: str, streams: int, names: Path) -> AsyncIterator[Child]:
    """So many Envoys that have everything."""
    types = _TYPES[variant]
    setup = {"server": str(server), "variant": variant, "types": types, "names": str(names)}
    command = [sys.executable, "-m", "bench.peers.envoys", json.dumps(setup)]
    async with child(command, f"the {variant} clients") as envoys:
        need = dict.fromkeys(types, 1)
        order = {"do": "open", "streams": streams, "resume": False, "at_once": _AT_ONCE, "need": need}
        found = await envoys.ask(json.dumps(order))
        if found["error"]:
            raise XdsShadowError(f"{variant}: {found['error']}")
        yield envoys


async def measure(size: Size, directory: Path, *, streams: int, changes: int, rate: int) -> dict[str, Any]:
    """Half of the streams in either variant; then `changes` of endpoints, `rate` a second, with one."""
    names = directory / "names"
    async with (
        serving(size, directory) as server,
        control_plane(server, directory) as (plane, _),
        Gateway(plane.xds_address) as gateway,
    ):
        pid = plane.process.pid
        await gateway.until(lambda: gateway.has(size.services))
        alone = used(pid)
        names.write_text("\n".join(gateway.held[CLUSTER]))
        async with (
            _envoys(plane.xds_address, "delta", streams // 2, names),
            _envoys(plane.xds_address, "sotw", streams - streams // 2, names),
        ):
            connected = used(pid)
        rss = [each async for each in _changing(server, plane, changes, rate)]
    return {
        "services": size.services,
        "endpoints": size.endpoints,
        "streams": streams,
        "one_mib": alone.rss_mib,
        "connected_mib": connected.rss_mib,
        "peak_mib": connected.peak_mib,
        "changes": changes,
        "rate": rate,
        "changing_mib": rss,
    }


async def _changing(server: Server, plane: ControlPlane, changes: int, rate: int) -> AsyncIterator[float]:
    """Resident memory as changes go on, evenly."""
    server.churn(rate, changes // rate)
    probes, every = 0, max(changes // PROBE_EVERY // _SAMPLES, 1)
    while "churned" not in await server.fact():
        probes += 1
        if probes % every == 0:
            yield used(plane.process.pid).rss_mib
