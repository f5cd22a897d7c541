"""Immutable snapshots of everything that is served at one moment. Each shares with its predecessor what did
not change.

Versions depend only on content, so replicas with the same world serve the same versions, and so does a
restarted server (rule 16). A type remembers the names that changed in its latest steps, so the difference
from an earlier snapshot is found without comparing all resources.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from immutables import Map

from xds_server.base.ids import TypeUrl, Version
from xds_server.base.recent import remembered
from xds_server.xds.batch import Batch
from xds_server.xds.name_sets import Names
from xds_server.xds.resource import Resource, ResourceKey

_MODULUS = 2**64
_MOST_STEPS: Final = 256
_MOST_NAMES: Final = 8192
"""How far back a type remembers changes: in steps, and in the names of all steps together. An older snapshot
is compared as a whole."""

_MOST_REMEMBERED: Final = 16
_MANY: Final = 64


_NONE_TOO_LARGE: Final[Mapping[str, int]] = MappingProxyType({})


class _Moment:
    """Identifies a type at one moment without keeping the snapshot alive."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """The names that changed from the moment `before` to the next."""

    before: _Moment
    names: frozenset[str]


class Changes:
    """The difference from an earlier moment: `upserts` are new or changed; `gone` are the deleted resources
    as they were."""

    def __init__(self, upserts: Batch, gone: tuple[Resource, ...]) -> None:
        self.upserts = upserts
        self.gone = gone

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all changes."""
        return self.upserts.names.union(resource.name for resource in self.gone)

    @cached_property
    def together(self) -> Batch:
        """All changes as one response."""
        if not self.gone:
            return self.upserts
        return Batch(self.upserts.resources, tuple(resource.name for resource in self.gone))


class Selection:
    """Some names of a type: `found` exist, `absent` do not."""

    def __init__(self, found: Batch, absent: tuple[str, ...]) -> None:
        self.found = found
        self.absent = absent

    @cached_property
    def answer(self) -> Batch:
        """A response with what exists, and with the others as removed."""
        return Batch(self.found.resources, self.absent) if self.absent else self.found


