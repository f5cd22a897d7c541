"""The only reader of YAML. Reading takes bounded time and memory, whatever a file or a peer contains.

YAML can harm its reader, so it is checked first for its size, its nesting (libyaml's composer recurses on the
C stack and crashes the process) and its aliases (a few lines can expand to billions of nodes). Values are
those of JSON, as Kubernetes reads YAML; a timestamp stays a string. A repeated key is an error.
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
"""The most bytes of one text. API servers accept at most 3 MiB per request, so a larger file is not a
manifest."""

MAX_DEPTH: Final = 100
"""The most levels of nesting. Kubernetes' own types stay below 30."""

MAX_ALIASED: Final = 100_000
"""The most nodes that aliases may add to one text."""

_CONSTRUCTION_ERRORS: Final = (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError)
"""What PyYAML raises for malformed input: its own errors, and those of its constructors if a scalar
contradicts its tag (``!!int x``)."""

_QUOTED: Final = re.compile(r"(?<!the key )'[^'<][^']+'")
"""A quotation of more than one character that is neither a key nor a token of YAML's grammar, which have
angle brackets."""


class _Loader(_BaseLoader):
    pass


def _as_written(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> object:
    """Reject repeated keys, as kubectl does; PyYAML would use the last one."""
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                problem = f"the key {key.value!r} is repeated; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
    return loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_written)


class _Texts(_Loader):
    """Reads every scalar as the string that was written."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's, never changed


def read_all(data: bytes) -> list[object]:
    """All documents, in order.

    Raises:
        YamlError: the text is not valid YAML, or too expensive to read.
    """
    with _errors():
        _guard(data)
        return list(yaml.load_all(data, Loader=_Loader))


def read_one(data: bytes, *, texts: bool = False) -> object:
    """The only document; None if there is none. With `texts`, every scalar is the string that was written.

    Raises:
        YamlError: as in `read_all`, or there are several documents.
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
    # The quotation may be a Secret's value that begins with a character of YAML's grammar.
    return _QUOTED.sub("'…'", detail)


def _guard(data: bytes) -> None:
    """Raise `YamlError` for input that must not reach the composer: too large, nested too deeply, or with
    aliases that expand to too much.

    Parsing to events needs no stack, and counting the nodes of each anchor needs no expansion.
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
    """The number of nodes of each anchor, with the aliases in it expanded."""

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
            raise YamlError(f"the alias *{anchor} refers to a node that contains it")
        # An alias without an anchor counts as nothing here; the composer rejects it with a better message.
        weight = self._of_anchor.get(anchor, 0)
        self._nodes += weight
        self._aliased += weight
        if self._aliased > MAX_ALIASED:
            raise YamlError(f"its aliases expand to more than {MAX_ALIASED} nodes")
