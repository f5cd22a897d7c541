"""Runs a command line and turns errors into messages and exit codes."""

import sys
from typing import NoReturn

import typer

from xds_server.base.errors import UsageError, XdsShadowError


def run(cli: typer.Typer, program: str) -> None:
    """Run `cli`. An error is one line on standard error that begins with the name of the program."""
    try:
        cli()
    except UsageError as error:
        _fail(program, error, 2)
    except XdsShadowError as error:
        _fail(program, error, 1)


def _fail(program: str, error: XdsShadowError, code: int) -> NoReturn:
    typer.echo(f"{program}: {error}", err=True)
    sys.exit(code)