class TypeSnapshot:
    """The resources of one type by name.

    `fingerprint` is the sum of the resources' fingerprints, so it does not depend on their order, and one
    changed resource updates it without a look at the others. Results that are derived from a snapshot are
    cached in it, because every stream needs the same. `too_large` has the sizes in bytes of resources that
    are left out because no response can carry them.
    """

    def __init__(
        self,
        resources: "Map[str, Resource] | None" = None,
        fingerprint: int = 0,
        too_large: Mapping[str, int] = _NONE_TOO_LARGE,
    ) -> None:
        self.resources: Map[str, Resource] = Map() if resources is None else resources
        self.fingerprint = fingerprint
        self.too_large = too_large
        self.moment = _Moment()
        self._steps: tuple[_Step, ...] = ()
        self._sorted: list[str] | None = None
        self._since: dict[_Moment, Changes] = {}
        self._selected: WeakKeyDictionary[Names, Selection] = WeakKeyDictionary()
        self._batches: dict[tuple[object, ...], Batch] = {}
        self._without: WeakValueDictionary[tuple[str, ...], Batch] = WeakValueDictionary()
        self._derived: dict[tuple[object, ...], TypeSnapshot] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeSnapshot) and self.resources == other.resources

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def version(self) -> Version:
        """The version of the type as a whole, for state of the world."""
        return self.version_with(())

    def updated(self, upserts: Iterable[Resource], removals: Iterable[str] = ()) -> "TypeSnapshot":
        """A snapshot with some resources put in place and others, if they exist, removed; this object if
        nothing changes. Resources that are too large are removed."""
        fingerprint = self.fingerprint
        changed: set[str] = set()
        ordered = self._sorted
        too_large = dict(self.too_large)
        with self.resources.mutate() as resources:
            for name in removals:
                too_large.pop(name, None)
                gone = resources.pop(name, None)
                if gone is not None:
                    fingerprint -= gone.fingerprint
                    changed.add(name)
            for resource in upserts:
                before = resources.get(resource.name)
                if resource.too_large:
                    too_large[resource.name] = resource.size
                    if before is not None:
                        del resources[resource.name]
                        fingerprint -= before.fingerprint
                        changed.add(resource.name)
                    continue
                too_large.pop(resource.name, None)
                if before is not None and before.version == resource.version:
                    continue
                fingerprint += resource.fingerprint - (before.fingerprint if before else 0)
                resources[resource.name] = resource
                changed.add(resource.name)
            after = resources.finish()
        if not changed and too_large == self.too_large:
            return self
        found = TypeSnapshot(after, fingerprint % _MODULUS, too_large or _NONE_TOO_LARGE)
        found._steps = _recent((*self._steps, _Step(self.moment, frozenset(changed))))
        if ordered is not None and len(changed) <= _MANY:
            found._sorted = _resorted(ordered, changed, after)
        return found

    def version_with(self, others: Iterable[Resource]) -> Version:
        """The version of these resources together with `others`, which have other names."""
        together = self.fingerprint + sum(resource.fingerprint for resource in others)
        return Version(f"{together % _MODULUS:016x}")

    def changes_since(self, old: "TypeSnapshot") -> Changes:
        """What a client that holds all of `old` lacks."""
        return remembered(self._since, old.moment, lambda: self._compared(old), most=_MOST_REMEMBERED)

    def _compared(self, old: "TypeSnapshot") -> Changes:
        if not old.resources:
            return Changes(self.everything, ())
        names: Iterable[str] | None = self._names_since(old)
        if names is None:
            names = {*self.resources, *old.resources}
        upserts, gone = [], []
        for name in sorted(names):
            before, after = old.resources.get(name), self.resources.get(name)
            if after is None:
                if before is not None:
                    gone.append(before)
            elif before is None or before.version != after.version:
                upserts.append(after)
        return Changes(Batch(tuple(upserts)), tuple(gone))

    def _names_since(self, old: "TypeSnapshot") -> set[str] | None:
        names: set[str] = set()
        if old is self:
            return names
        for step in reversed(self._steps):
            names |= step.names
            if step.before is old.moment:
                return names
        return None

    @cached_property
    def everything(self) -> Batch:
        """All resources, sorted by name."""
        if self._sorted is None:
            self._sorted = sorted(self.resources)
        return Batch(tuple([self.resources[name] for name in self._sorted]))

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of each resource."""
        return {name: resource.version for name, resource in self.resources.items()}

    def select(self, names: Names) -> Selection:
        """The resources with these names, sorted by name."""
        known = self._selected.get(names)
        if known is None:
            wanted = sorted(names.members)
            found = tuple([r for name in wanted if (r := self.resources.get(name)) is not None])
            absent = tuple([name for name in wanted if name not in self.resources])
            known = self._selected[names] = Selection(Batch(found), absent)
        return known

    def batch(self, key: tuple[object, ...], make: Callable[[], Batch]) -> Batch:
        """The batch for `key`, made at first use. Only the latest few are kept."""
        return remembered(self._batches, key, make, most=_MOST_REMEMBERED)

    def without(self, names: tuple[str, ...]) -> Batch:
        """The batch that removes these names. Kept only as long as it is in use, because clients can invent
        names."""
        known = self._without.get(names)
        if known is None:
            known = self._without[names] = Batch(removed=names)
        return known

    def derived(self, key: tuple[object, ...], make: "Callable[[], TypeSnapshot]") -> "TypeSnapshot":
        """The snapshot that was derived from this one for `key`, made at first use. Only the latest few are
        kept."""
        return remembered(self._derived, key, make, most=_MOST_REMEMBERED)

    def drop_caches(self) -> None:
        """Clear the caches: a newer snapshot is served, and few streams will need this one again."""
        self._derived.clear()
        self._since.clear()
        self._selected.clear()
        self._batches.clear()
        self.__dict__.pop("everything", None)
        self.__dict__.pop("versions", None)


def _recent(steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
    """The latest steps within the limits; the last one always."""
    steps = steps[-_MOST_STEPS:]
    if sum(len(step.names) for step in steps) <= _MOST_NAMES:
        return steps
    return steps[-(len(steps) // 2) :] if len(steps) > 1 else steps


def _resorted(names: list[str], changed: Iterable[str], after: "Map[str, Resource]") -> list[str]:
    """The sorted names, updated with those that changed."""
    names = names.copy()
    for name in changed:
        at = bisect_left(names, name)
        there = at < len(names) and names[at] == name
        if name not in after:
            del names[at]
        elif not there:
            insort(names, name)
    return names


EMPTY: Final = TypeSnapshot()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources of all types. A type without resources has no entry."""

    types: Mapping[TypeUrl, TypeSnapshot] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, type_url: TypeUrl) -> TypeSnapshot:
        """The resources of one type."""
        return self.types.get(type_url, EMPTY)

    def get(self, key: ResourceKey) -> Resource | None:
        """One resource, or None."""
        return self.of(key.type_url).resources.get(key.name)

    def versions(self) -> dict[TypeUrl, Version]:
        """The version of every type that has resources. Equal snapshots have equal versions."""
        return {type_url: of_type.version for type_url, of_type in self.types.items()}

    def updated(self, upserts: Iterable[Resource], removals: Iterable[ResourceKey] = ()) -> "Snapshot":
        """A snapshot with some resources put in place and others removed."""
        new: dict[TypeUrl, list[Resource]] = {}
        gone: dict[TypeUrl, list[str]] = {}
        for resource in upserts:
            new.setdefault(resource.key.type_url, []).append(resource)
        for key in removals:
            gone.setdefault(key.type_url, []).append(key.name)
        types = {
            type_url: self.of(type_url).updated(new.get(type_url, ()), gone.get(type_url, ()))
            for type_url in new.keys() | gone.keys()
        }
        return self.with_types(types)

    def with_types(self, types: Mapping[TypeUrl, TypeSnapshot]) -> "Snapshot":
        """A snapshot with some types replaced."""
        together = {**self.types, **types}
        return Snapshot(
            {
                type_url: of_type
                for type_url, of_type in together.items()
                if of_type.resources or of_type.too_large
            }
        )

    def too_large(self) -> dict[ResourceKey, int]:
        """The resources that are left out because no response can carry them, with their sizes in bytes (rule
        42)."""
        return {
            ResourceKey(type_url, name): size
            for type_url, of_type in self.types.items()
            for name, size in of_type.too_large.items()
        }
