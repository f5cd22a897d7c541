"""Sets of fields in the format of `managedFields` (FieldsV1).

A field is a path of FieldsV1 elements: ``f:NAME`` for a field, ``k:{"name":"x"}`` for an item of a list that
is a map, ``v:"x"`` for a value of a list that is a set, and ``.`` for such an item itself.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import Resource
from xds_server.local.kubeapi.structure import Path, is_one_value, is_set, keys_of, list_keys

Field = tuple[str, ...]
Fields = frozenset[Field]

ITSELF: Final = "."

_SERVERS_OWN: Final = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
        "selfLink",
    }
)
"""Fields of `metadata` that have no owner."""


def leaves(doc: Doc, resource: Resource) -> dict[Field, Any]:
    """Every field that can have an owner, with its value; None for an item itself."""
    content = {name: value for name, value in doc.items() if name not in ("apiVersion", "kind")}
    metadata = content.get("metadata")
    if isinstance(metadata, dict):
        content["metadata"] = {name: value for name, value in metadata.items() if name not in _SERVERS_OWN}
        if not content["metadata"]:
            del content["metadata"]
    return dict(_of_mapping(content, resource, (), ()))


def _of_mapping(doc: Doc, resource: Resource, path: Path, field: Field) -> Iterator[tuple[Field, Any]]:
    for name, value in doc.items():
        inner, part = (*path, name), (*field, f"f:{name}")
        if isinstance(value, dict) and value and not is_one_value(inner):
            yield from _of_mapping(value, resource, inner, part)
        elif isinstance(value, list) and is_set(inner):
            yield from (((*part, f"v:{_compact(each)}"), each) for each in value)
        elif isinstance(value, list) and (keys := list_keys(resource, inner)):
            yield from _of_list(value, keys, resource, inner, part)
        else:
            yield part, value


def _of_list(
    items: list[Any], keys: tuple[str, ...], resource: Resource, path: Path, field: Field
) -> Iterator[tuple[Field, Any]]:
    for item in items:
        part = (*field, item_part(item, keys))
        yield (*part, ITSELF), None
        if isinstance(item, dict):
            yield from _of_mapping(item, resource, path, part)


def item_part(item: object, keys: tuple[str, ...]) -> str:
    """The path element for an item of a list."""
    values = keys_of(item, keys)
    if values is None:
        return f"v:{_compact(item)}"
    named = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
    return f"k:{_compact(named)}"


def repeated(doc: Doc, resource: Resource) -> str:
    """The first duplicate item in a list of `doc`, or the first without a key, as kubectl prints it; empty if
    there is none."""
    seen: set[Field] = set()
    for field, _ in _of_mapping(doc, resource, (), ()):
        if field in seen:
            return written(field)
        seen.add(field)
    return ""


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def encode(fields: Iterable[Field]) -> Doc:
    """FieldsV1."""
    root: Doc = {}
    for field in sorted(fields):
        at = root
        for part in field:
            at = at.setdefault(part, {})
    return root


def decode(fields: object) -> Fields:
    """The fields of a FieldsV1; empty if it is not valid."""
    return frozenset(_decoded(fields, ())) if isinstance(fields, dict) else frozenset()


def _decoded(fields: Doc, field: Field) -> Iterator[Field]:
    for part, inner in fields.items():
        if isinstance(inner, dict) and inner:
            yield from _decoded(inner, (*field, part))
        else:
            yield (*field, part)


def written(field: Field) -> str:
    """A field as kubectl prints it: ``.spec.containers[name="web"].image``."""
    text = ""
    for part in field:
        match part[:2]:
            case "f:":
                text += f".{part[2:]}"
            case "k:":
                pairs = json.loads(part[2:]).items()
                text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
            case "v:":
                text += f"[={part[2:]}]"
    return text


def without(doc: Doc, gone: Iterable[Field], resource: Resource) -> Doc:
    """`doc` without these fields, and without mappings that become empty."""
    for field in sorted(gone, key=len, reverse=True):
        doc = _without(doc, field, resource, ())
    return doc


def _without(at: Doc, field: Field, resource: Resource, path: Path) -> Doc:
    name, rest = field[0][2:], field[1:]
    if name not in at:
        return at
    inner, value = (*path, name), at[name]
    left: Any = None
    if not rest:
        pass
    elif isinstance(value, dict):
        left = _without(value, rest, resource, inner) or None
    elif isinstance(value, list):
        left = _without_item(value, rest, resource, inner) or None
    else:
        return at
    rest_of_it = {key: each for key, each in at.items() if key != name}
    return rest_of_it if left is None else {**at, name: left}


def _without_item(items: list[Any], field: Field, resource: Resource, path: Path) -> list[Any]:
    part, rest = field[0], field[1:]
    keys = list_keys(resource, path)
    named = [item_part(item, keys) if keys else f"v:{_compact(item)}" for item in items]
    if rest in ((), (ITSELF,)):
        return [item for item, name in zip(items, named, strict=True) if name != part]
    return [
        _without(item, rest, resource, path) if name == part and isinstance(item, dict) else item
        for item, name in zip(items, named, strict=True)
    ]
