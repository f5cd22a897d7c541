"""``xds-shadow demo`` and ``kube``: on this machine, without a cluster."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import MAX_PORT, parse_address
from xds_server.base.errors import UsageError
from xds_server.base.logs import LogFormat, configure_logging
from xds_server.cli.options import LogFormatOption, console
from xds_server.server.config import DEFAULT_KUBE_ADDRESS
from xds_server.xds.stream_events import Variant

_INTERRUPTED = 130  # what shells report of Ctrl-C


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Tell the story once and exit: 0 only if all of it happened.")
    ] = False,
    manifests: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_DEMO_MANIFESTS",
            help="Directory of the example: another version of its four files.",
            show_default="the packaged one",
        ),
    ] = None,
    gateway_port: Annotated[
        list[int] | None,
        typer.Option(
            envvar="XDS_SHADOW_DEMO_GATEWAY_PORT",
            min=1,
            max=MAX_PORT,
            help="Gateway port of the delta Envoy; given again, of the state-of-the-world Envoy.",
            show_default="free ones",
        ),
    ] = None,
    kube_address: Annotated[
        str,
        typer.Option(envvar="XDS_SHADOW_KUBE_ADDRESS", metavar="HOST:PORT", help="Where kubectl connects."),
    ] = "127.0.0.1:0",
    xds_address: Annotated[
        str, typer.Option(envvar="XDS_SHADOW_XDS_ADDRESS", metavar="HOST:PORT", help="Where Envoys connect.")
    ] = "127.0.0.1:0",
    admin_address: Annotated[
        str,
        typer.Option(envvar="XDS_SHADOW_ADMIN_ADDRESS", metavar="HOST:PORT", help="Where `status` connects."),
    ] = "127.0.0.1:0",
) -> None:
    """Show the main job on this machine: two real Envoys, two backends, real requests; no cluster needed."""
    from xds_server.local.demo.fleet import DemoOptions
    from xds_server.local.demo.live import watch
    from xds_server.local.demo.once import tell
    from xds_server.local.demo.stage import example_manifests

    ports = tuple(gateway_port or ())
    if len(set(ports)) not in (0, len(Variant)):
        raise UsageError(f"--gateway-port: give none, or {len(Variant)} different ones, one for each Envoy")
    options = DemoOptions(
        manifests=manifests or example_manifests(),
        gateway_ports=ports,
        kube_address=parse_address(kube_address, option="--kube-address"),
        xds_address=parse_address(xds_address, option="--xds-address"),
        admin_address=parse_address(admin_address, option="--admin-address"),
    )
    try:
        asyncio.run(_ending_on_sigterm((tell if once else watch)(options, console())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how one leaves the live table, and no way to tell the story.
        raise typer.Exit(_INTERRUPTED if once else 0) from None


async def _ending_on_sigterm(work: Coroutine[object, object, None]) -> None:
    """Let SIGTERM cancel `work`, as Ctrl-C does. (A handler that raises might do so anywhere.)"""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await running


def kube(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_DATA",
            help="Directory to keep the objects in, as YAML; made if it is not there.",
            show_default="in memory",
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_ADDRESS",
            metavar="HOST:PORT",
            help="Where kubectl connects; port 0: any free.",
        ),
    ] = DEFAULT_KUBE_ADDRESS,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_KUBECONFIG",
            help="Write a kubeconfig for it here.",
            show_default="kubeconfig in --data",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_READY_FILE",
            help="Write the address here as JSON once the server is ready.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_KUBE_INSECURE",
            help="Listen on more than loopback, although whoever reaches this server may do anything.",
        ),
    ] = False,
    log_format: LogFormatOption = LogFormat.AUTO,
) -> None:
    """Run an embedded Kubernetes API for kubectl: for laptops, demos and tests. Nothing runs Pods here."""
    from xds_server.local.kubeapi.run import run

    configure_logging(log_format)
    work = run(
        data=data,
        listen=parse_address(listen, option="--listen"),
        kubeconfig=kubeconfig or (data / "kubeconfig" if data else None),
        ready_file=ready_file,
        insecure=insecure,
    )
    asyncio.run(work)
