"""Sets of resource names, immutable and shared: a fleet subscribes to the same names a thousand times.

Equal sets are one object, whichever way they came about. So what is worked out for one stream is there for
the next, and a thousand streams that watch ten thousand names hold them once.
"""

from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from immutables import Map

_FEW: Final = 16
"""Up to so many names a step from one set to another is remembered; it is what a fleet does in step."""


_ENTRY_BYTES: Final = 150
"""Of a set, for each name, beside its characters: measured, 110 to 160."""

_WIDEST: Final = 4
"""Bytes of a character in a text that has one beyond ASCII, at most."""


def size_of(names: Iterable[str]) -> int:
    """Bytes that it takes to keep these."""
    return sum(len(name) * (1 if name.isascii() else _WIDEST) + _ENTRY_BYTES for name in names)


class Names:
    """A set of names. Made by `plus` and `minus` from `NO_NAMES`, never by itself. `name_bytes` is what it
    takes to keep it alone."""

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
        """This set and `names`."""
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
        """This set without `names`, all of which it has."""
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
        """The set of `names`: from this one for the cost of looking, if it is much like it."""
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
        """The equal set that there is already."""
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
        """What `other` has and this has not, and the reverse."""
        known = self._differences.get(other)
        if known is None:
            more = tuple(name for name in other.members if name not in self.members)
            less = tuple(name for name in self.members if name not in other.members)
            known = self._differences[other] = (more, less)
        return known

    def touched_by(self, names: Iterable[str]) -> bool:
        """Whether any of `names` is here."""
        members = self.members
        return any(name in members for name in names)


def _digest(digest: int, changed: Iterable[str]) -> int:
    """Of a set: what its names' hashes are together, in any order; a name that comes or goes changes it
    alike."""
    for name in changed:
        digest ^= hash(name)
    return digest


NO_NAMES: Final = Names(Map(), 0, 0)
_KNOWN: Final[WeakValueDictionary[tuple[int, int], Names]] = WeakValueDictionary({(0, 0): NO_NAMES})
