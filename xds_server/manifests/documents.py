"""The bytes of one manifest file become the objects it declares and the problems it has.

Pure. Which file wins when two declare the same object is `files_state`'s part.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from xds_server.base import yaml_load as yamlload
from xds_server.base.errors import SourceError, YamlError
from xds_server.core.conditions import NO_SUBJECT, Condition, about
from xds_server.core.decode import DecodeError, from_mapping
from xds_server.core.objects import Object, Ref, ref_of

_ERRORS: Final = (YamlError, msgspec.MsgspecError, ValueError, RecursionError)
"""What reading a file raises that is no YAML or no JSON."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One reading of one file.

    `rejected` names what the file declares but gets wrong. `complete` is False if the file may declare
    objects that could not even be named: it does not parse, or a document has no usable name. Then absence
    from `objects` means nothing.
    """

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    rejected: frozenset[Ref] = frozenset()
    problems: tuple[Condition, ...] = ()
    complete: bool = True


def unreadable(path: str, reason: str, message: str) -> Manifest:
    """The reading of a file that gave nothing."""
    return Manifest(problems=(Condition(NO_SUBJECT, reason, message, origin=path),), complete=False)


def parse(path: str, data: bytes) -> Manifest:
    """Read a file's content; `path` names it in problems and tells JSON from YAML."""
    try:
        documents = _documents(path, data)
    except _ERRORS as error:
        message = f"{_syntax_error(path, error)}; its last good content stays in use."
        return unreadable(path, "InvalidYaml", message)
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
            message = "The file declares it more than once; the first counts, remove the others."
            problems.append(Condition(about(ref), "DuplicateObject", message, origin=path))
        else:
            objects[ref] = obj
    return Manifest(objects, frozenset(rejected), tuple(problems), complete)


def documents(path: str, data: bytes) -> list[object]:
    """Every document of a file that may hold anything, those of lists one by one.

    Raises:
        SourceError: it is no YAML (or JSON, by its name), with the place.
    """
    try:
        return _documents(path, data)
    except _ERRORS as error:
        raise SourceError(f"{path}: {_syntax_error(path, error)}.") from error


def _numbered(problem: Condition, number: int) -> Condition:
    """A problem that cannot name its object says at least which document it is in."""
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
    """A ``kind: List`` is its items, as kubectl takes it."""
    match document:
        case {"kind": "List", "items": list(items)}:
            for item in items:
                yield from _flatten(item)
        case _:
            yield document


def _syntax_error(path: str, error: Exception) -> str:
    detail = "it nests too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
    return f"The file is not valid {'JSON' if _is_json(path) else 'YAML'} ({detail})"


def _is_json(path: str) -> bool:
    return path.endswith(".json")
