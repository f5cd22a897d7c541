"""The command line as a user calls it."""

import asyncio
import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

from tests.support.waiting import PATIENCE_S
from xds_server.cli import main

KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")
IN_PROCESS = ("bootstrap", "convert", "verdict", "--help")
"""The others configure the logging of their process."""


Ran = subprocess.CompletedProcess[str]


def run(*arguments: str, **environment: str) -> Ran:
    """Run the command with these variables as its environment. `IN_PROCESS` commands run in this one: a
    new process needs a second of processor time to import the messages of a bootstrap."""
    bare = {name: os.environ[name] for name in KEPT if name in os.environ}
    bare |= {"COLUMNS": "200", **environment}
    if arguments[0] in IN_PROCESS:
        return _in_process(arguments, bare)
    command = [sys.executable, "-m", "xds_server.cli", *arguments]
    return subprocess.run(command, env=bare, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def _in_process(arguments: tuple[str, ...], environment: dict[str, str]) -> Ran:
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["xds-shadow", *arguments]),
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


async def xds_shadow(*arguments: str) -> str:
    """What the command prints on either stream, in a process of its own; it must succeed."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xds_server.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()
