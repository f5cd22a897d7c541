"""What was made lately, so that who asks for the same shares it."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remembered(table: dict[K, V], key: K, make: Callable[[], V], *, most: int) -> V:
    """What `table` has of `key`, or what is made and put there now. It keeps the `most` that were made
    last."""
    known = table.get(key)
    if known is None:
        if len(table) == most:
            del table[next(iter(table))]
        known = table[key] = make()
    return known
