"""The command line: ``xds-shadow`` with a module for each command, and ``kubectl shadow`` (`plugin`).

Options that several commands have are defined once, in `options`. Nearly every option is also an environment
variable. Exit codes: 0 success, 1 failure, 2 wrong usage; `convert` adds 3. Those of `verdict` are its
own.

Commands import what only they need when they run: `--help` and `status` do not load the Kubernetes client.
"""

import importlib.metadata
from typing import Annotated

import typer

from xds_server.cli import bootstrap, convert_command, demo, explain, kube, render, serve, status, verdict
from xds_server.cli.help import Command, application
from xds_server.cli.run import run

__all__ = ["cli", "main"]

cli = application(
    "xds-shadow",
    "Traffic shadowing for Envoy fleets on Kubernetes, without a service mesh.\n\n"
    "Label a canary Deployment with xds-shadow.io/shadow-of=SERVICE. Every connected Envoy then mirrors the"
    " Service's live requests to the canary. Clients only receive responses of the stable version.",
    completion=True,
)

# In the order of `--help`.
for _name, _command in (
    ("serve", serve.serve),
    ("demo", demo.demo),
    ("kube", kube.kube),
    ("bootstrap", bootstrap.bootstrap),
    ("render", render.render),
    ("status", status.status),
    ("explain", explain.explain),
    ("verdict", verdict.verdict),
    ("convert", convert_command.convert),
):
    cli.command(_name, cls=Command)(_command)


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


def main() -> None:
    """Entry point of the ``xds-shadow`` script."""
    run(cli, "xds-shadow")
