"""``xds-shadow explain``: one shadow, from its label to the Envoys that mirror to it."""

import json
from typing import Annotated

import typer

from xds_server.base.ids import TypeUrl
from xds_server.cli.options import OUTPUT, Output, OutputOption, Server, server_address
from xds_server.cli.status import print_message
from xds_server.cli.verdict import split
from xds_server.server.config import DEFAULT_ADMIN_ADDRESS


def explain(
    shadow: Annotated[
        str,
        typer.Argument(
            metavar="NAMESPACE/[KIND/]NAME", help="A workload with the label xds-shadow.io/shadow-of."
        ),
    ],
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    config: Annotated[
        bool,
        typer.Option(
            "--config",
            help="Print the Envoy resources of the shadow, as YAML or with -o json as JSON.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Explain one shadow, from its label to the Envoys."""
    from xds_server.base.yaml_text import dumped_all
    from xds_server.server.display import explanation_view
    from xds_server.server.status_client import get_explanation

    explanation = get_explanation(server_address(server), *split(shadow))
    if config:
        from xds_server.server.render import typed

        found = typed((TypeUrl(each.type_url), each.body) for each in explanation.resources)
        typer.echo(json.dumps(found, indent=2) if output is Output.JSON else dumped_all(found).rstrip("\n"))
    else:
        print_message(explanation, explanation_view(explanation), output)
