"""``kubectl shadow``: the labels and annotations of a shadow by name, through the user's own kubectl.

It has exactly its user's permissions: every change is a kubectl command, which ``--dry-run`` prints instead.
The state of a shadow is read from the control plane, through a port-forward that is opened for the command,
or at ``--server``.
"""

import sys

import typer

from xds_server.cli.help import Command, application
from xds_server.cli.plugin import explain, set_settings, start, status, stop, top, verdict
from xds_server.cli.plugin.completion import words
from xds_server.cli.run import run

__all__ = ["cli", "complete", "main"]

cli = application(
    "kubectl shadow",
    "Mirror a Service's live requests to a canary, and see the state of the mirroring.",
    completion=False,  # kubectl's own completion runs `complete`
)

# In the order of `--help`.
for _name, _command in (
    ("start", start.start),
    ("stop", stop.stop),
    ("set", set_settings.set_settings),
    ("status", status.status),
    ("top", top.top),
    ("explain", explain.explain),
    ("verdict", verdict.verdict),
):
    cli.command(_name, cls=Command)(_command)


def main() -> None:
    """Entry point of ``kubectl-shadow``, which kubectl finds on the PATH."""
    run(cli, "kubectl shadow")


def complete() -> None:
    """Entry point of ``kubectl_complete-shadow``, which kubectl's completion runs. Prints one line for each
    candidate, and ``:4``, which means that files are none."""
    *before, last = sys.argv[1:] or [""]
    for word in words(before):
        if word.startswith(last):
            typer.echo(word)
    typer.echo(":4")
