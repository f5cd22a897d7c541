"""A cache of recent values, so that callers that need the same value share it."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remembered(table: dict[K, V], key: K, make: Callable[[], V], *, most: int) -> V:
    """The value of `key` in `table`. If there is none, it is made and added. The table keeps the latest
    `most` values."""
    known = table.get(key)
    if known is None:
        if len(table) == most:
            del table[next(iter(table))]
        known = table[key] = make()
    return known
