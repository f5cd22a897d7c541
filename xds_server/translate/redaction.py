"""The part of a shadow cluster's script that masks values in bodies."""

import re
from collections.abc import Sequence
from typing import Final

from xds_server.core.terms import FormField, JsonPointer
from xds_server.translate.lua import listed, quoted, table
from xds_server.translate.redaction_script import REDACT

MASK: Final = "***"
"""The replacement for a masked value."""

MOST_STEPS: Final = 40_000
"""The most steps that `redact` takes for one body. A JSON value or a form field is one step; a name takes
several."""

_BITS: Final = 32
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")


def redaction(redactions: Sequence[JsonPointer | FormField]) -> str:
    """The Lua function ``redacted(headers, body)``. It raises an error for a body that must not be sent."""
    pointers = [tuple(map(_folded, each.steps)) for each in redactions if isinstance(each, JsonPointer)]
    fields = sorted({_folded(each.name) for each in redactions if isinstance(each, FormField)})
    names = [*fields, *(step for pointer in pointers for step in pointer)]
    return REDACT.format(
        json=listed(_rules(pointers[start : start + _BITS]) for start in range(0, len(pointers), _BITS)),
        form=table({quoted(name): "true" for name in fields}) if fields else "nil",
        mask=quoted(MASK),
        longest=max(len(name.encode()) for name in names),
        steps=MOST_STEPS,
    )


def _rules(pointers: Sequence[Sequence[str]]) -> str:
    """For each depth, the pointers that end there, and those that continue with any name or with a given
    one."""
    ends: dict[str, int] = {}
    anything: dict[str, int] = {}
    names: dict[str, dict[str, int]] = {}
    for number, pointer in enumerate(pointers):
        ends[str(len(pointer))] = ends.get(str(len(pointer)), 0) | 1 << number
        for depth, step in enumerate(pointer):
            if step == "*":
                anything[str(depth)] = anything.get(str(depth), 0) | 1 << number
                continue
            named = names.setdefault(str(depth), {})
            for key in (quoted(step), *([step] if _INDEX.fullmatch(step) else [])):
                named[key] = named.get(key, 0) | 1 << number
    by_depth = {depth: table(named) for depth, named in names.items()}
    return f"{{ends = {table(ends)}, any = {table(anything)}, names = {table(by_depth)}}}"


def _folded(text: str) -> str:
    """Lower case, for ASCII only as in Lua, and for the two letters that are folded in the script."""
    ascii_only = text.replace("\N{LATIN SMALL LETTER LONG S}", "s").replace("\N{KELVIN SIGN}", "k")
    return "".join(char.lower() if char.isascii() else char for char in ascii_only)
