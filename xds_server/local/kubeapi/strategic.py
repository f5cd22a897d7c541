"""Applies strategic merge patches: merge patches that know which lists are maps or sets.

`kubectl apply`, `edit` and `set` send them. The directives (``$patch``, ``$retainKeys`` and others) are those
of apimachinery's `util/strategicpatch`. Pure; the given object is not changed.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import bad_request
from xds_server.local.kubeapi.resources import Resource
from xds_server.local.kubeapi.structure import Path, is_set, list_keys

_DIRECTIVE: Final = "$patch"
_ORDER: Final = "$setElementOrder/"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_RETAIN: Final = "$retainKeys"


def merge(doc: Doc, patch: Doc, resource: Resource) -> Doc:
    """`doc` with the fields of `patch`. Null removes a field, and lists with a merge key are merged by it.
    Raises 400."""
    return _merge(doc, patch, resource, ())


def _merge(live: Doc, patch: Doc, resource: Resource, path: Path) -> Doc:
    directive = patch.get(_DIRECTIVE, "merge")
    fields = {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == "replace":
        return fields
    if directive == "delete":
        return {}
    if directive != "merge":
        raise bad_request(f"unrecognized patch directive: {directive}")
    left = _left(live, patch)
    merged = left | {
        name: _merge_value(left.get(name), value, resource, (*path, name)) for name, value in fields.items()
    }
    for field, order in _lists(patch, _ORDER):
        if isinstance(merged.get(field), list):
            merged[field] = _sorted(merged[field], order, _merge_key(resource, (*path, field)))
    return {name: value for name, value in merged.items() if value is not None}


def _merge_value(live: object, patch: object, resource: Resource, path: Path) -> object:
    match patch:
        case dict():
            return _merge(live if isinstance(live, dict) else {}, patch, resource, path)
        case list():
            return _merge_list(live if isinstance(live, list) else [], patch, resource, path)
    return patch


def _left(live: Doc, patch: Doc) -> Doc:
    """What is left to merge with after the directives that remove."""
    left = dict(live)
    if _RETAIN in patch:
        [(_, retained)] = _lists(patch, _RETAIN)
        left = {name: value for name, value in live.items() if name in retained}
    for field, gone in _lists(patch, _DELETE_FROM):
        if isinstance(left.get(field), list):
            left[field] = [each for each in left[field] if each not in gone]
    return left


def _lists(patch: Doc, prefix: str) -> Iterable[tuple[str, list[Any]]]:
    """The directives of a kind: the field that each is about, and its list."""
    for name, value in patch.items():
        if name.startswith(prefix):
            if not isinstance(value, list):
                raise bad_request(f"the patch directive {name} has to be a list")
            yield name.removeprefix(prefix), value


def _merge_list(live: list[Any], patch: list[Any], resource: Resource, path: Path) -> list[Any]:
    if is_set(path):
        return [*live, *(value for value in patch if value not in live)]
    key = _merge_key(resource, path)
    if not key:
        return patch
    if any(_directive(item) == "replace" for item in patch):
        return [item for item in patch if _directive(item) != "replace"]
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"an item of {'.'.join(path)} in the patch has no {key} to know it by")
    gone = {_identity(item, key) for item in patch if _directive(item) == "delete"}
    left = [item for item in live if _identity(item, key) not in gone]
    return _merge_items(left, [item for item in patch if _directive(item) != "delete"], key, resource, path)


def _merge_items(live: list[Any], patch: list[Doc], key: str, resource: Resource, path: Path) -> list[Any]:
    """If several items of a list have the same key, such as ports with two protocols, the first is used."""
    merged = list(live)
    places: dict[bytes, int] = {}
    for index, item in enumerate(live):
        if isinstance(item, dict):
            places.setdefault(_identity(item, key), index)
    for item in patch:
        place = places.setdefault(_identity(item, key), len(merged))
        if place == len(merged):
            merged.append({})
        merged[place] = _merge(merged[place], item, resource, path)
    return merged


def _directive(item: object) -> object:
    return item.get(_DIRECTIVE) if isinstance(item, dict) else None


def _merge_key(resource: Resource, path: Path) -> str:
    """The field that identifies the items of the list; empty if they are not merged. If server-side apply has
    several fields, as for ports, the first."""
    keys = list_keys(resource, path)
    return keys[0] if keys else ""


def _identity(item: object, key: str) -> bytes:
    """What identifies an item: its key, or the item itself if it has none. In Python, true equals 1."""
    return msgspec.json.encode(item.get(key) if key and isinstance(item, dict) else item, order="sorted")


def _sorted(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """Order items as the patch requests; an item that it does not name stays after its predecessor."""
    ranks = {_identity(each, key): rank for rank, each in enumerate(order, start=1)}
    runs: list[tuple[int, list[Any]]] = [(0, [])]
    for item in items:
        rank = ranks.get(_identity(item, key))
        if rank is None:
            runs[-1][1].append(item)
        else:
            runs.append((rank, [item]))
    return [item for _, run in sorted(runs, key=lambda run: run[0]) for item in run]
