"""Which fields each kind has: of the kinds that are served, all that Kubernetes knows.

The names and types are data (`schemas.yaml`), made from the models of the `kubernetes` client library by
`tests/unit/kubeapi/test_schemas.py`, which also says when they are stale. A type is written as
`kubectl explain` writes it: ``string``, ``[]Container``, ``map[string]string``.
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

_MOST_TOLD: Final = 20
"""Of the fields that are unknown."""


@cache
def types() -> Mapping[str, Mapping[str, str]]:
    """The fields of each type, with theirs."""
    data = files("xds_server.local.kubeapi").joinpath("schemas.yaml").read_bytes()
    return cast("Mapping[str, Mapping[str, str]]", read_one(data))


def reachable(kinds: Iterable[str]) -> set[str]:
    """The types of objects that make up these kinds, which are of them."""
    found: set[str] = set()
    waiting = [*kinds]
    while waiting:
        name = waiting.pop()
        if name in types() and name not in found:
            found.add(name)
            waiting += (each.removeprefix(LIST).removeprefix(MAP) for each in types()[name].values())
    return found


class FieldValidation:
    """What becomes of fields that a kind does not have. They are never stored, as nothing could make sense of
    them; `how` says whether that is an error, a warning, or silent."""

    def __init__(self, resource: Resource, how: str) -> None:
        self.warnings: list[str] = []
        self._resource = resource
        self._how = how

    def __call__(self, doc: Doc) -> Doc:
        """`doc` without them. An object of another kind is left for others to refuse. Raises 400."""
        kind = self._resource.kind
        if doc.get("kind", kind) != kind:
            return doc
        unknown: list[str] = []
        known = _known(doc, kind, "", unknown)
        told = [f'unknown field "{path}"' for path in unknown[:_MOST_TOLD]]
        if told and self._how == STRICT:
            text = f'{kind} in version "{self._resource.version}" cannot be handled as a {kind}'
            raise bad_request(f"{text}: strict decoding error: {', '.join(told)}")
        if self._how == WARN:
            self.warnings = told
        return known if unknown else doc


def _known(value: Any, kind: str, path: str, unknown: list[str]) -> Any:
    """`value` without the fields that its type does not have, whose paths are added to `unknown`. Whether
    what is there has the right type is not looked at here."""
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
