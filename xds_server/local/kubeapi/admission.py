"""Admission: turns what a client sends into what is stored. Sets fields, keeps immutable ones, and rejects
invalid objects. Pure.

The clock and the source of identifiers are arguments. `validation` has the rules of each kind, and `defaults`
its default values.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

from xds_server.local.kubeapi import defaults, names, shapes, validation
from xds_server.local.kubeapi.doc import Doc, mapping, metadata, with_metadata
from xds_server.local.kubeapi.errors import bad_request, conflict, invalid
from xds_server.local.kubeapi.resources import Resource

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so that it forms no words
_SUFFIX_LENGTH: Final = 5
_LONGEST_PREFIX: Final = 63 - _SUFFIX_LENGTH

_DEEPEST: Final = 100
_LARGEST: Final = (1 << 63) - 1

_GENERATIONS: Final = (
    "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "PodDisruptionBudget", "EndpointSlice", "Pod",
    "NetworkPolicy",
)  # fmt: skip
"""Kinds whose generation counts the changes of the desired state."""

_NONE_IF_EMPTY: Final = ("labels", "annotations", "finalizers", "ownerReferences")
"""Fields of the metadata that are omitted if they are empty."""

_VERSION_REQUIRED: Final = ("Lease", "PodDisruptionBudget")
"""Kinds whose updates must have a resourceVersion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The object that a URL identifies. The name is empty on create, where the object has it."""

    resource: Resource
    namespace: str = ""
    name: str = ""


def addressed(place: Place, body: Doc) -> Doc:
    """Check that `body` is an object of the place that it was sent to, and remove nulls. Raises 400 if it is
    of another kind, name or namespace."""
    resource = place.resource
    doc = {"apiVersion": resource.api_version, "kind": resource.kind} | _plain(body, 0)
    if doc["kind"] != resource.kind:
        raise bad_request(
            f'{doc["kind"]} in version "{resource.version}" cannot be handled as a {resource.kind}'
        )
    if doc["apiVersion"] != resource.api_version:
        raise bad_request(
            f"the API version in the data ({doc['apiVersion']}) does not match the expected API version "
            f"({resource.api_version})"
        )
    doc.setdefault("metadata", {})
    shapes.check(resource, doc)
    found = doc["metadata"]
    if place.name and found.get("name", place.name) != place.name:
        raise bad_request(
            f"the name of the object ({found['name']}) does not match the name on the URL ({place.name})"
        )
    if place.namespace and found.get("namespace", place.namespace) != place.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    where = {"namespace": place.namespace or None} | ({"name": place.name} if place.name else {})
    empty = {name: None for name in _NONE_IF_EMPTY if not found.get(name)}
    return with_metadata(doc, **where, **empty)


def created(resource: Resource, doc: Doc, *, now: str, uid: str) -> Doc:
    """The object to store on create; `doc` has passed `addressed`. Raises 400 and 422."""
    found = metadata(doc)
    if found.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    name = found.get("name") or _generated(found.get("generateName", ""))
    _check_name(resource, name)
    doc = with_metadata(
        doc,
        name=name,
        uid=uid,
        creationTimestamp=now,
        deletionTimestamp=None,
        generation=1 if resource.kind in _GENERATIONS else None,
    )
    if resource.status and resource.kind != "Pod":  # a Pod's creator may set what a kubelet would report
        doc.pop("status", None)
    doc = defaults.filled(resource, doc)
    _check(resource, doc, validation.problems(resource, doc))
    return doc


def replaced(resource: Resource, live: Doc, doc: Doc) -> Doc:
    """`live` with the changes that a write to the main resource may make. Raises 409 and 422."""
    _check_preconditions(resource, live, doc)
    kept = {part: live[part] for part in ("status",) if resource.status and part in live}
    if resource.status:
        doc = {part: value for part, value in doc.items() if part != "status"} | kept
    doc = defaults.filled(resource, _with_system_fields(live, doc))
    problems = validation.problems(resource, doc) + validation.changes(resource, live, doc)
    _check(resource, doc, problems)
    if resource.kind in _GENERATIONS and _wanted(live) != _wanted(doc):
        doc = with_metadata(doc, generation=metadata(live).get("generation", 0) + 1)
    return doc


def reported(resource: Resource, live: Doc, doc: Doc) -> Doc:
    """`live` with the status of `doc`, for a write to the status subresource."""
    _check_preconditions(resource, live, doc)
    merged = {part: value for part, value in live.items() if part != "status"}
    if "status" in doc:
        merged["status"] = doc["status"]
    given = {name: metadata(doc)[name] for name in ("managedFields",) if name in metadata(doc)}
    version = metadata(doc).get("resourceVersion") or metadata(live)["resourceVersion"]
    return with_metadata(merged, resourceVersion=version, **given)


def leaving(live: Doc, *, now: str) -> Doc:
    """`live` with a deletionTimestamp, waiting for its finalizers."""
    if metadata(live).get("deletionTimestamp"):
        return live
    return with_metadata(live, deletionTimestamp=now, deletionGracePeriodSeconds=0)


def may_go(doc: Doc) -> bool:
    """Whether an object with a deletionTimestamp has no finalizers left."""
    found = metadata(doc)
    return bool(found.get("deletionTimestamp")) and not found.get("finalizers")


def _check_name(resource: Resource, name: str) -> None:
    if not name:
        causes = [("metadata.name", "Required value: name or generateName is required")]
        raise invalid(resource, "", causes)
    if problem := names.name(resource, name):
        raise invalid(resource, name, [("metadata.name", f'Invalid value: "{name}": {problem}')])


def _check_preconditions(resource: Resource, live: Doc, doc: Doc) -> None:
    name, given = metadata(live)["name"], metadata(doc)
    uid = metadata(live).get("uid")
    if given.get("uid", uid) != uid:
        text = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {uid}"
        raise conflict(resource, name, text)
    version = given.get("resourceVersion")
    if not version and resource.kind in _VERSION_REQUIRED:
        causes = [("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")]
        raise invalid(resource, name, causes)
    if version and version != metadata(live)["resourceVersion"]:
        raise conflict(resource, name)


def _with_system_fields(live: Doc, doc: Doc) -> Doc:
    """Restore the fields that no client may change."""
    held = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
    kept = {field: metadata(live).get(field) for field in held}
    return with_metadata(doc, **kept, resourceVersion=metadata(live)["resourceVersion"])


def _wanted(doc: Doc) -> object:
    """The desired state, whose changes the generation counts: everything but metadata and status, and for
    Deployments also the annotations, which are copied to their ReplicaSets."""
    rest = {part: value for part, value in doc.items() if part not in ("metadata", "status")}
    return rest, mapping(doc, "metadata", "annotations") if doc["kind"] == "Deployment" else None


def _check(resource: Resource, doc: Doc, problems: list[names.Cause]) -> None:
    if problems:
        raise invalid(resource, metadata(doc)["name"], problems)


def _generated(prefix: str) -> str:
    if not prefix:
        return ""
    suffix = "".join(random.choices(_SUFFIX, k=_SUFFIX_LENGTH))  # noqa: S311  tells apart, guards nothing
    return prefix[:_LONGEST_PREFIX] + suffix


def _plain(value: Any, depth: int) -> Any:
    """Remove nulls, which mean that a field is not set. Raises 400 for values that the files cannot hold."""
    if depth > _DEEPEST:
        raise bad_request(f"the object is nested more than {_DEEPEST} levels deep")
    match value:
        case dict():
            return {key: _plain(each, depth + 1) for key, each in value.items() if each is not None}
        case list():
            return [_plain(each, depth + 1) for each in value]
        case int() if abs(value) > _LARGEST:
            raise bad_request(f"the number {value} does not fit into 64 bits")
        case _:
            return value
