"""The command line. Every option is also an environment variable; an error says what to do about it.

Exit codes: 0 done, 1 the work failed, 2 wrong usage.

Commands import what only they need when they run: `status` does not wait for Kubernetes' client to load.
"""

import sys

import typer

from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.cli import files, local, questions, serve
from xds_server.cli.root import cli

__all__ = ["cli", "main"]

# In the order of `--help`.
for _name, _command in (
    ("serve", serve.serve),
    ("demo", local.demo),
    ("kube", local.kube),
    ("bootstrap", files.bootstrap),
    ("render", files.render_command),
    ("status", questions.status),
    ("explain", questions.explain),
    ("convert", files.convert_command),
):
    cli.command(_name)(_command)


def main() -> None:
    """Entry point of the ``xds-shadow`` script."""
    try:
        cli()
    except UsageError as error:
        typer.echo(f"xds-shadow: {error}", err=True)
        sys.exit(2)
    except XdsShadowError as error:
        typer.echo(f"xds-shadow: {error}", err=True)
        sys.exit(1)
