"""Secrets: only those that a canary names and somebody allowed are asked for; no error shows a value."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.recorder import Recorder, running
from tests.unit.kube.api_server import FAST, ApiServer, source
from tests.unit.kube.manifests import Doc, canary, namespace, secret, service
from xds_server.core.decode import DecodeError, from_mapping
from xds_server.core.objects import Kind, Secret
from xds_server.kube.source import KubeSource
from xds_server.manifests.source import read_once

FROM_SECRET = "xds-shadow.io/credential-from-secret"  # noqa: S105 - a name


def using(name: str, credential: str) -> Doc:
    found = canary(name)
    found["metadata"]["annotations"] = {FROM_SECRET: credential}
    return found


def secrets(recorder: Recorder) -> set[str]:
    return recorder.names(Kind.SECRET)


def data(recorder: Recorder, name: str) -> dict[str, str]:
    return recorder.world.view("staging").secrets[name].data or {}


def narrowed(api: ApiServer) -> set[tuple[str, str, str]]:
    """Namespace and selectors of every request for Secrets."""
    return {
        (request.namespace, request.parameters["labelSelector"], request.parameters["fieldSelector"])
        for request in api.requests
        if request.kind == "Secret"
    }


class TestFromTheApi:
    async def test_no_secret_is_asked_for_while_no_canary_names_one(self, api: ApiServer) -> None:
        api.put(canary("one"), secret("token", key="a"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Pod")
            assert secrets(recorder) == set()
            assert narrowed(api) == set()

    async def test_one_is_followed_by_its_name_and_its_label_for_as_long_as_it_is_named(
        self, api: ApiServer
    ) -> None:
        api.put(using("one", "token/key"), secret("token", key="a"), secret("other", key="b"))
        async with running(source(api)) as recorder:
            await recorder.until(lambda: secrets(recorder) == {"token"})
            await api.until_watched("Secret", "Deployment")
            api.put(secret("token", key="c"), secret("other", key="d"))
            await recorder.until(lambda: data(recorder, "token") == {"key": "Yw=="})
            api.put(secret("token", allow="false", key="e"))
            await recorder.until(lambda: secrets(recorder) == set())
            api.put(secret("token", key="e"))
            await recorder.until(lambda: secrets(recorder) == {"token"})
            assert narrowed(api) == {("staging", "xds-shadow.io/allow=true", "metadata.name=token")}
            api.put(canary("one"))
            await recorder.until(lambda: secrets(recorder) == set())

    async def test_a_default_of_the_namespace_names_one_too(self, api: ApiServer) -> None:
        api.put(canary("one"), secret("token", key="a"))
        async with running(source(api)) as recorder:
            await api.until_watched("Deployment", "Namespace")
            api.put(namespace("staging", annotations={FROM_SECRET: "token/key"}))
            await recorder.until(lambda: secrets(recorder) == {"token"})
            await api.until_watched("Namespace")
            api.delete(namespace("staging"))
            await recorder.until(lambda: secrets(recorder) == set())

    async def test_the_installation_names_one_for_every_namespace_with_a_canary(self, api: ApiServer) -> None:
        api.put(canary("one"), secret("token", key="a"), secret("token", "production", key="a"))
        following = KubeSource(api.connect, timing=FAST, installation={"credential-from-secret": "token/key"})
        async with running(following) as recorder:
            await recorder.until(lambda: secrets(recorder) == {"token"})
            assert narrowed(api) == {("staging", "xds-shadow.io/allow=true", "metadata.name=token")}

    async def test_one_that_may_not_be_read_is_a_problem_and_holds_up_nothing(self, api: ApiServer) -> None:
        api.reject["list", "Secret"] = 403
        api.put(using("one", "token/key"), service("web"))
        async with running(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            (problem,) = recorder.problems
            assert recorder.names(Kind.SERVICE) == {"web"}
            assert problem.message.startswith("No permission to list secret token in namespace staging")
            assert problem.message.endswith(
                'grant list and watch on "secrets" of API group "" with resourceNames ["token"].'
            )
            del api.reject["list", "Secret"]
            api.put(secret("token", key="a"))
            await recorder.until(lambda: secrets(recorder) == {"token"} and recorder.problems == [])


class TestFromFiles:
    def test_values_as_they_are_come_as_they_would_from_an_api_server(self) -> None:
        document: dict[str, Any] = {**secret("token", a="1", b="2"), "stringData": {"b": "two", "c": "ä"}}
        found = from_mapping(document, "a.yaml")
        assert isinstance(found, Secret)
        assert found.data == {"a": "MQ==", "b": "dHdv", "c": "w6Q="}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"data": {"key": "hunter2"}},
                "data['key'] is not base64; write the value as it is under stringData.",
            ),
            ({"data": {"key": 42424242}}, "data['key'] is not a string; quote it."),
            ({"stringData": {"key": 42424242}}, "stringData['key'] is not a string; quote it."),
            ({"stringData": ["hunter2"]}, "stringData is not a mapping."),
            ({"data": "hunter2"}, "data is not a mapping."),
            (
                {"data": {"a b": "aHVudGVyMg=="}},
                "data has the key 'a b': use letters, digits, '-', '_' and '.'.",
            ),
            (
                {"stringData": {"a/b": "hunter2"}},
                "data has the key 'a/b': use letters, digits, '-', '_' and '.'.",
            ),
        ],
    )
    def test_a_mistake_is_reported_without_the_value(self, change: Doc, message: str) -> None:
        with pytest.raises(DecodeError) as rejection:
            from_mapping({**secret("token"), **change}, "a.yaml")
        assert rejection.value.problem.message == message
        assert "hunter2" not in str(rejection.value) + repr(rejection.value.problem)

    @pytest.mark.parametrize(
        "text",
        [
            "kind: Secret\nstringData:\n  key: hunter2: x\n",
            "kind: Secret\nstringData: {key: hunter2\n",
            'kind: Secret\nstringData:\n  key: "hunter2\n',
            "kind: Secret\nstringData:\n  key: @hunter2\n",
            "kind: Secret\nstringData:\n  key: !hunter2 x\n",
            "kind: Secret\nstringData:\n  key: *hunter2\n",
            "kind: Secret\nstringData:\n  key: !!int hunter2\n",
        ],
    )
    def test_no_text_of_a_file_that_is_no_yaml_is_shown(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.yaml").write_text(text)
        shown = repr(read_once([tmp_path]))
        assert "a.yaml" in shown
        assert "hunter2" not in shown
