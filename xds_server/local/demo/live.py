"""``xds-shadow demo``: keeps running with steady traffic and a live table, while the user runs kubectl."""

import asyncio
import itertools
import time
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xds_server.base.aio import spawn
from xds_server.base.errors import XdsShadowError
from xds_server.core.keys import SHADOW_OF
from xds_server.local.demo.fleet import Demo, DemoOptions, running
from xds_server.local.demo.stage import CANARY, HOST, NAMESPACE, PERCENT, SERVICE
from xds_server.server.display import status_view
from xds_server.server.status_client import get_status

_REQUESTS_PER_S = 50
_REDRAW_S = 0.5
_WINDOW_S = 5.0


class Meter:
    """The recent rate per second of a counter that only grows."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def rate(self, total: int, now: float) -> float:
        """Add a reading at `now` seconds; return the rate over the window that ends with it."""
        self._readings.append((now, total))
        while now - self._readings[0][0] > _WINDOW_S:
            self._readings.popleft()
        first_at, first = self._readings[0]
        return (total - first) / (now - first_at) if now > first_at else 0.0


async def watch(options: DemoOptions, console: Console) -> None:
    """Run until cancelled (Ctrl-C).

    Raises:
        XdsShadowError: a part did not start, or ended.
    """
    console.print("Starting a Kubernetes API, a control plane, two Envoys, a stable and a canary backend …")
    async with running(options) as demo, asyncio.TaskGroup() as group:
        spawn(group, "demo-clients", _send_steadily(demo))
        meters = {name: Meter() for name in ("answers", "mirrored")}
        if not console.is_terminal:
            console.print(_help(demo), soft_wrap=True)  # there the table is only shown in the end
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while True:
                live.update(await _picture(demo, meters), refresh=True)
                await asyncio.sleep(_REDRAW_S)


async def _send_steadily(demo: Demo) -> None:
    for envoy in itertools.cycle(demo.envoys):
        await demo.clients.send(envoy)
        await asyncio.sleep(1 / _REQUESTS_PER_S)


async def _picture(demo: Demo, meters: dict[str, Meter]) -> RenderableType:
    now = time.monotonic()
    clients, canary = demo.clients, demo.canary
    rates = Table.grid(padding=(0, 3))
    answers, mirrored = clients.answers.total(), canary.seen.total()
    rates.add_row(
        "responses to clients", f"{meters['answers'].rate(answers, now):.0f}/s", f"{answers} in total"
    )
    rates.add_row("  from the canary", str(clients.answers["canary"]), "must stay 0")
    rates.add_row("  failed", str(clients.failures.total()), "")
    rates.add_row(
        "mirrored requests at the canary",
        f"{meters['mirrored'].rate(mirrored, now):.0f}/s",
        f"{mirrored} in total",
    )
    return Group(_help(demo), Text(), rates, Text(), await _status(demo))


async def _status(demo: Demo) -> RenderableType:
    try:
        return status_view(await asyncio.to_thread(get_status, demo.control_plane.admin_address))
    except XdsShadowError as error:
        return Text(str(error), style="red")


def _help(demo: Demo) -> RenderableType:
    kubectl = f"kubectl -n {NAMESPACE}"
    lines = [
        "In another terminal; Ctrl-C here stops the demo:",
        f"export KUBECONFIG={demo.cluster.kubeconfig}",
        f"{kubectl} label deployment {CANARY} {SHADOW_OF}={SERVICE}    # start; {SHADOW_OF}- stops",
        f"{kubectl} annotate deployment {CANARY} {PERCENT}=25 --overwrite",
        f"{kubectl} describe deployment {CANARY}    # its Events show the shadow's state",
        *(f"curl -H 'Host: {HOST}' http://127.0.0.1:{e.gateway_port}/    # {e.id}" for e in demo.envoys),
        f"xds-shadow status --server {demo.control_plane.admin_address}",
        f"xds-shadow verdict {NAMESPACE}/{CANARY} --server {demo.control_plane.admin_address}",
        f"the page: http://{demo.control_plane.http_address}/",
    ]
    return Text("\n").join(Text(line, style="" if number else "bold") for number, line in enumerate(lines))
