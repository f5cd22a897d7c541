"""Writes files that others read at any time."""

import os
from pathlib import Path

_LONGEST = 200
"""Characters of the name of the temporary file. File systems allow 255."""


def replace_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file. A reader finds the old content or the new, never a part of it. If `private`, only the
    owner can read the file."""
    part = path.with_name(f".{path.name[:_LONGEST]}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)
