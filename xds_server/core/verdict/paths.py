"""Groups of requests: the method and the first segments of the path, with identifiers folded.

A group is what a verdict shows, and it holds nothing of a caller's but the names of the API: an identifier, a
query or a long text never becomes a part of a group.
"""

import re
from collections.abc import Collection
from typing import Final

OTHER: Final = "other"
"""The group of what exceeds `MOST_GROUPS`."""

MOST_GROUPS: Final = 100
"""Groups of one Service."""

_SEGMENTS: Final = 3
_LONGEST_SEGMENT: Final = 32
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

_IDENTIFIER: Final = re.compile(
    r"[0-9]+"  # a number
    r"|[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"  # a UUID
    r"|(?=[a-f]*[0-9])[0-9a-f]{8,}"  # hexadecimal digits, one of them no letter
    r"|(?=(?:[^0-9]*[0-9]){3})[0-9a-z]{6,}",  # letters with three digits or more
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Za-z0-9._~$:@!-]+", re.ASCII)


def group(method: str, path: str) -> str:
    """Such as ``GET /orders/{id}/items``. `path` is as the client sent it, with or without a query."""
    segments = path.partition("?")[0].split("/", _SEGMENTS + 1)[1 : _SEGMENTS + 1]
    verb = method if method in _METHODS else "OTHER"
    return f"{verb} /{'/'.join(map(folded, segments))}"


def admitted(name: str, known: Collection[str]) -> str:
    """The group that a request counts for, beside those that are `known` already."""
    return name if name in known or len(known) < MOST_GROUPS else OTHER


def folded(segment: str) -> str:
    """A name as it is, or what it is instead: ``{id}`` or ``{text}``."""
    if _IDENTIFIER.fullmatch(segment):
        return "{id}"
    if not segment or (len(segment) <= _LONGEST_SEGMENT and _NAME.fullmatch(segment)):
        return segment
    return "{text}"
