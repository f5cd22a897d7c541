"""Values as Lua's. What a user wrote reaches a script only as a quoted string."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_PLAIN: Final = re.compile(rb"[A-Za-z0-9 _./:*-]")


def quoted(text: str) -> str:
    """`text` as a Lua string: what is not plainly harmless is written as a number."""
    plain = (chr(byte) if _PLAIN.match(bytes([byte])) else f"\\{byte:03d}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def listed(items: Iterable[str]) -> str:
    return f"{{{', '.join(items)}}}"


def table(entries: Mapping[str, object]) -> str:
    """Keys and values are Lua already; sorted by key."""
    return listed(f"[{key}] = {value}" for key, value in sorted(entries.items()))
