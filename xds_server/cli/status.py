"""``xds-shadow status``: the state of shadows and Envoys that a control plane reports."""

import contextlib
import json
import time
from typing import Annotated

import typer
from google.protobuf.message import Message
from rich.console import RenderableType

from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.cli.console import console
from xds_server.cli.options import OUTPUT, Output, OutputOption, Server, server_address
from xds_server.server.config import DEFAULT_ADMIN_ADDRESS

_REFRESH_S = 1.0


def status(
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    follow: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Show shadows, Envoys and problems.

    Lists every shadow with its state and reason, every connected Envoy with its versions, and every problem.
    """
    from xds_server.server.display import status_view
    from xds_server.server.status_client import get_status

    address = server_address(server)
    if follow:
        if output is not Output.TABLE:
            raise UsageError("--watch prints a table; leave out --output, or run `status -o json` repeatedly")
        follow_status(address)
    else:
        found = get_status(address)
        print_message(found, status_view(found), output)


def follow_status(address: Address, namespace: str | None = None) -> None:
    """Show the status of the control plane at `address`, refreshed until Ctrl-C. With `namespace` it has the
    shadows of this namespace only."""
    from rich.live import Live

    from xds_server.server.display import status_view
    from xds_server.server.status_client import get_status

    with contextlib.suppress(KeyboardInterrupt), Live(status_view(get_status(address), namespace)) as live:
        while True:
            time.sleep(_REFRESH_S)
            live.update(status_view(get_status(address), namespace))


def print_message(message: Message, view: RenderableType, output: Output) -> None:
    """Print `message` of the status API in the format `output`; `view` is its table."""
    import yaml

    from xds_server.server.plain import as_data

    if output is Output.TABLE:
        console().print(view)
        return
    data = as_data(message)
    typer.echo(json.dumps(data, indent=2) if output is Output.JSON else yaml.safe_dump(data, sort_keys=False))
