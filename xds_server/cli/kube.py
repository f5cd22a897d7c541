"""``xds-shadow kube``: the embedded Kubernetes API by itself."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import parse_address
from xds_server.base.logs import LogFormat, LogLevel, configure_logging
from xds_server.cli.options import ADDRESSES, OUTPUT, LogFormatOption, LogLevelOption, ReadyFile
from xds_server.server.config import DEFAULT_KUBE_ADDRESS


def kube(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="XDS_SHADOW_KUBE_DATA",
            metavar="DIR",
            help="Directory in which the objects are stored as YAML. It is created if it does not exist.",
            show_default="in memory",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            envvar="XDS_SHADOW_KUBE_ADDRESS",
            metavar="HOST:PORT",
            help="Address to which kubectl connects. Port 0 selects a free port.",
            rich_help_panel=ADDRESSES,
        ),
    ] = DEFAULT_KUBE_ADDRESS,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_KUBE_INSECURE",
            help="Allow an address that is not loopback. Clients are not authenticated, and may do anything.",
            rich_help_panel=ADDRESSES,
        ),
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig",
            envvar="XDS_SHADOW_KUBE_KUBECONFIG",
            metavar="FILE",
            help="File to which a kubeconfig for this server is written.",
            show_default="kubeconfig in --data",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    ready_file: ReadyFile = None,
    log_format: LogFormatOption = LogFormat.AUTO,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run an embedded Kubernetes API server for kubectl.

    It is meant for laptops, demos and tests. It stores objects; it does not run Pods.
    """
    from xds_server.local.kubeapi.run import run

    configure_logging(log_format, level=log_level)
    work = run(
        data=data,
        listen=parse_address(listen, option="--listen"),
        kubeconfig=kubeconfig or (data / "kubeconfig" if data else None),
        ready_file=ready_file,
        insecure=insecure,
    )
    asyncio.run(work)
