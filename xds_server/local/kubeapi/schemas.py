"""The fields of each served kind: all that Kubernetes has.

The names and types are data (`schemas.yaml`), generated from the models of the `kubernetes` client library by
`tests/unit/kubeapi/test_schemas.py`, which also fails if they are stale. Types are written as in `kubectl
explain`: ``string``, ``[]Container``, ``map[string]string``.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

from xds_server.base.yaml_load import read_one
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import bad_request
from xds_server.local.kubeapi.resources import Resource

LIST: Final = "[]"
MAP: Final = "map[string]"

STRICT: Final = "Strict"
WARN: Final = "Warn"
IGNORE: Final = "Ignore"

_MOST_NAMED: Final = 20
"""The most unknown fields that a message names."""


@cache
def types() -> Mapping[str, Mapping[str, str]]:
    """The fields of each type and their types."""
    data = files("xds_server.local.kubeapi").joinpath("schemas.yaml").read_bytes()
    return cast("Mapping[str, Mapping[str, str]]", read_one(data))


def reachable(kinds: Iterable[str]) -> set[str]:
    """For each kind, the types of its top-level object fields."""
    found: set[str] = set()
    waiting = [*kinds]
    while waiting:
        name = waiting.pop()
        if name in types() and name not in found:
            found.add(name)
            waiting += (each.removeprefix(LIST).removeprefix(MAP) for each in types()[name].values())
    return found


class FieldValidation:
    """How unknown fields are treated. They are never stored; `how` says whether they are an error, cause a
    warning, or are dropped silently."""

    def __init__(self, resource: Resource, how: str) -> None:
        self.warnings: list[str] = []
        self._resource = resource
        self._how = how

    def __call__(self, doc: Doc) -> Doc:
        """`doc` without unknown fields. An object of another kind is left to other checks. Raises 400."""
        kind = self._resource.kind
        if doc.get("kind", kind) != kind:
            return doc
        unknown: list[str] = []
        known = _known(doc, kind, "", unknown)
        messages = [f'unknown field "{path}"' for path in unknown[:_MOST_NAMED]]
        if messages and self._how == STRICT:
            text = f'{kind} in version "{self._resource.version}" cannot be handled as a {kind}'
            raise bad_request(f"{text}: strict decoding error: {', '.join(messages)}")
        if self._how == WARN:
            self.warnings = messages
        return known if unknown else doc


def _known(value: Any, kind: str, path: str, unknown: list[str]) -> Any:
    """`value` without the fields that its type does not have; their paths are added to `unknown`. The types
    of values are not checked here."""
    match value:
        case dict() if kind.startswith(MAP):
            inner = kind.removeprefix(MAP)
            return {name: _known(each, inner, f"{path}.{name}", unknown) for name, each in value.items()}
        case dict() if kind in types():
            fields = types()[kind]
            unknown += [f"{path}.{name}".removeprefix(".") for name in value if name not in fields]
            return {
                name: _known(each, fields[name], f"{path}.{name}", unknown)
                for name, each in value.items()
                if name in fields
            }
        case list() if kind.startswith(LIST):
            inner = kind.removeprefix(LIST)
            return [_known(each, inner, f"{path}[{index}]", unknown) for index, each in enumerate(value)]
    return value
