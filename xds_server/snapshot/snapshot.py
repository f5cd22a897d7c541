"""A snapshot: everything served at one moment, immutable; the next one shares what did not change.

Versions depend on content alone, so replicas that see the same world serve the same versions, and so does
a restarted server (XDS.md, line 16).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from xds_server.base.ids import TypeUrl, Version
from xds_server.snapshot.resource import Resource, ResourceKey

_MODULUS = 2**64


@dataclass(frozen=True, slots=True)
class TypeSnapshot:
    """The resources of one type by name. `fingerprint` is the sum of theirs: it does not depend on their
    order, and a change of one resource updates it without a look at the others."""

    resources: Mapping[str, Resource] = field(default_factory=lambda: MappingProxyType({}))
    fingerprint: int = 0

    @property
    def version(self) -> Version:
        """The version of the type as a whole, as SotW needs it."""
        return self.version_with(())

    def updated(self, upserts: Iterable[Resource], removals: Iterable[str] = ()) -> "TypeSnapshot":
        """The same with some resources put in place and others, where they exist, taken out."""
        resources = dict(self.resources)
        fingerprint = self.fingerprint
        for name in removals:
            gone = resources.pop(name, None)
            fingerprint -= gone.fingerprint if gone else 0
        for resource in upserts:
            before = resources.get(resource.name)
            fingerprint += resource.fingerprint - (before.fingerprint if before else 0)
            resources[resource.name] = resource
        return TypeSnapshot(resources, fingerprint % _MODULUS)

    def version_with(self, others: Iterable[Resource]) -> Version:
        """The version that these resources and `others`, of other names, have together."""
        together = self.fingerprint + sum(resource.fingerprint for resource in others)
        return Version(f"{together % _MODULUS:016x}")


EMPTY = TypeSnapshot()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All types together. A type with no resources has no entry."""

    types: Mapping[TypeUrl, TypeSnapshot] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, type_url: TypeUrl) -> TypeSnapshot:
        """The resources of one type."""
        return self.types.get(type_url, EMPTY)

    def get(self, key: ResourceKey) -> Resource | None:
        """One resource, if it is here."""
        return self.of(key.type_url).resources.get(key.name)

    def versions(self) -> dict[TypeUrl, Version]:
        """The version of every type that has resources; equal snapshots have equal ones."""
        return {type_url: of_type.version for type_url, of_type in self.types.items()}

    def updated(self, upserts: Iterable[Resource], removals: Iterable[ResourceKey] = ()) -> "Snapshot":
        """The same with some resources put in place and others taken out."""
        new: dict[TypeUrl, list[Resource]] = {}
        gone: dict[TypeUrl, list[str]] = {}
        for resource in upserts:
            new.setdefault(resource.key.type_url, []).append(resource)
        for key in removals:
            gone.setdefault(key.type_url, []).append(key.name)
        types = dict(self.types)
        for type_url in new.keys() | gone.keys():
            update = self.of(type_url).updated(new.get(type_url, ()), gone.get(type_url, ()))
            if update.resources:
                types[type_url] = update
            else:
                types.pop(type_url, None)
        return Snapshot(types)

    def dangling(self) -> list[tuple[ResourceKey, ResourceKey]]:
        """Pairs of a resource and one that it refers to and that is not here; a good snapshot has none."""
        return sorted(
            (resource.key, ref)
            for of_type in self.types.values()
            for resource in of_type.resources.values()
            for ref in resource.refs
            if self.get(ref) is None
        )
