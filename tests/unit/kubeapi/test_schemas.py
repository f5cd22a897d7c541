"""The fields of each kind, and what becomes of others.

The data are made from the `kubernetes` client library's models; after an update of it:
``UPDATE_GOLDEN=1 pytest tests/unit/kubeapi/test_schemas.py``, then read the diff.
"""

import os
import re
from pathlib import Path

import kubernetes
import pytest
import yaml
from kubernetes.aio.client import models

import xds_server.local.kubeapi.schemas
from tests.unit.kubeapi.objects import deployment, service
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.resources import DEPLOYMENTS, RESOURCES
from xds_server.local.kubeapi.schemas import IGNORE, STRICT, WARN, FieldValidation, reachable, types

DATA = Path(xds_server.local.kubeapi.schemas.__file__).with_name("schemas.yaml")
HEADER = """\
# The fields of the kinds that are served, and their types: Kubernetes {version}.
# Made by tests/unit/kubeapi/test_schemas.py.
"""

MERGE_PATCH = "application/merge-patch+json"
SCALARS = {"str": "string", "int": "integer", "bool": "boolean", "datetime": "string", "bytes": "string"}


def type_name(model: str) -> str:
    return re.sub(r"^([A-Z][a-z]+)?V1", "", model)


def written(model: str) -> str:
    """A type of the library as `schemas.yaml` writes it."""
    if found := re.fullmatch(r"List\[(.+)\]", model):
        return f"[]{written(found[1])}"
    if found := re.fullmatch(r"Dict\[str, (.+)\]", model):
        return f"map[string]{written(found[1])}"
    return SCALARS.get(model) or ("any" if model == "object" else type_name(model))


def made() -> dict[str, dict[str, str]]:
    """The data, by the library."""
    found: dict[str, dict[str, str]] = {}
    sources: dict[str, str] = {}
    waiting = ["CoreV1Event" if each.kind == "Event" else f"V1{each.kind}" for each in RESOURCES]
    while waiting:
        model = waiting.pop()
        name = type_name(model)
        assert sources.setdefault(name, model) == model, f"two types would be called {name}"
        if name in found:
            continue
        cls = getattr(models, model)
        found[name] = {cls.attribute_map[key]: written(each) for key, each in cls.openapi_types.items()}
        waiting += (each for text in cls.openapi_types.values() for each in re.findall(r"\w*V1\w+", text))
    return found


def test_the_data_are_those_of_the_library() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        text = yaml.safe_dump(made(), default_flow_style=None, width=105)
        version = f"1.{kubernetes.__version__.split('.')[0]}"
        DATA.write_text(HEADER.format(version=version) + text, encoding="utf-8")
        types.cache_clear()
    assert types() == made(), "stale: UPDATE_GOLDEN=1 pytest tests/unit/kubeapi/test_schemas.py"


def test_every_kind_is_there_whole() -> None:
    assert {"Deployment", "PodTemplateSpec", "Container", "EnvVar", "ObjectMeta"} <= reachable(["Deployment"])
    assert "ServicePort" not in reachable(["Deployment"])
    assert reachable(each.kind for each in RESOURCES) == types().keys()


def typo() -> Doc:
    """A manifest with a mistake at the top, in the middle, and in a list."""
    doc = deployment("web", labels={"any": "thing"})
    doc["spec"]["replica"] = 2
    doc["spec"]["template"]["spec"]["containers"][0]["imag"] = "x"
    return doc | {"specs": {}}


PATHS = ["specs", "spec.replica", "spec.template.spec.containers[0].imag"]


class TestFieldValidation:
    def test_what_is_right_is_left_as_it_is(self) -> None:
        doc = deployment("web", labels={"any": "thing"}, annotations={"a/b": "c"})
        assert FieldValidation(DEPLOYMENTS, STRICT)(doc) is doc

    def test_strict(self) -> None:
        with pytest.raises(StatusError) as rejected:
            FieldValidation(DEPLOYMENTS, STRICT)(typo())
        assert (rejected.value.code, rejected.value.reason) == (400, "BadRequest")
        assert rejected.value.message == (
            'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
            'unknown field "specs", unknown field "spec.replica", '
            'unknown field "spec.template.spec.containers[0].imag"'
        )

    def test_warn(self) -> None:
        validation = FieldValidation(DEPLOYMENTS, WARN)
        assert validation(typo()) == deployment("web", labels={"any": "thing"})
        assert validation.warnings == [f'unknown field "{path}"' for path in PATHS]

    def test_ignore(self) -> None:
        validation = FieldValidation(DEPLOYMENTS, IGNORE)
        assert validation(typo()) == deployment("web", labels={"any": "thing"})
        assert validation.warnings == []

    @pytest.mark.parametrize(
        "doc",
        [
            service("web"),
            {"spec": "text", "metadata": []},
            {"spec": {"template": {"spec": {"containers": {"name": 1}}}}},
            {"metadata": {"labels": "text", "managedFields": [{"fieldsV1": {"f:any": {}}}, 7]}},
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": {"any": 1}}}}},
        ],
    )
    def test_other_mistakes_are_left_for_others(self, doc: Doc) -> None:
        assert FieldValidation(DEPLOYMENTS, STRICT)(doc) == doc
