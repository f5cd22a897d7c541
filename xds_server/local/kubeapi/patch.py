"""Applies patches: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic merge patch.

Pure; the given object is not changed. Failures are `StatusError`s with the API server's texts.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError, bad_request, too_large, unprocessable

MOST_OPERATIONS: Final = 10_000
"""The most operations of one JSON patch, as in the API server."""
MOST_COPIED: Final = 3 << 20
"""The most bytes that the copy operations of one JSON patch may add: each copy of an object into itself
doubles it."""

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


# --- JSON merge patch ----------------------------------------------------------------------------------


def merge_patch(doc: Doc, patch: Doc) -> Doc:
    """`doc` with the fields of `patch`. Null removes a field, and a list is replaced as a whole."""
    merged = dict(doc)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


# --- JSON patch ----------------------------------------------------------------------------------------


def json_patch(doc: Doc, operations: Sequence[Doc]) -> Doc:
    """`doc` after all operations. If one fails, none is applied. Raises 422, 413, and 400 for an invalid
    operation."""
    if len(operations) > MOST_OPERATIONS:
        raise bad_request(
            f"a JSON patch may have {MOST_OPERATIONS} operations, and this has {len(operations)}"
        )
    result: Any = doc
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("a JSON patch is an array of operations, each with an op and a path")
        if operation.get("op") == "copy":
            copied += len(_canonical(_find(result, _pointer(operation.get("from")))))
            if copied > MOST_COPIED:
                raise too_large(f"the copies of a JSON patch have more than {MOST_COPIED} bytes")
        result = _operate(result, operation)
    if not isinstance(result, dict):
        raise unprocessable("the patch leaves no object")
    return result


def _operate(doc: Any, operation: Doc) -> Any:
    path = _pointer(operation["path"])
    match operation.get("op"):
        case "add" | "replace" | "test" if "value" not in operation:
            raise bad_request(f"{operation['op']} operation on {operation['path']} has no value")
        case "add":
            return _add(doc, path, operation["value"])
        case "remove":
            return _remove(doc, path)
        case "replace":
            _find(doc, path)
            return _at(doc, path, lambda _: operation["value"])
        case "test":
            if _canonical(_find(doc, path)) != _canonical(operation["value"]):
                raise unprocessable(f"testing value {operation['path']} failed")
            return doc
        case "copy" | "move" as op:
            origin = _pointer(operation.get("from"))
            value = _find(doc, origin)
            return _add(_remove(doc, origin) if op == "move" else doc, path, value)
        case other:
            raise bad_request(f"there is no JSON patch operation {other!r}")


def _canonical(value: Any) -> bytes:
    """Whether two values are equal in JSON. In Python, true equals 1."""
    return msgspec.json.encode(value, order="sorted")


def _pointer(text: object) -> list[str]:
    """The parts of a JSON pointer (RFC 6901)."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"{text!r} is no JSON pointer: it begins with no slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(doc: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(doc, dict) and part in doc:
            doc = doc[part]
        elif isinstance(doc, list):
            doc = doc[_index(part, len(doc) - 1, path)]
        else:
            raise _missing(path)
    return doc


def _at(doc: Any, path: list[str], change: Callable[[Any], Any]) -> Any:
    """`doc` with the existing value at `path` replaced by the result of `change`."""
    if not path:
        return change(doc)
    first, rest = path[0], path[1:]
    if isinstance(doc, list):
        index = int(first)
        return [*doc[:index], _at(doc[index], rest, change), *doc[index + 1 :]]
    return {**doc, first: _at(doc[first], rest, change)}


def _add(doc: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    _find(doc, path[:-1])
    name = path[-1]

    def add(parent: Any) -> Any:
        if isinstance(parent, dict):
            return {**parent, name: value}
        if isinstance(parent, list):
            index = len(parent) if name == "-" else _index(name, len(parent), path)
            return [*parent[:index], value, *parent[index:]]
        raise _missing(path)

    return _at(doc, path[:-1], add)


def _remove(doc: Any, path: list[str]) -> Any:
    if not path:
        raise unprocessable("the whole object cannot be removed")
    _find(doc, path)
    name = path[-1]

    def remove(parent: Any) -> Any:
        if isinstance(parent, dict):
            return {key: value for key, value in parent.items() if key != name}
        index = _index(name, len(parent) - 1, path)
        return [*parent[:index], *parent[index + 1 :]]

    return _at(doc, path[:-1], remove)


def _index(part: str, highest: int, path: list[str]) -> int:
    if not _INDEX.fullmatch(part) or int(part) > highest:
        raise _missing(path)
    return int(part)


def _missing(path: list[str]) -> StatusError:
    return unprocessable(f"there is nothing at /{'/'.join(path)}")
