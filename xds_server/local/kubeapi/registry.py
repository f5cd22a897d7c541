"""The verbs: the rules of `admission` around each change of the `store`.

Nothing here awaits, so each request sees and makes one consistent change.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from xds_server.local.kubeapi import admission, apply
from xds_server.local.kubeapi.admission import Place
from xds_server.local.kubeapi.doc import Doc, mapping, metadata, with_metadata
from xds_server.local.kubeapi.errors import conflict, forbidden, not_found
from xds_server.local.kubeapi.history import Entry, Key
from xds_server.local.kubeapi.resources import EVENTS, NAMESPACES, RESOURCES, Resource
from xds_server.local.kubeapi.schemas import WARN
from xds_server.local.kubeapi.store import Matches, Store

_LASTING: Final = ("default", "kube-system")
"""Namespaces that exist from the start and cannot be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """Options of a write. `manager` is recorded for the fields; `validation` says how unknown fields are
    treated."""

    manager: str
    dry_run: bool = False
    force: bool = False
    validation: str = WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """Preconditions of a delete; empty means none."""

    uid: str = ""
    version: str = ""
    dry_run: bool = False


def utc_now() -> datetime:
    """The current time; tests replace it."""
    return datetime.now(UTC)


def timestamp(at: datetime) -> str:
    """The time in the format of meta/v1 Time."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Registry:
    """Writes. Methods raise `StatusError`."""

    def __init__(self, store: Store, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now

    def ensure_namespaces(self) -> None:
        """Create the namespaces that exist in every cluster."""
        for name in _LASTING:
            place = Place(resource=NAMESPACES, name=name)
            if self._store.find(NAMESPACES, Key("", name)) is None:
                self.create(place, {}, WriteOptions(manager="xds-shadow"))

    # --- create, update, patch -------------------------------------------------------------------------

    def create(self, place: Place, body: Doc, options: WriteOptions) -> Entry:
        """Raises 400, 404 (no such namespace), 409 and 422."""
        doc = admission.addressed(place, body)
        self._check_namespace(place, str(metadata(doc).get("name", "")))
        made = self._noted(place, None, self._created(place, doc), options)
        return self._store.create(place.resource, made, dry_run=options.dry_run)

    def update(self, place: Place, body: Doc, options: WriteOptions, subresource: str = "") -> Entry:
        """Raises 400, 404, 409 and 422."""
        return self.patch(place, lambda _live: body, options, subresource)

    def patch(
        self, place: Place, change: Callable[[Doc], Doc], options: WriteOptions, subresource: str = ""
    ) -> Entry:
        """Replace an object, or its status, by the result of `change`. Raises like `update`, and what
        `change` raises."""
        live = self._live(place)
        wanted = admission.addressed(place, change(live.doc))
        if "managedFields" not in metadata(wanted):  # from a client that does not know managedFields
            wanted = with_metadata(wanted, managedFields=metadata(live.doc).get("managedFields"))
        return self._change(place, live, wanted, options, subresource, note=True)

    def apply(self, place: Place, body: Doc, options: WriteOptions, subresource: str = "") -> Entry:
        """Server-side apply: create the object, or update and own these fields of it. Raises like
        `update`."""
        applied = admission.addressed(place, body)
        key = Key(place.namespace, place.name)
        live = self._live(place) if subresource else self._store.find(place.resource, key)
        merged = apply.apply(
            live.doc if live else None,
            applied,
            manager=options.manager,
            force=options.force,
            resource=place.resource,
            now=timestamp(self._now()),
            subresource=subresource,
        )
        if live is None:
            self._check_namespace(place, place.name)
            made = self._created(place, merged)
            return self._store.create(place.resource, made, dry_run=options.dry_run)
        return self._change(place, live, merged, options, subresource, note=False)

    def rescale(self, place: Place, change: Callable[[Doc], Doc], options: WriteOptions) -> Entry:
        """Set the replicas by applying `change` to the Scale."""
        live = self._live(place)
        wanted = change(scale_of(live))
        version = metadata(wanted).get("resourceVersion") or str(live.version)
        spec = mapping(live.doc, "spec") | {"replicas": mapping(wanted, "spec").get("replicas", 0)}
        doc = with_metadata(live.doc, resourceVersion=version) | {"spec": spec}
        return self._change(place, live, admission.addressed(place, doc), options, "scale", note=True)

    def _created(self, place: Place, doc: Doc) -> Doc:
        now, uid = timestamp(self._now()), str(uuid.uuid4())
        return admission.created(place.resource, doc, now=now, uid=uid)

    def _change(
        self, place: Place, live: Entry, wanted: Doc, options: WriteOptions, subresource: str, *, note: bool
    ) -> Entry:
        rule = admission.reported if subresource == "status" else admission.replaced
        doc = rule(place.resource, live.doc, wanted)
        if note:
            doc = self._noted(place, live.doc, doc, options, subresource)
        if _same(live.doc, doc):
            return live
        entry = self._store.update(place.resource, doc, dry_run=options.dry_run)
        held = place.resource == NAMESPACES and self._holds(place.name)
        return self._gone(entry) if admission.may_go(doc) and not held and not options.dry_run else entry

    def _noted(
        self, place: Place, before: Doc | None, after: Doc, options: WriteOptions, subresource: str = ""
    ) -> Doc:
        return apply.note(
            before,
            after,
            manager=options.manager,
            operation="Update",
            resource=place.resource,
            now=timestamp(self._now()),
            subresource=subresource,
        )

    def _live(self, place: Place) -> Entry:
        return self._store.get(place.resource, Key(place.namespace, place.name))

    def _check_namespace(self, place: Place, name: str) -> None:
        """Objects can be created only in namespaces that exist and are not being deleted."""
        if not place.namespace:
            return
        found = self._store.find(NAMESPACES, Key("", place.namespace))
        if found is None:
            raise not_found(NAMESPACES, place.namespace)
        if metadata(found.doc).get("deletionTimestamp"):
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {place.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            text = (
                f"unable to create new content in namespace {place.namespace} because it is being terminated"
            )
            raise forbidden(place.resource, name, text, cause=cause)

    # --- delete ----------------------------------------------------------------------------------------

    def delete(self, place: Place, options: DeleteOptions) -> tuple[Entry, bool]:
        """The object before the deletion, and whether it is gone. It stays while it has finalizers; a
        namespace stays while an object in it does. Raises 403, 404 and 409."""
        live = self._live(place)
        _check_preconditions(live, options)
        if place.resource == NAMESPACES and place.name in _LASTING:
            raise forbidden(NAMESPACES, place.name, "this namespace may not be deleted")
        return (live, True) if options.dry_run else self._remove(live)

    def delete_all(
        self, resource: Resource, namespace: str, matches: Matches | None, *, dry_run: bool
    ) -> list[Entry]:
        """Delete a collection. Returns the objects before the deletion."""
        found = self._store.list(resource, namespace=namespace, matches=matches).entries
        deletable = [each for each in found if resource != NAMESPACES or each.key.name not in _LASTING]
        return [each if dry_run else self._remove(each)[0] for each in deletable]

    def expire_events(self, before: datetime) -> int:
        """Delete the Events whose last occurrence is before a time; returns how many there were."""
        limit = timestamp(before)

        def expired(doc: Doc) -> bool:
            times = (metadata(doc).get("creationTimestamp"), doc.get("lastTimestamp"))
            return max(str(each or "") for each in times) < limit

        return len(self.delete_all(EVENTS, "", expired, dry_run=False))

    def _remove(self, live: Entry) -> tuple[Entry, bool]:
        empty = live.resource != NAMESPACES or self._empty(live.key.name)
        if empty and not metadata(live.doc).get("finalizers"):
            return self._gone(live), True
        doc = admission.leaving(live.doc, now=timestamp(self._now()))
        if live.resource == NAMESPACES:
            doc = doc | {"status": mapping(doc, "status") | {"phase": "Terminating"}}
        return (live if _same(live.doc, doc) else self._store.update(live.resource, doc)), False

    def _gone(self, live: Entry) -> Entry:
        """Delete the object from the store, and also its namespace if the namespace waited only for this
        object."""
        gone = self._store.delete(live.resource, live.key)
        around = self._store.find(NAMESPACES, Key("", live.key.namespace))
        if around is not None and admission.may_go(around.doc) and not self._holds(live.key.namespace):
            self._store.delete(NAMESPACES, around.key)
        return gone

    def _empty(self, namespace: str) -> bool:
        """Delete the objects in a namespace; returns whether all of them are gone."""
        for resource in RESOURCES:
            if resource.namespaced:
                self.delete_all(resource, namespace, None, dry_run=False)
        return not self._holds(namespace)

    def _holds(self, namespace: str) -> bool:
        kinds = (each for each in RESOURCES if each.namespaced)
        return any(self._store.list(each, namespace=namespace, limit=1).entries for each in kinds)


def scale_of(entry: Entry) -> Doc:
    """The autoscaling/v1 Scale of an object."""
    found, spec = metadata(entry.doc), mapping(entry.doc, "spec")
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    exact = mapping(spec, "selector", "matchLabels")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: found[name] for name in kept if name in found},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": mapping(entry.doc, "status").get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(exact.items())),
        },
    }


def _check_preconditions(live: Entry, options: DeleteOptions) -> None:
    uid = metadata(live.doc).get("uid", "")
    if options.uid and options.uid != uid:
        text = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {uid}"
        raise conflict(live.resource, live.key.name, text)
    if options.version and options.version != str(live.version):
        text = (
            f"Precondition failed: ResourceVersion in precondition: {options.version}, "
            f"ResourceVersion in object meta: {live.version}"
        )
        raise conflict(live.resource, live.key.name, text)


def _same(before: Doc, after: Doc) -> bool:
    """Whether a write changes nothing but the times in managedFields."""
    return _without_times(before) == _without_times(after)


def _without_times(doc: Doc) -> Doc:
    managers = [
        {name: value for name, value in each.items() if name != "time"}
        for each in metadata(doc).get("managedFields") or ()
    ]
    return with_metadata(doc, managedFields=managers or None)
