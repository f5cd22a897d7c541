"""The bytes of one manifest file become the objects it declares and the problems it has.

Pure. YAML is a format that can hurt its reader, so two guards stand before it: nesting (libyaml's composer
recurses on the C stack and dies with the process) and aliases (a few lines can stand for billions of
nodes). Which file wins when two declare the same object is `files_state`'s part.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import yaml

from xds_server.base.errors import SourceError
from xds_server.model.objects import Object, Ref, ref_of
from xds_server.model.problems import Problem
from xds_server.sources.decode import DecodeError, from_mapping

if TYPE_CHECKING:
    from yaml import SafeLoader as _BaseLoader
else:
    _BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES = 16 * 1024 * 1024
"""Of one file. An API server takes no more than 3 MiB a request, so a larger file is no manifest."""

MAX_DEPTH = 100
"""Levels of nesting. Kubernetes' own types stay below 30."""

MAX_ALIASED = 100_000
"""Nodes that aliases may stand for, in one file, over and above those written out."""

_CONSTRUCTION_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError)
"""What PyYAML raises over malformed input: its own errors, and what leaks out of its constructors where a
scalar contradicts its tag (``!!int x``)."""


_QUOTED = re.compile(r"(?<!the key )'[^'<][^']+'")
"""More than a character, and neither a key nor a token of YAML's grammar (those have angle brackets)."""


class _Loader(_BaseLoader):
    """Reads timestamps as strings, as kubectl does; Kubernetes has no other use of them."""


def _as_written(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> object:
    """As kubectl validates: a key that stands twice is a mistake, and not the last one's win."""
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
    if twice := next((key for key, count in Counter(keys).items() if count > 1), None):
        raise yaml.constructor.ConstructorError(
            None, None, f"the key {twice!r} stands twice", node.start_mark
        )
    return loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_written)


class _UnsafeYamlError(ValueError):
    """The file would cost far more to read than it is long."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One reading of one file.

    `rejected` names what the file declares but gets wrong. `complete` is False if the file may declare
    objects that could not even be named: it does not parse, or a document has no usable name. Then absence
    from `objects` means nothing.
    """

    objects: Mapping[Ref, Object] = field(default_factory=dict)
    rejected: frozenset[Ref] = frozenset()
    problems: tuple[Problem, ...] = ()
    complete: bool = True


def unreadable(path: str, reason: str, message: str) -> Manifest:
    """The reading of a file that gave nothing."""
    return Manifest(problems=(Problem("", reason, message, path),), complete=False)


def parse(path: str, data: bytes) -> Manifest:
    """Read a file's content; `path` names it in problems and tells JSON from YAML."""
    try:
        documents = _documents(path, data)
    except (msgspec.MsgspecError, *_CONSTRUCTION_ERRORS) as error:
        message = f"{_syntax_error(path, error)}; its last good content stays in use."
        return unreadable(path, "InvalidYaml", message)
    objects: dict[Ref, Object] = {}
    rejected: set[Ref] = set()
    problems: list[Problem] = []
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
            problems.append(Problem(str(ref), "DuplicateObject", message, path))
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
    except (msgspec.MsgspecError, *_CONSTRUCTION_ERRORS) as error:
        raise SourceError(f"{path}: {_syntax_error(path, error)}.") from error


def _numbered(problem: Problem, number: int) -> Problem:
    """A problem that cannot name its object says at least which document it is in."""
    return problem if problem.subject else problem._replace(message=f"Document {number}: {problem.message}")


def _documents(path: str, data: bytes) -> list[object]:
    if not data.strip():
        return []
    if _is_json(path):
        documents: Iterable[object] = (msgspec.json.decode(data),)
    else:
        _guard(data)
        documents = yaml.load_all(data, Loader=_Loader)
    return [item for document in documents for item in _flatten(document) if item is not None]


def _flatten(document: object) -> Iterator[object]:
    """A ``kind: List`` is its items, as kubectl takes it."""
    match document:
        case {"kind": "List", "items": list(items)}:
            for item in items:
                yield from _flatten(item)
        case _:
            yield document


def _guard(data: bytes) -> None:
    """Raise `_UnsafeYamlError` for what the composer must not see: too deep a nesting, or aliases that stand
    for too much.

    Parsing to events needs no stack, and weighing what each anchor stands for needs no expansion.
    """
    weights = _Weights()
    for event in yaml.parse(data, Loader=_Loader):
        match event:
            case yaml.AliasEvent():
                weights.alias(event.anchor or "")
            case yaml.ScalarEvent():
                weights.open(event.anchor)
                weights.close()
            case yaml.CollectionStartEvent():
                weights.open(event.anchor)
            case yaml.CollectionEndEvent():
                weights.close()


class _Weights:
    """How many nodes each anchor stands for, aliases below it expanded."""

    def __init__(self) -> None:
        self._of_anchor: dict[str, int] = {}
        self._open: list[tuple[str | None, int]] = []
        self._nodes = 0
        self._aliased = 0

    def open(self, anchor: str | None) -> None:
        self._open.append((anchor, self._nodes))
        self._nodes += 1
        if len(self._open) > MAX_DEPTH:
            raise _UnsafeYamlError(f"it nests more than {MAX_DEPTH} levels deep")

    def close(self) -> None:
        anchor, before = self._open.pop()
        if anchor:
            self._of_anchor[anchor] = self._nodes - before

    def alias(self, anchor: str) -> None:
        if any(anchor == of for of, _ in self._open):
            raise _UnsafeYamlError(f"the alias *{anchor} stands for something it is part of")
        # An alias without an anchor weighs nothing here; the composer refuses it with a better message.
        weight = self._of_anchor.get(anchor, 0)
        self._nodes += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED:
            raise _UnsafeYamlError(f"its aliases stand for more than {MAX_ALIASED} nodes")


def _syntax_error(path: str, error: Exception) -> str:
    match error:
        case yaml.MarkedYAMLError(problem_mark=mark) if mark is not None:
            detail = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
        case RecursionError():
            detail = "it nests too deep"
        case _:
            detail = " ".join(str(error).split())
    # What it quotes of the file may be a Secret's value that begins with one of YAML's own characters.
    detail = _QUOTED.sub("'…'", detail)
    return f"The file is not valid {'JSON' if _is_json(path) else 'YAML'} ({detail})"


def _is_json(path: str) -> bool:
    return path.endswith(".json")
