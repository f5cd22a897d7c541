"""``xds-shadow demo``: the control plane with two real Envoys on this machine."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import MAX_PORT, parse_address
from xds_server.base.errors import UsageError
from xds_server.cli.console import console
from xds_server.cli.options import ADDRESSES, GATEWAY, AdminAddress, XdsAddress
from xds_server.xds.stream_events import Variant

_INTERRUPTED = 130  # what shells report of Ctrl-C
_ANY_PORT = "127.0.0.1:0"


def demo(
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Run every step once and exit: 0 if all of them succeeded.",
            rich_help_panel="Demo",
        ),
    ] = False,
    manifests: Annotated[
        Path | None,
        typer.Option(
            "--manifests",
            envvar="XDS_SHADOW_DEMO_MANIFESTS",
            metavar="DIR",
            help="Directory with another version of the example's four files.",
            show_default="the packaged example",
            rich_help_panel="Demo",
        ),
    ] = None,
    gateway_port: Annotated[
        list[int] | None,
        typer.Option(
            "--gateway-port",
            envvar="XDS_SHADOW_DEMO_GATEWAY_PORT",
            metavar="PORT",
            min=1,
            max=MAX_PORT,
            help="Gateway ports of the delta Envoy and of the state-of-the-world Envoy. Give it twice.",
            show_default="free ports",
            rich_help_panel=GATEWAY,
        ),
    ] = None,
    kube_address: Annotated[
        str,
        typer.Option(
            "--kube-address",
            envvar="XDS_SHADOW_KUBE_ADDRESS",
            metavar="HOST:PORT",
            help="Address of the embedded Kubernetes API, to which kubectl connects.",
            rich_help_panel=ADDRESSES,
        ),
    ] = _ANY_PORT,
    xds_address: XdsAddress = _ANY_PORT,
    admin_address: AdminAddress = _ANY_PORT,
) -> None:
    """Run a demo with two real Envoys, without a cluster."""
    from xds_server.local.demo.fleet import DemoOptions
    from xds_server.local.demo.live import watch
    from xds_server.local.demo.once import run_once
    from xds_server.local.demo.stage import example_manifests

    ports = tuple(gateway_port or ())
    if len(set(ports)) not in (0, len(Variant)):
        raise UsageError(
            f"--gateway-port: give no port or {len(Variant)} different ports, one for each Envoy"
        )
    options = DemoOptions(
        manifests=manifests or example_manifests(),
        gateway_ports=ports,
        kube_address=parse_address(kube_address, option="--kube-address"),
        xds_address=parse_address(xds_address, option="--xds-address"),
        admin_address=parse_address(admin_address, option="--admin-address"),
    )
    try:
        asyncio.run(_cancelled_by_sigterm((run_once if once else watch)(options, console())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is the normal end of the live table. An interrupted --once has not succeeded.
        raise typer.Exit(_INTERRUPTED if once else 0) from None


async def _cancelled_by_sigterm(work: Coroutine[object, object, None]) -> None:
    """Let SIGTERM cancel `work`, as Ctrl-C does. (A handler that raises might do so anywhere.)"""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await running
