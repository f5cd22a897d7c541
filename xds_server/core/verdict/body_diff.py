"""How two bodies differ: the JSON paths at which they do, and the kind of each difference.

No value becomes part of a path. Elements of a list share one path, and so do the keys of an object that look
like identifiers, or that are too many to be names of fields. The work is linear in the size of the bodies,
times the depth to which lists are nested, at most `_MOST_DEPTH`.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xds_server.core.verdict.bodies import Kind
from xds_server.core.verdict.body_text import Content
from xds_server.core.verdict.paths import folded

WHOLE: Final = "$"
MOST_DIFFERENCES: Final = 50
"""Of one pair of bodies. Further ones are not counted."""

_MOST_DEPTH: Final = 16
_LONGEST_PATH: Final = 200
"""What is deeper, or has a longer path, is compared as a whole."""

_MOST_NAMES: Final = 64
"""An object with more keys is a map: its keys are data."""

_IDENTITIES: Final = ("id", "uuid", "key", "name")
"""The fields by which elements of a list are recognized, the first that all of them have."""


class Difference(NamedTuple):
    """A JSON path, and how it differs from the primary's. `WHOLE` is the path of bodies that are not JSON."""

    path: str
    kind: Kind


def differences(primary: Content, other: Content) -> frozenset[Difference]:
    """Where `other` differs from `primary`."""
    if primary.data == other.data:
        return frozenset()
    if not (primary.json and other.json):
        return frozenset((Difference(WHOLE, Kind.VALUE),))
    walk = _Walk()
    try:
        walk.compare(WHOLE, 0, primary.value, other.value)
    except RecursionError:  # nested nearly too deeply to be parsed
        walk.found.add(Difference(WHOLE, Kind.VALUE))
    return frozenset(walk.found)


class _Walk:
    """One comparison."""

    def __init__(self) -> None:
        self.found: set[Difference] = set()
        self._names: dict[str, str] = {}

    def compare(self, path: str, depth: int, primary: Any, other: Any) -> None:
        """Find the differences of two values at `path`."""
        if len(self.found) >= MOST_DIFFERENCES:
            return
        kind = _type(primary)
        entered = depth < _MOST_DEPTH and len(path) < _LONGEST_PATH
        if kind is not _type(other):
            self._add(path, Kind.TYPE)
        elif kind is dict and entered:
            self._objects(path, depth, primary, other)
        elif kind is list and entered:
            self._lists(path, depth, primary, other)
        elif primary != other:
            self._add(path, Kind.VALUE)

    def _objects(self, path: str, depth: int, primary: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        is_map = max(len(primary), len(other)) > _MOST_NAMES
        for key, value in primary.items():
            here = f"{path}.{'{key}' if is_map else self._name(key)}"
            if key in other:
                self.compare(here, depth + 1, value, other[key])
            else:
                self._add(here, Kind.MISSING)
        for key in other:
            if key not in primary:
                self._add(f"{path}.{'{key}' if is_map else self._name(key)}", Kind.EXTRA)

    def _lists(self, path: str, depth: int, primary: Sequence[Any], other: Sequence[Any]) -> None:
        here = f"{path}[]"
        field = _identity(primary, other)
        if field:
            mine, theirs = ({_key(each[field]): each for each in elements} for elements in (primary, other))
            same = [(mine[each], theirs[each]) for each in mine if each in theirs]
            missing, extra = mine.keys() - theirs.keys(), theirs.keys() - mine.keys()
            moved = [each for each in mine if each in theirs] != [each for each in theirs if each in mine]
        else:
            first, second = [*map(_canonical, primary)], [*map(_canonical, other)]
            equal, missing_at = _matched(first, second)
            equal_there, extra_at = _matched(second, first)
            moved = equal != equal_there
            # What has no equal on the other side is taken for the same elements, changed, in the same order.
            same = [(primary[i], other[j]) for i, j in zip(missing_at, extra_at, strict=False)]
            missing, extra = set(missing_at[len(same) :]), set(extra_at[len(same) :])
        if moved:
            self._add(path, Kind.ORDER)
        for a, b in same:
            self.compare(here, depth + 1, a, b)
        if missing:
            self._add(here, Kind.MISSING)
        if extra:
            self._add(here, Kind.EXTRA)

    def _name(self, key: str) -> str:
        if key not in self._names:
            # An e-mail address has the form of a name.
            self._names[key] = "{text}" if "@" in key else folded(key)
        return self._names[key]

    def _add(self, path: str, kind: Kind) -> None:
        if len(self.found) < MOST_DIFFERENCES:
            self.found.add(Difference(path, kind))


def _type(value: Any) -> type:
    """The type of JSON: integers are numbers like others."""
    return float if type(value) is int else type(value)


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _matched(elements: Sequence[bytes], others: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """The elements that have an equal among the others, one for one, and the indices of those that have
    none."""
    left = Counter(others)
    equal: list[bytes] = []
    alone: list[int] = []
    for index, each in enumerate(elements):
        if left[each] > 0:
            left[each] -= 1
            equal.append(each)
        else:
            alone.append(index)
    return equal, alone


def _key(value: str | int) -> Hashable:
    """A text for a value. The hashes of texts are seeded, and those of integers are not: a backend can choose
    integers that all have the same one."""
    return repr(value)


def _identity(primary: Sequence[Any], other: Sequence[Any]) -> str:
    """The field by which the elements of two lists are recognized, or nothing if there is none: all elements
    have it, no two of one list have the same value, and at least one value is in both."""
    if not primary or not other:
        return ""
    elements = [*primary, *other]
    if not all(type(each) is dict for each in elements):
        return ""
    for field in _IDENTITIES:
        values = [each.get(field) for each in elements]
        if all(type(each) in (str, int) for each in values):
            keys = [*map(_key, values)]
            mine, theirs = set(keys[: len(primary)]), set(keys[len(primary) :])
            if len(mine) == len(primary) and len(theirs) == len(other) and mine & theirs:
                return field
    return ""
