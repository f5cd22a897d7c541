"""The world: every observed object, immutable, with the indices that resolving needs.

`World.apply` returns the next world and what changed. Its cost is proportional to the number of changes, plus
a shallow copy of the views of the changed namespaces. Shadows never cross namespaces, so worlds share the
views of unchanged namespaces.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

import msgspec

from xds_server.core.conditions import Condition
from xds_server.core.keys import SHADOW_OF
from xds_server.core.objects import (
    WORKLOADS,
    EndpointSlice,
    Kind,
    Namespace,
    Object,
    Pod,
    Ref,
    Secret,
    Service,
    Workload,
    ref_of,
    workload_key,
)
from xds_server.core.selectors import as_query

Obj = TypeVar("Obj", bound=Object)


class Upsert(msgspec.Struct, frozen=True):
    """The object was created or changed; `obj` is its current version."""

    obj: Object


class Delete(msgspec.Struct, frozen=True):
    """The object does not exist any more."""

    ref: Ref


class Report(msgspec.Struct, frozen=True):
    """All current problems of one origin, which is a file or a watch. Replaces its earlier report."""

    origin: str
    problems: tuple[Condition, ...]


class Awaiting(msgspec.Struct, frozen=True):
    """Whether objects that decide about live traffic are not known: they were never listed, or have to be
    listed again after their watch failed. They are the Pods of a namespace that `selector` matches (in the
    form of `as_query`), or with an empty `selector` the Namespace itself."""

    namespace: str
    selector: str
    waiting: bool


Change = Upsert | Delete | Report | Awaiting


def key_of(change: Change) -> Ref | str | tuple[str, str]:
    """The key of a change. Of two changes with the same key, only the later counts."""
    match change:
        case Upsert(obj):
            return ref_of(obj)
        case Delete(ref):
            return ref
        case Report(origin):
            return origin
        case Awaiting(namespace, selector):
            return (namespace, selector)


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """The objects of one namespace. `workloads` are by `workload_key`, `slices` by the name of their Service
    and their own. `canaries` are the keys of marked workloads, sorted, by the value of the label. `awaited`
    are the selectors of `Awaiting`."""

    namespace: Namespace | None = None
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    workloads: Mapping[str, Workload] = field(default_factory=lambda: MappingProxyType({}))
    slices: Mapping[str, Mapping[str, EndpointSlice]] = field(default_factory=lambda: MappingProxyType({}))
    pods: Mapping[str, Pod] = field(default_factory=lambda: MappingProxyType({}))
    canaries: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    slice_owner: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    awaited: frozenset[str] = frozenset()

    def get(self, ref: Ref) -> Object | None:
        """The object that `ref` names, if it is here."""
        match ref.kind:
            case Kind.NAMESPACE:
                return self.namespace
            case Kind.SERVICE:
                return self.services.get(ref.name)
            case Kind.POD:
                return self.pods.get(ref.name)
            case Kind.SECRET:
                return self.secrets.get(ref.name)
            case Kind.ENDPOINT_SLICE:
                owner = self.slice_owner.get(ref.name)
                return None if owner is None else self.slices[owner].get(ref.name)
            case kind:
                return self.workloads.get(workload_key(kind, ref.name))

    def refs(self) -> Iterable[Ref]:
        """Every object of the namespace."""
        if self.namespace:
            yield ref_of(self.namespace)
        yield from map(ref_of, self.services.values())
        yield from map(ref_of, self.workloads.values())
        yield from map(ref_of, self.pods.values())
        yield from map(ref_of, self.secrets.values())
        for group in self.slices.values():
            yield from map(ref_of, group.values())

    @property
    def empty(self) -> bool:
        """Whether the view has nothing, so that the world can drop it."""
        objects = (self.services, self.workloads, self.slices, self.pods, self.secrets)
        return not (self.namespace or self.awaited or any(objects))


NOWHERE = NamespaceView()
"""The view of a namespace without objects."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything observed. `reports` are the problems that sources reported, by origin."""

    namespaces: Mapping[str, NamespaceView] = field(default_factory=lambda: MappingProxyType({}))
    reports: Mapping[str, tuple[Condition, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def view(self, namespace: str) -> NamespaceView:
        """The objects of a namespace, which need not exist."""
        return self.namespaces.get(namespace, NOWHERE)

    def get(self, ref: Ref) -> Object | None:
        """The object that `ref` names, if it is here."""
        return self.view(namespace_of(ref)).get(ref)

    def apply(self, changes: Iterable[Change]) -> tuple["World", frozenset[Ref]]:
        """The world after `changes`, in order, and the objects that changed. A workload or a Namespace also
        counts as changed when its `Awaiting` changed."""
        latest: dict[Ref, Object | None] = {}
        awaiting: dict[str, dict[str, bool]] = {}
        reports = dict(self.reports)
        for change in changes:
            match change:
                case Report(origin, problems):
                    reports.pop(origin, None)
                    if problems:
                        reports[origin] = problems
                case Upsert(obj):
                    latest[ref_of(obj)] = obj
                case Delete(ref):
                    latest[ref] = None
                case Awaiting(namespace, selector, waiting):
                    awaiting.setdefault(namespace, {})[selector] = waiting
        by_namespace = self._staged(latest)
        namespaces = dict(self.namespaces)
        changed: set[Ref] = set()
        for name in dict.fromkeys((*by_namespace, *awaiting)):
            staged = by_namespace.get(name, {})
            view = _update(self.view(name), staged)
            view, concerned = _await(view, name, awaiting.get(name, {}))
            changed |= staged.keys() | concerned
            if view.empty:
                namespaces.pop(name, None)
            else:
                namespaces[name] = view
        return World(namespaces, reports), frozenset(changed)

    def _staged(self, latest: Mapping[Ref, Object | None]) -> dict[str, dict[Ref, Object | None]]:
        """By namespace the objects that differ from those here; None for an object that is gone."""
        staged: dict[str, dict[Ref, Object | None]] = {}
        for ref, obj in latest.items():
            namespace = namespace_of(ref)
            if self.view(namespace).get(ref) != obj:
                staged.setdefault(namespace, {})[ref] = obj
        return staged


def namespace_of(ref: Ref) -> str:
    """The namespace whose view holds the object; a Namespace is part of its own view."""
    return ref.name if ref.kind is Kind.NAMESPACE else ref.namespace


def _update(view: NamespaceView, staged: Mapping[Ref, Object | None]) -> NamespaceView:
    kinds = {ref.kind for ref in staged}
    if Kind.NAMESPACE in kinds:
        view = replace(view, namespace=_last(Namespace, staged))
    if Kind.SERVICE in kinds:
        view = replace(view, services=_merge(Kind.SERVICE, Service, view.services, staged))
    if Kind.POD in kinds:
        view = replace(view, pods=_merge(Kind.POD, Pod, view.pods, staged))
    if Kind.SECRET in kinds:
        view = replace(view, secrets=_merge(Kind.SECRET, Secret, view.secrets, staged))
    if not kinds.isdisjoint(WORKLOADS):
        workloads = _merge_workloads(view.workloads, staged)
        view = replace(view, workloads=workloads, canaries=_canaries(workloads))
    if Kind.ENDPOINT_SLICE in kinds:
        view = _update_slices(view, staged)
    return view


def _await(view: NamespaceView, name: str, awaiting: Mapping[str, bool]) -> tuple[NamespaceView, set[Ref]]:
    """The view with `awaiting` applied to `awaited`, and the objects that this concerns."""
    moved = {selector for selector, waiting in awaiting.items() if (selector in view.awaited) is not waiting}
    if not moved:
        return view, set()
    concerned = {Ref(Kind.NAMESPACE, "", name)} if "" in moved else set()
    selectors = moved - {""}
    for workload in view.workloads.values() if selectors else ():
        if as_query(workload.spec.selector) in selectors:
            concerned.add(ref_of(workload))
    return replace(view, awaited=view.awaited ^ moved), concerned


def _last(kind: type[Obj], staged: Mapping[Ref, Object | None]) -> Obj | None:
    return next((obj for obj in staged.values() if isinstance(obj, kind)), None)


def _merge(
    kind: Kind, cls: type[Obj], before: Mapping[str, Obj], staged: Mapping[Ref, Object | None]
) -> dict[str, Obj]:
    merged = dict(before)
    for ref, obj in staged.items():
        if ref.kind is kind:
            merged.pop(ref.name, None)
            if isinstance(obj, cls):
                merged[ref.name] = obj
    return merged


def _merge_workloads(
    before: Mapping[str, Workload], staged: Mapping[Ref, Object | None]
) -> dict[str, Workload]:
    merged = dict(before)
    for ref, obj in staged.items():
        if ref.kind in WORKLOADS:
            merged.pop(workload_key(ref.kind, ref.name), None)
            if isinstance(obj, Workload):
                merged[obj.key] = obj
    return merged


def _canaries(workloads: Mapping[str, Workload]) -> dict[str, tuple[str, ...]]:
    by_target: dict[str, list[str]] = {}
    for key in sorted(workloads):
        target = workloads[key].labels.get(SHADOW_OF)
        if target is not None and not workloads[key].controller:  # else `misplaced_labels` reports it
            by_target.setdefault(target, []).append(key)
    return {target: tuple(keys) for target, keys in by_target.items()}


def _update_slices(view: NamespaceView, staged: Mapping[Ref, Object | None]) -> NamespaceView:
    owners = dict(view.slice_owner)
    slices: dict[str, Mapping[str, EndpointSlice]] = dict(view.slices)
    fresh: dict[str, dict[str, EndpointSlice]] = {}

    def of(service: str) -> dict[str, EndpointSlice]:
        if service not in fresh:
            fresh[service] = dict(slices.get(service, {}))
        return fresh[service]

    for ref, obj in staged.items():
        if ref.kind is not Kind.ENDPOINT_SLICE:
            continue
        owner = owners.pop(ref.name, None)
        if owner is not None:
            of(owner).pop(ref.name)
        if isinstance(obj, EndpointSlice):
            of(obj.service)[ref.name] = obj
            owners[ref.name] = obj.service
    for service, group in fresh.items():
        if group:
            slices[service] = group
        else:
            slices.pop(service, None)
    return replace(view, slices=slices, slice_owner=owners)
