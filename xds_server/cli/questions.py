"""``xds-shadow status`` and ``explain``: what a running server knows."""

import contextlib
import json
import time
from typing import Annotated

import typer
import yaml
from google.protobuf.message import Message
from rich.console import RenderableType
from rich.live import Live

from xds_server.base.address import parse_address
from xds_server.base.errors import UsageError
from xds_server.base.ids import TypeUrl
from xds_server.base.yaml_text import dumped_all
from xds_server.cli.options import Output, OutputOption, Server, console
from xds_server.core.objects import kind_called
from xds_server.server.config import DEFAULT_ADMIN_ADDRESS
from xds_server.server.display import explanation_view, status_view
from xds_server.server.plain import as_data
from xds_server.server.status_client import get_explanation, get_status

_WATCH_EVERY_S = 1.0


def status(
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show every shadow with its state and reason, every Envoy with its versions, every problem."""
    address = parse_address(server, option="--server")
    if not follow:
        found = get_status(address)
        _print(found, status_view(found), output)
        return
    if output is not Output.TABLE:
        raise UsageError("--watch redraws a table; leave out --output, or run `status -o json` repeatedly")
    with contextlib.suppress(KeyboardInterrupt), Live(status_view(get_status(address))) as live:
        while True:
            time.sleep(_WATCH_EVERY_S)
            live.update(status_view(get_status(address)))


def explain(
    shadow: Annotated[str, typer.Argument(metavar="NAMESPACE/[KIND/]NAME", help="A marked workload.")],
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    config: Annotated[
        bool,
        typer.Option("--config", help="Print the Envoy resources behind the shadow: YAML, or -o json."),
    ] = False,
) -> None:
    """Show one shadow from its label to the Envoys that carry it out."""
    namespace, _, rest = shadow.partition("/")
    word, _, name = rest.rpartition("/")
    kind = kind_called(word)
    if not (namespace and name) or (word and not kind):
        raise UsageError(
            f"{shadow!r} is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME, such as staging/myapp-canary and"
            " staging/statefulset/db-canary"
        )
    explanation = get_explanation(parse_address(server, option="--server"), namespace, name, kind or "")
    if config:
        from xds_server.server.render import typed

        found = typed((TypeUrl(each.type_url), each.body) for each in explanation.resources)
        typer.echo(json.dumps(found, indent=2) if output is Output.JSON else dumped_all(found).rstrip("\n"))
    else:
        _print(explanation, explanation_view(explanation), output)


def _print(message: Message, view: RenderableType, output: Output) -> None:
    if output is Output.TABLE:
        console().print(view)
        return
    data = as_data(message)
    typer.echo(json.dumps(data, indent=2) if output is Output.JSON else yaml.safe_dump(data, sort_keys=False))
