"""Immutable, shared sets of resource names: in a fleet, a thousand streams subscribe to the same names.

Equal sets are one object, however they were made. What is computed for one stream is reused for the next, and
a thousand streams with the same ten thousand names keep them once.
"""

from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from immutables import Map

_FEW: Final = 16
"""A step between two sets is remembered if it has at most this many names: the streams of a fleet take the
same small steps."""


_ENTRY_BYTES: Final = 150
"""The bytes for each name in a set besides its characters. Measured: 110 to 160."""

_WIDEST: Final = 4
"""The most bytes for each character of a text that is not ASCII."""


def size_of(names: Iterable[str]) -> int:
    """The bytes that it takes to keep the names."""
    return sum(len(name) * (1 if name.isascii() else _WIDEST) + _ENTRY_BYTES for name in names)


class Names:
    """A set of names. Made by `plus` and `minus` from `NO_NAMES`, never by its constructor. `name_bytes` is
    the size of this set alone."""

    __slots__ = ("__weakref__", "_differences", "_digest", "_less", "_more", "members", "name_bytes")

    def __init__(self, members: "Map[str, None]", digest: int, name_bytes: int) -> None:
        self.members = members
        self.name_bytes = name_bytes
        self._digest = digest
        self._more: WeakValueDictionary[tuple[str, ...], Names] = WeakValueDictionary()
        self._less: WeakValueDictionary[tuple[str, ...], Names] = WeakValueDictionary()
        self._differences: WeakKeyDictionary[Names, tuple[tuple[str, ...], tuple[str, ...]]] = (
            WeakKeyDictionary()
        )

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def plus(self, names: tuple[str, ...]) -> "Names":
        """The union of this set and `names`."""
        known = self._more.get(names)
        if known is not None:
            return known
        more = {name for name in names if name not in self.members}
        if not more:
            return self
        found = self._shared(len(self) + len(more), more, has=more, lacks=())
        if found is None:
            with self.members.mutate() as members:
                for name in more:
                    members[name] = None
            found = self._made(members.finish(), more, self.name_bytes + size_of(more))
        if len(names) <= _FEW:
            self._more[names] = found
        return found

    def minus(self, names: tuple[str, ...]) -> "Names":
        """This set without `names`, all of which are in it."""
        known = self._less.get(names)
        if known is not None:
            return known
        less = set(names)
        found = self._shared(len(self) - len(less), less, has=(), lacks=less)
        if found is None:
            with self.members.mutate() as members:
                for name in less:
                    del members[name]
            found = self._made(members.finish(), less, self.name_bytes - size_of(less))
        if len(names) <= _FEW:
            self._less[names] = found
        return found

    def replaced(self, names: tuple[str, ...]) -> "Names":
        """The set of `names`. Derived from this set if the two are similar, which costs only a comparison."""
        listed = set(names)
        more = tuple(name for name in listed if name not in self.members)
        common = len(listed) - len(more)
        if common <= len(self) // 2:
            return NO_NAMES.plus(names)
        less = tuple(name for name in self.members if name not in listed) if common < len(self) else ()
        found = (self.minus(less) if less else self).plus(more)
        if found is not self:
            self._differences[found] = (more, less)
        return found

    def _shared(
        self, size: int, changed: Iterable[str], *, has: Iterable[str], lacks: Iterable[str]
    ) -> "Names | None":
        """The existing set that equals the result, if there is one."""
        known = _KNOWN.get((size, _digest(self._digest, changed)))
        if known is None or len(known) != size:
            return None
        equal = (
            all(name in known.members for name in has)
            and not any(name in known.members for name in lacks)
            and sum(name in known.members for name in self.members) == min(size, len(self))
        )
        return known if equal else None

    def _made(self, members: "Map[str, None]", changed: Iterable[str], name_bytes: int) -> "Names":
        made = Names(members, _digest(self._digest, changed), name_bytes)
        _KNOWN[len(made), made._digest] = made
        return made

    def difference(self, other: "Names") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that only `other` has, and the names that only this set has."""
        known = self._differences.get(other)
        if known is None:
            more = tuple(name for name in other.members if name not in self.members)
            less = tuple(name for name in self.members if name not in other.members)
            known = self._differences[other] = (more, less)
        return known

    def touched_by(self, names: Iterable[str]) -> bool:
        """Whether any of `names` is in this set."""
        members = self.members
        return any(name in members for name in names)


def _digest(digest: int, changed: Iterable[str]) -> int:
    """The digest of a set: its names' hashes combined by XOR, so that the order does not matter and adding
    and removing a name are the same operation."""
    for name in changed:
        digest ^= hash(name)
    return digest


NO_NAMES: Final = Names(Map(), 0, 0)
_KNOWN: Final[WeakValueDictionary[tuple[int, int], Names]] = WeakValueDictionary({(0, 0): NO_NAMES})
