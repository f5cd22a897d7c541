"""Server-side apply, and which manager set which field (`metadata.managedFields`).

A manager that applies a document owns its fields. A field that another manager owns with another value is a
conflict. A field that the manager applied before and no longer does is removed, unless another manager owns
it too. Pure; times are arguments.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from xds_server.local.kubeapi.doc import Doc, metadata, with_metadata
from xds_server.local.kubeapi.errors import StatusError, bad_request
from xds_server.local.kubeapi.fields import (
    ITSELF,
    Field,
    Fields,
    decode,
    encode,
    item_part,
    leaves,
    repeated,
    without,
    written,
)
from xds_server.local.kubeapi.resources import Resource
from xds_server.local.kubeapi.structure import Path, is_one_value, is_set, list_keys

APPLY: Final = "Apply"
UPDATE: Final = "Update"

_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class _Owner:
    """One entry of `managedFields`."""

    manager: str
    operation: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.manager, self.operation, self.subresource


def apply(
    live: Doc | None,
    applied: Doc,
    *,
    manager: str,
    force: bool,
    resource: Resource,
    now: str,
    subresource: str = "",
) -> Doc:
    """The object after `manager` applied a document. `now` is in RFC 3339.

    Raises:
        StatusError: 409 if another manager owns a field with another value and `force` is not set; 400 if
            items of a list in the document have the same key.
    """
    applied = _of_subresource(applied, subresource, resource)
    if problem := repeated(applied, resource):
        raise bad_request(f"the applied {resource.kind} says {problem} more than once")
    base, owners = live or {}, _owners(live)
    me = (manager, APPLY, subresource)
    mine = next((owner for owner in owners if owner.identity == me), _Owner(*me, now, frozenset()))
    others = [owner for owner in owners if owner.identity != me]
    given, there = leaves(applied, resource), leaves(base, resource)
    differing = frozenset(field for field, value in given.items() if field in there and there[field] != value)
    if not force and any(owner.fields & differing for owner in others):
        raise _conflict(others, differing, resource)
    others = [replace(owner, fields=owner.fields - differing) for owner in others]
    kept = frozenset(given).union(*(owner.fields for owner in others))
    dropped = _removable(mine.fields - kept, kept)
    merged = without(_merge(base, applied, resource, ()), dropped, resource)
    unchanged = leaves(merged, resource) == there and mine.fields == frozenset(given)
    mine = replace(mine, fields=frozenset(given), time=mine.time if unchanged else now)
    return _with_owners(merged, [*others, mine], resource)


def _of_subresource(applied: Doc, subresource: str, resource: Resource) -> Doc:
    """The part of a document that this request may apply. A manager does not become the owner of fields that
    the write does not change."""
    meta = {name: value for name, value in metadata(applied).items() if name != "managedFields"}
    kept = applied
    if subresource == "status":
        kept = {name: value for name, value in applied.items() if name in ("apiVersion", "kind", "status")}
        meta = {name: value for name, value in meta.items() if name not in ("labels", "annotations")}
    elif resource.status:
        kept = {name: value for name, value in applied.items() if name != "status"}
    return kept | {"metadata": meta}


def _removable(dropped: Fields, kept: Fields) -> Fields:
    """The `dropped` fields that can be removed: no ancestors of `kept` fields, and no keys of list items,
    which are removed with their item."""
    around = {field[:end] for field in kept for end in range(1, len(field))}
    return frozenset(
        field
        for field in dropped
        if field not in around and not _is_key(field) and not (field[-1] == ITSELF and field[:-1] in around)
    )


def _is_key(field: Field) -> bool:
    """Whether the field is a key of its list item."""
    item = field[-2] if len(field) > 1 else ""
    return item.startswith("k:") and field[-1].removeprefix("f:") in json.loads(item[2:])


def note(
    before: Doc | None,
    after: Doc,
    *,
    manager: str,
    operation: str = UPDATE,
    resource: Resource,
    now: str,
    subresource: str = "",
) -> Doc:
    """`after` with `manager` recorded as the owner of what it changed by a write other than apply. If a
    client changes managedFields itself, as kubectl does to migrate to server-side apply, its value is
    kept."""
    owners = _owners(before)
    if before is not None and metadata(after).get("managedFields") != metadata(before).get("managedFields"):
        return _with_owners(after, _owners(after), resource)
    was, now_there = leaves(before or {}, resource), leaves(after, resource)
    nothing = object()
    changed = frozenset(field for field, value in now_there.items() if was.get(field, nothing) != value)
    me = (manager, operation, subresource)
    kept = [
        owner if owner.identity == me else replace(owner, fields=owner.fields - changed) for owner in owners
    ]
    mine = next((owner for owner in kept if owner.identity == me), None)
    if changed:
        kept = [owner for owner in kept if owner.identity != me]
        kept.append(_Owner(*me, now, (mine.fields if mine else frozenset()) | changed))
    return _with_owners(after, kept, resource)


def _owners(doc: Doc | None) -> list[_Owner]:
    found = metadata(doc or {}).get("managedFields")
    return [
        _Owner(
            str(entry.get("manager", "")),
            str(entry.get("operation", UPDATE)),
            str(entry.get("subresource", "")),
            str(entry.get("time", "")),
            decode(entry.get("fieldsV1")),
        )
        for entry in (found if isinstance(found, list) else ())
        if isinstance(entry, dict) and entry.get("manager")
    ]


def _with_owners(doc: Doc, owners: list[_Owner], resource: Resource) -> Doc:
    """Drop entries for fields that no longer exist."""
    there = leaves(doc, resource).keys()
    present = there | {field[:-1] for field in there if field[-1] == ITSELF}
    entries = []
    for owner in owners:
        fields = owner.fields & present
        if fields:
            entry = {
                "manager": owner.manager,
                "operation": owner.operation,
                "apiVersion": resource.api_version,
                "time": owner.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": encode(fields),
            }
            entries.append(entry | {"subresource": owner.subresource} if owner.subresource else entry)
    return with_metadata(doc, managedFields=entries or None)


def _merge(live: Doc, applied: Doc, resource: Resource, path: Path) -> Doc:
    return live | {
        name: _merge_value(live.get(name), value, resource, (*path, name)) for name, value in applied.items()
    }


def _merge_value(live: object, applied: object, resource: Resource, path: Path) -> object:
    match live, applied:
        case dict(), dict() if not is_one_value(path):
            return _merge(live, applied, resource, path)
        case list(), list() if is_set(path):
            return [*live, *(each for each in applied if each not in live)]
        case list(), list() if keys := list_keys(resource, path):
            return _merge_items(live, applied, keys, resource, path)
    return applied


def _merge_items(
    live: list[Any], applied: list[Any], keys: tuple[str, ...], resource: Resource, path: Path
) -> list[Any]:
    """Order items as applied, followed by the items of other managers."""
    there = {item_part(item, keys): item for item in live}
    given = {item_part(item, keys): item for item in applied}
    merged = [_merge_value(there.get(part), item, resource, path) for part, item in given.items()]
    return [*merged, *(item for item in live if item_part(item, keys) not in given)]


def _conflict(owners: list[_Owner], disputed: Fields, resource: Resource) -> StatusError:
    """The message has the form for which kubectl prints advice."""
    found = {owner: sorted(owner.fields & disputed) for owner in owners if owner.fields & disputed}
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_described(owner, resource)}",
            "field": written(field),
        }
        for owner, fields in found.items()
        for field in fields
    ]
    if len(causes) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [f"{len(causes)} conflicts:"]
        for owner, fields in found.items():
            lines += [
                f"conflicts with {_described(owner, resource)}:",
                *(f"- {written(each)}" for each in fields),
            ]
        text = f"{lines[0]} " + "\n".join(lines[1:])
    return StatusError(_CONFLICT, "Conflict", f"Apply failed with {text}", details={"causes": causes})


def _described(owner: _Owner, resource: Resource) -> str:
    text = f'"{owner.manager}"'
    if owner.subresource:
        text += f' with subresource "{owner.subresource}"'
    return text if owner.operation == APPLY else f"{text} using {resource.api_version}"
