"""Builds the other side, where there is Go."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import Final

from xds_server.base.errors import XdsShadowError

_HERE: Final = Path(__file__).parent / "go_control_plane"
_BINARY: Final = _HERE / "bin" / "go-control-plane"
_WANTED: Final = ("github.com/envoyproxy/go-control-plane", "google.golang.org/grpc")


class GoMissingError(XdsShadowError):
    """There is no Go here, or it cannot build; the message says which."""


async def build() -> Path:
    """The program; Go's own cache makes this cheap when nothing changed.

    Raises:
        GoMissingError: it cannot be had.
    """
    compiler = shutil.which("go")
    if compiler is None:
        raise GoMissingError("there is no go on the PATH")
    command = (compiler, "build", "-o", str(_BINARY), ".")
    process = await asyncio.create_subprocess_exec(*command, cwd=_HERE, stderr=asyncio.subprocess.PIPE)
    _, messages = await process.communicate()
    if process.returncode:
        raise GoMissingError(f"go build failed: {messages.decode().strip()}")
    return _BINARY


def versions() -> str:
    """What the other side is made of, for readers."""
    required = (_HERE / "go.mod").read_text()
    found = [re.search(rf"{re.escape(module)} (v\S+)", required) for module in _WANTED]
    return ", ".join(f"{module} {match[1]}" for module, match in zip(_WANTED, found, strict=True) if match)
