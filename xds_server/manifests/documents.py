"""Parses one manifest file into objects and problems.

Pure. `state` decides which file is used if two define the same object.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from xds_server.base import yaml_load as yamlload
from xds_server.base.errors import SourceError, YamlError
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason, about
from xds_server.core.decode import DecodeError, from_mapping
from xds_server.core.objects import Object, Ref, ref_of

_ERRORS: Final = (YamlError, msgspec.MsgspecError, ValueError, RecursionError)
"""What the parsers raise for content that is not valid YAML or JSON."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed content of one file.

    `rejected` has the objects that the file defines and that are not valid. `complete` is False if the file
    may define objects that could not be identified: it cannot be parsed, or a document has no valid kind or
    name. An object that is missing from `objects` may then still be in the file.
    """

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    rejected: frozenset[Ref] = frozenset()
    problems: tuple[Condition, ...] = ()
    complete: bool = True


def unreadable(path: str, reason: Reason, message: str) -> Manifest:
    """The content of a file that cannot be read or parsed."""
    return Manifest(problems=(Condition(NO_SUBJECT, reason, message, origin=path),), complete=False)


def parse(path: str, data: bytes) -> Manifest:
    """Parse the content of a file. Problems name `path`, and its suffix selects JSON or YAML."""
    try:
        documents = _documents(path, data)
    except _ERRORS as error:
        return unreadable(path, Reason.INVALID_FILE, f"{_syntax_error(path, error)}.")
    objects: dict[Ref, Object] = {}
    rejected: set[Ref] = set()
    problems: list[Condition] = []
    complete = True
    for number, document in enumerate(documents, start=1):
        try:
            obj = from_mapping(document, path)
        except DecodeError as error:
            problems.append(_numbered(error.problem, number))
            if error.ref is None:
                complete = False
            else:
                rejected.add(error.ref)
            continue
        if obj is None:
            continue
        ref = ref_of(obj)
        if ref in objects:
            message = "The file defines it more than once. The first definition is used; remove the others."
            problems.append(Condition(about(ref), Reason.DUPLICATE_OBJECT, message, origin=path))
        else:
            objects[ref] = obj
    return Manifest(objects, frozenset(rejected), tuple(problems), complete)


def documents(path: str, data: bytes) -> list[object]:
    """The documents of a file, whatever they contain. A ``kind: List`` is replaced by its items.

    Raises:
        SourceError: the file is not valid YAML, or not valid JSON if its name ends in ``.json``.
    """
    try:
        return _documents(path, data)
    except _ERRORS as error:
        raise SourceError(f"{path}: {_syntax_error(path, error)}.") from error


def _numbered(problem: Condition, number: int) -> Condition:
    """Add the number of the document to a problem that does not name its object."""
    return (
        problem
        if problem.subject != NO_SUBJECT
        else problem._replace(message=f"Document {number}: {problem.message}")
    )


def _documents(path: str, data: bytes) -> list[object]:
    if not data.strip():
        return []
    if _is_json(path):
        documents: Iterable[object] = (msgspec.json.decode(data),)
    else:
        documents = yamlload.read_all(data)
    return [item for document in documents for item in _flatten(document) if item is not None]


def _flatten(document: object) -> Iterator[object]:
    """Replace a ``kind: List`` by its items, as kubectl does."""
    match document:
        case {"kind": "List", "items": list(items)}:
            for item in items:
                yield from _flatten(item)
        case _:
            yield document


def _syntax_error(path: str, error: Exception) -> str:
    detail = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
    return f"The file is not valid {'JSON' if _is_json(path) else 'YAML'} ({detail})"


def _is_json(path: str) -> bool:
    return path.endswith(".json")
