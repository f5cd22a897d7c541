"""OpenAPI v3, as far as kubectl uses it. Pure.

`kubectl apply` checks whether the server validates fields (the parameter `fieldValidation` on the path of the
kind's patch), and `kubectl explain` prints the fields of a kind. The keys of strategic merge patches are
omitted, because kubectl knows them for the kinds that are served.
"""

from functools import cache
from typing import Final

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import RESOURCES, Resource
from xds_server.local.kubeapi.schemas import LIST, MAP, reachable, types

_WRITE_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation")
_PREFIX: Final = "io.k8s."
_SCALARS: Final = ("string", "integer", "boolean")
_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}


def document(parts: list[str]) -> Doc | None:
    """The document at ``/openapi/v3/…``, by the parts of the path; None if there is none."""
    match parts:
        case ["openapi", "v3"]:
            return _index()
        case ["openapi", "v3", "api", version]:
            return _of("", version)
        case ["openapi", "v3", "apis", group, version]:
            return _of(group, version)
    return None


def _root(resource: Resource) -> str:
    return f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"


def _index() -> Doc:
    roots = sorted({_root(resource) for resource in RESOURCES})
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}}


@cache
def _of(group: str, version: str) -> Doc | None:
    found = [each for each in RESOURCES if (each.group, each.version) == (group, version)]
    if not found:
        return None
    paths: Doc = {}
    for resource in found:
        paths |= _paths(resource)
    schemas = {f"{_PREFIX}{name}": _schema(name) for name in sorted(reachable(each.kind for each in found))}
    for resource in found:
        schemas[f"{_PREFIX}{resource.kind}"]["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "xds-shadow"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _paths(resource: Resource) -> Doc:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{_root(resource)}{scope}/{resource.plural}"
    return {
        collection: {"get": _operation(resource, "list"), "post": _operation(resource, "post")},
        f"{collection}/{{name}}": {
            "get": _operation(resource, "get"),
            "put": _operation(resource, "put"),
            "patch": _operation(resource, "patch"),
            "delete": _operation(resource, "delete"),
        },
    }


def _operation(resource: Resource, action: str) -> Doc:
    names = _WRITE_PARAMETERS if action in ("post", "put", "patch") else ()
    return {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(resource),
    }


def _kind(resource: Resource) -> Doc:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schema(name: str) -> Doc:
    return {"type": "object", "properties": {field: _type(each) for field, each in types()[name].items()}}


def _type(text: str) -> Doc:
    """The OpenAPI schema of a type in the notation of `schemas`."""
    if text.startswith(LIST):
        return {"type": "array", "items": _type(text.removeprefix(LIST))}
    if text.startswith(MAP):
        return {"type": "object", "additionalProperties": _type(text.removeprefix(MAP))}
    if text in types():
        return {"allOf": [{"$ref": f"#/components/schemas/{_PREFIX}{text}"}]}
    return {"type": text} if text in _SCALARS else _ANY
