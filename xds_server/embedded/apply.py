"""Server-side apply, and who set which field (`metadata.managedFields`).

Whoever applies a document owns its fields: what another owns and says otherwise is a conflict; what he
applied before and no longer does is taken away, unless another owns it too. Pure; times are arguments.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from xds_server.embedded.doc import Doc, metadata, with_metadata
from xds_server.embedded.errors import StatusError
from xds_server.embedded.fields import ITSELF, Field, Fields, decode, encode, leaves, without, written
from xds_server.embedded.resources import Resource
from xds_server.embedded.structure import Path, is_one_value, is_set, keys_of, list_keys

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


def apply(live: Doc | None, applied: Doc, *, manager: str, force: bool, resource: Resource, now: str) -> Doc:
    """The object after `manager` applied a document. `now` is RFC 3339. Raises 409 where another owns a field
    and has it otherwise, unless `force` takes it over."""
    base, owners = live or {}, _owners(live)
    me = (manager, APPLY, "")
    mine = next((owner for owner in owners if owner.identity == me), _Owner(*me, now, frozenset()))
    others = [owner for owner in owners if owner.identity != me]
    given, there = leaves(applied, resource), leaves(base, resource)
    disputed = {
        owner.identity: frozenset(
            field
            for field, value in given.items()
            if field in owner.fields and field in there and there[field] != value
        )
        for owner in others
    }
    if not force and any(disputed.values()):
        raise _conflict(others, disputed)
    others = [replace(owner, fields=owner.fields - disputed[owner.identity]) for owner in others]
    dropped = mine.fields - given.keys() - frozenset().union(*(owner.fields for owner in others))
    content = {name: value for name, value in applied.items() if name != "metadata"}
    wanted = content | {"metadata": _without_managers(metadata(applied))}
    merged = without(_merge(base, wanted, resource, ()), dropped, resource)
    unchanged = leaves(merged, resource) == there and mine.fields == frozenset(given)
    mine = replace(mine, fields=frozenset(given), time=mine.time if unchanged else now)
    return _with_owners(merged, [*others, mine], resource)


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
    """`after` with it noted that `manager` made it so by something other than applying. A client that changes
    the notes themselves, as kubectl does to begin with server-side apply, has its way."""
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
    """Owners of nothing that is there are forgotten."""
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


def _without_managers(meta: Doc) -> Doc:
    return {name: value for name, value in meta.items() if name != "managedFields"}


def _merge(live: Doc, applied: Doc, resource: Resource, path: Path) -> Doc:
    merged = dict(live)
    for name, value in applied.items():
        inner, before = (*path, name), live.get(name)
        if isinstance(value, dict) and isinstance(before, dict) and not is_one_value(inner):
            merged[name] = _merge(before, value, resource, inner)
        elif isinstance(value, list) and isinstance(before, list) and is_set(inner):
            merged[name] = [*before, *(each for each in value if each not in before)]
        elif isinstance(value, list) and isinstance(before, list) and (keys := list_keys(resource, inner)):
            merged[name] = _merge_items(before, value, keys, resource, inner)
        else:
            merged[name] = value
    return merged


def _merge_items(
    before: list[Any], applied: list[Any], keys: tuple[str, ...], resource: Resource, path: Path
) -> list[Any]:
    """In the order applied, then what others added."""
    by_key = {keys_of(item, keys): item for item in before}
    merged = []
    for item in applied:
        found = by_key.pop(keys_of(item, keys), None)
        merged.append(
            _merge(found, item, resource, path)
            if isinstance(found, dict) and isinstance(item, dict)
            else item
        )
    return [*merged, *by_key.values()]


def _conflict(owners: list[_Owner], disputed: dict[tuple[str, str, str], frozenset[Field]]) -> StatusError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{owner.manager}" using {owner.operation}',
            "field": written(field),
        }
        for owner in owners
        for field in sorted(disputed[owner.identity])
    ]
    managers = sorted({f'"{owner.manager}"' for owner in owners if disputed[owner.identity]})
    which = f"conflict with {managers[0]}" if len(managers) == 1 else f"conflicts with {', '.join(managers)}"
    listed = "".join(f"\n- {cause['field']}" for cause in causes)
    one = f": {causes[0]['field']}" if len(causes) == 1 else f":{listed}"
    plural = "conflict" if len(causes) == 1 else "conflicts"
    text = f"Apply failed with {len(causes)} {plural}: {which}{one}"
    return StatusError(_CONFLICT, "Conflict", text, details={"causes": causes})
