"""Resources as people read them: Envoy's own names and types, and nothing secret."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format
from typer.testing import CliRunner

from tests.support import objects
from tests.unit.test_pipeline import _changes as changes
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import NamespacedName, TypeUrl
from xds_server.cli import cli
from xds_server.core.layers import NO_FILE
from xds_server.pb import status_pb2
from xds_server.server import status_client
from xds_server.server.config import RenderFormat
from xds_server.server.explain import explain
from xds_server.server.facts import Explanation
from xds_server.server.pipeline import Pipeline, Published
from xds_server.server.render import render, typed
from xds_server.translate.readable import readable
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE


@pytest.fixture(scope="module")
def published() -> Published:
    """A Service with a canary that has a credential and a script."""
    pipeline = Pipeline(gateway_port=8080, expose_all=False, installation=replace(NO_FILE, credentials=True))
    found = changes(
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
        objects.canary(credential_from_secret="token/key", max_rps="5"),  # noqa: S106 - a name
        objects.pod("canary-1", Address("10.0.0.2", 80)),
        {**objects.secret("token"), "data": {"key": "QmVhcmVyIGFiYw=="}},
    )
    return pipeline.step(found, now=0.0)


def test_all_forms_have_every_resource_and_no_secret(published: Published) -> None:
    text = render(published.snapshot, RenderFormat.YAML)
    shown = yaml.safe_load(text)
    assert json.loads(render(published.snapshot, RenderFormat.JSON)) == shown
    assert [each["name"] for each in shown["clusters"]] == [
        "staging/myapp/http",
        "staging/myapp/http/shadow/myapp-canary",
    ]
    [secret] = shown["secrets"]
    assert secret["generic_secret"] == {"secret": {"inline_string": "(hidden)"}}
    static = yaml.safe_load(render(published.snapshot, RenderFormat.STATIC))["static_resources"]
    assert [each["load_assignment"]["cluster_name"] for each in static["clusters"]] == [
        each["name"] for each in shown["clusters"]
    ]
    assert "Bearer" not in text + json.dumps(static)
    assert "|\n" in text, "a script is a block of lines"


def explanation_of(published: Published) -> status_pb2.ExplainResponse:
    found = explain(published, NamespacedName("staging", "myapp-canary"))
    assert isinstance(found, Explanation)
    resources = [
        status_pb2.Resource(type_url=each.key.type_url, name=each.name, body=each.body)
        for each in found.resources
    ]
    return status_pb2.ExplainResponse(resources=resources)


@pytest.mark.parametrize("output", [[], ["-o", "json"]], ids=["yaml", "json"])
def test_explain_prints_resources_that_envoy_reads_with_their_types(
    published: Published, monkeypatch: pytest.MonkeyPatch, output: list[str]
) -> None:
    monkeypatch.setattr(status_client, "get_explanation", lambda *_: explanation_of(published))
    printed = CliRunner().invoke(cli, ["explain", "staging/myapp-canary", "--config", *output])
    assert printed.exit_code == 0, printed.output
    found: list[dict[str, Any]] = (
        json.loads(printed.stdout) if output else list(yaml.safe_load_all(printed.stdout))
    )
    assert [each["@type"] for each in found] == [ROUTE, CLUSTER, ENDPOINT, CLUSTER, ENDPOINT]
    shadow = found[3]
    assert (shadow["name"], shadow["type"]) == ("staging/myapp/http/shadow/myapp-canary", "EDS")
    del shadow["@type"]
    body = next(each.body for each in explanation_of(published).resources if each.name == shadow["name"])
    assert json_format.ParseDict(shadow, cluster_pb2.Cluster()) == cluster_pb2.Cluster.FromString(body)


def test_a_resource_of_another_version_is_named() -> None:
    cluster = cluster_pb2.Cluster(name="a")
    cluster.typed_extension_protocol_options["x"].type_url = "type.googleapis.com/envoy.of.Tomorrow"
    for type_url, body in ((CLUSTER, cluster.SerializeToString()), (TypeUrl("type/of.Tomorrow"), b"")):
        with pytest.raises(XdsShadowError, match=r"of\.Tomorrow.*use the version of the server"):
            typed([(type_url, body)])


def test_the_fields_of_an_access_log_are_in_one_order_in_each_process() -> None:
    """Protobuf orders the keys of a map by a seed of the process."""
    metadata = {"b": {"z": 1, "a": [{"d": 1, "c": 2}]}, "a": {}}
    cluster = json_format.ParseDict({"metadata": {"filter_metadata": metadata}}, cluster_pb2.Cluster())
    found = readable(CLUSTER, cluster.SerializeToString())
    expected = {"a": {}, "b": {"a": [{"c": 2.0, "d": 1.0}], "z": 1.0}}
    assert json.dumps(found["metadata"]["filter_metadata"]) == json.dumps(expected)
