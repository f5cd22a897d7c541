"""The one reader of YAML: whatever a file or a peer sends as such costs a bounded time and memory.

YAML is a format that can hurt its reader, so guards stand before it: size, nesting (libyaml's composer
recurses on the C stack and dies with the process) and aliases (a few lines can stand for billions of nodes).
Values are those of JSON, as Kubernetes reads YAML: a timestamp is a text. A key that stands twice is a
mistake.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import yaml

from xds_server.base.errors import YamlError
from xds_server.base.sizes import MIB

if TYPE_CHECKING:
    from yaml import SafeLoader as _BaseLoader
else:
    _BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES: Final = 16 * MIB
"""Of one text. An API server takes no more than 3 MiB a request, so a larger file is no manifest."""

MAX_DEPTH: Final = 100
"""Levels of nesting. Kubernetes' own types stay below 30."""

MAX_ALIASED: Final = 100_000
"""Nodes that aliases may stand for, in one text, over and above those written out."""

_CONSTRUCTION_ERRORS: Final = (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError)
"""What PyYAML raises over malformed input: its own errors, and what leaks out of its constructors where a
scalar contradicts its tag (``!!int x``)."""

_QUOTED: Final = re.compile(r"(?<!the key )'[^'<][^']+'")
"""More than a character, and neither a key nor a token of YAML's grammar (those have angle brackets)."""


class _Loader(_BaseLoader):
    pass


def _as_written(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> object:
    """As kubectl validates: a key that stands twice is a mistake, and not the last one's win."""
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
    return loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_written)


class _Texts(_Loader):
    """Every scalar is the text that it is written as."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's, never changed


def read_all(data: bytes) -> list[object]:
    """Every document, in order.

    Raises:
        YamlError: it is no YAML, or would cost far more to read than it is long.
    """
    with _errors():
        _guard(data)
        return list(yaml.load_all(data, Loader=_Loader))


def read_one(data: bytes, *, texts: bool = False) -> object:
    """The only document; None if there is none. With `texts` every scalar is the text that it is written as.

    Raises:
        YamlError: as `read_all`, or there are several.
    """
    with _errors():
        _guard(data)
        return yaml.load(data, Loader=_Texts if texts else _Loader)  # noqa: S506 - SafeLoaders


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _CONSTRUCTION_ERRORS as error:
        raise YamlError(_detail(error)) from error


def _detail(error: Exception) -> str:
    match error:
        case yaml.MarkedYAMLError(problem_mark=mark) if mark is not None:
            problem = ", ".join(filter(None, (error.context, error.problem)))
            detail = f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
        case RecursionError():
            detail = "it nests too deep"
        case _:
            detail = " ".join(str(error).split())
    # What it quotes of the text may be a Secret's value that begins with one of YAML's own characters.
    return _QUOTED.sub("'…'", detail)


def _guard(data: bytes) -> None:
    """Raise `YamlError` for what the composer must not see: too much, too deep a nesting, or aliases that
    stand for too much.

    Parsing to events needs no stack, and weighing what each anchor stands for needs no expansion.
    """
    if len(data) > MAX_BYTES:
        raise YamlError(f"it is larger than {MAX_BYTES >> 20} MiB")
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
            raise YamlError(f"it nests more than {MAX_DEPTH} levels deep")

    def close(self) -> None:
        anchor, before = self._open.pop()
        if anchor:
            self._of_anchor[anchor] = self._nodes - before

    def alias(self, anchor: str) -> None:
        if any(anchor == of for of, _ in self._open):
            raise YamlError(f"the alias *{anchor} stands for something it is part of")
        # An alias without an anchor weighs nothing here; the composer refuses it with a better message.
        weight = self._of_anchor.get(anchor, 0)
        self._nodes += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED:
            raise YamlError(f"its aliases stand for more than {MAX_ALIASED} nodes")
