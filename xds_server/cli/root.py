"""The command itself, to which the other modules add theirs."""

import importlib.metadata
from typing import Annotated

import typer

cli = typer.Typer(
    name="xds-shadow",
    help="Traffic shadowing for Envoy fleets on Kubernetes, without a mesh.\n\n"
    "Label a canary Deployment with xds-shadow.io/shadow-of=SERVICE, and every connected Envoy copies the"
    " Service's live requests to it; users only ever see the stable version's answers.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"xds-shadow {importlib.metadata.version('xds-shadow')}")
        raise typer.Exit


@cli.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
