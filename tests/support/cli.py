"""The command line as a user calls it."""

import asyncio
import sys


async def xds_shadow(*arguments: str) -> str:
    """What the command prints on either stream; it must succeed."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xds_server.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()
