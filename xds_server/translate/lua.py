"""Encodes values for Lua. User input reaches a script only as a quoted string."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_PLAIN: Final = re.compile(rb"[A-Za-z0-9 _./:*-]")


def quoted(text: str) -> str:
    """`text` as a Lua string. All characters but known harmless ones are written as numbers."""
    plain = (chr(byte) if _PLAIN.match(bytes([byte])) else f"\\{byte:03d}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def listed(items: Iterable[str]) -> str:
    return f"{{{', '.join(items)}}}"


def table(entries: Mapping[str, object]) -> str:
    """A table whose keys and values are Lua code, sorted by key."""
    return listed(f"[{key}] = {value}" for key, value in sorted(entries.items()))
