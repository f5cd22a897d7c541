"""Makes texts from peers safe for terminals, logs and tables."""

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Final

_LONGEST_NAME: Final = 100
_NAMED: Final = 3
_SHOWN: Final = 60
_QUOTED: Final = 500

SOME: Final = 5
"""How many entries of a list a message names, so that the length of the message does not depend on user
input."""


def shown(text: str) -> str:
    """`text` quoted for an error message, truncated if it is long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def quoted(text: str) -> str:
    """User input that a message repeats unquoted, truncated if it is very long."""
    return plain(text, _QUOTED)


def first_of(texts: Sequence[str], show: Callable[[str], str] = str) -> str:
    """The first of `texts`, formatted by `show`: ``a``, ``a, b``, ``a, b, c, d, e and 6 more``."""
    more = f" and {len(texts) - SOME} more" if len(texts) > SOME else ""
    return ", ".join(map(show, texts[:SOME])) + more


def plain(text: str, limit: int) -> str:
    """At most `limit` characters of `text` on one line. Characters that are not printable, such as control
    characters and changes of the writing direction, become spaces, because a peer's text must not control the
    reader's terminal."""
    # Truncate before looking at each character: a peer may send megabytes.
    cut = text[: limit + 1]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else " " for each in cut)
    words = " ".join(cut.split())
    return words if len(text) <= limit else words[: limit - 1].rstrip() + "…"


def suggestion(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the known name that is most similar, or all known names."""
    wanted = name[:_LONGEST_NAME].replace("_", "-").lower()
    close = difflib.get_close_matches(wanted, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def listed(names: Sequence[str], count: int, noun: str) -> str:
    """The first of `count` names: ``Envoy a``, ``2 Envoys (a, b)``, ``9 Envoys (a, b, c and 6 more)``."""
    shown = ", ".join(plain(name, _LONGEST_NAME) for name in names[:_NAMED])
    if count == 1:
        return f"{noun} {shown}"
    more = count - len(names[:_NAMED])
    return f"{count} {noun}s ({shown} and {more} more)" if more else f"{count} {noun}s ({shown})"
