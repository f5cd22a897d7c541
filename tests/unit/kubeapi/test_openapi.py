"""The description that kubectl reads."""

from typing import Any

import pytest

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.openapi import document
from xds_server.local.kubeapi.resources import RESOURCES, Resource

ROOTS = sorted({f"apis/{each.api_version}" if each.group else "api/v1" for each in RESOURCES})


def group(root: str) -> Doc:
    found = document(["openapi", "v3", *root.split("/")])
    assert found
    return found


def group_of(resource: Resource) -> Doc:
    return group(f"apis/{resource.api_version}" if resource.group else "api/v1")


def references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for each in schema for name in references(each)}
    if not isinstance(schema, dict):
        return set()
    here = {schema["$ref"].removeprefix("#/components/schemas/")} if "$ref" in schema else set()
    return here | {name for each in schema.values() for name in references(each)}


def field(schemas: Doc, kind: str, *path: str) -> Doc:
    """The schema of a field, as `kubectl explain` finds it."""
    schema: Doc = schemas[f"io.k8s.{kind}"]
    for name in path:
        schema = schema["properties"][name]
        items = schema.get("items", schema)
        [target] = references(items) or [""]
        schema = schemas[target] if target else schema
    return schema


def test_the_index_leads_to_every_group() -> None:
    index = document(["openapi", "v3"])
    assert index == {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in ROOTS}}


@pytest.mark.parametrize(
    "parts", [["openapi"], ["openapi", "v2"], ["openapi", "v3", "apis", "none", "v1"], []]
)
def test_there_is_no_more(parts: list[str]) -> None:
    assert document(parts) is None


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.plural)
def test_a_kind_says_that_the_server_validates(resource: Resource) -> None:
    """Else kubectl would, by descriptions of the second version."""
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found = [
        operation
        for path in group_of(resource)["paths"].values()
        for name, operation in path.items()
        if name == "patch" and operation["x-kubernetes-group-version-kind"] == gvk
    ]
    [patch] = found
    assert {"fieldValidation", "dryRun"} <= {each["name"] for each in patch["parameters"]}
    assert "requestBody" not in patch  # else kubectl would look for merge keys in the schemas


@pytest.mark.parametrize("root", ROOTS)
def test_every_reference_leads_somewhere(root: str) -> None:
    schemas = group(root)["components"]["schemas"]
    assert references(schemas) <= schemas.keys()
    assert len(references(schemas)) >= 3


def test_explain_finds_its_way() -> None:
    schemas = group("apis/apps/v1")["components"]["schemas"]
    assert schemas["io.k8s.Deployment"]["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "version": "v1", "kind": "Deployment"}
    ]
    assert field(schemas, "Deployment", "spec", "replicas") == {"type": "integer"}
    container = field(schemas, "Deployment", "spec", "template", "spec", "containers")
    assert container["properties"]["args"] == {"type": "array", "items": {"type": "string"}}
    assert field(schemas, "Deployment", "metadata", "labels") == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
    surge = field(schemas, "Deployment", "spec", "strategy", "rollingUpdate", "maxSurge")
    assert "type" not in surge  # a number or a text
