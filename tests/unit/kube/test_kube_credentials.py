"""Credentials that change while the control plane runs: tokens on disk, and those that a plugin hands out."""

import ssl
import stat
import sys
from pathlib import Path

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from tests.support.recorder import running
from tests.unit.kube.api_server import FAST, ApiServer
from tests.unit.kube.manifests import service
from xds_server.core.objects import Kind
from xds_server.core.world import Report
from xds_server.kube.session import connect
from xds_server.kube.source import KubeSource


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first")
    return path


async def follow_a_change_of_token(api: ApiServer, source: KubeSource, token: Path) -> None:
    """The server no longer takes the old token; what happens next arrives, and nothing was reported."""

    def change() -> None:
        token.write_text("second")
        api.credential = "second"

    api.credential = "first"
    api.put(service("before"))
    async with running(source) as recorder:
        assert recorder.names(Kind.SERVICE) == {"before"}
        await api.until_watched("Service")
        change()
        api.cut()
        api.put(service("after"))
        await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"before", "after"})
        assert api.count("list", "Service") == 1
        assert not any(isinstance(change, Report) for change in recorder.changes)


async def test_a_rotated_service_account_token_is_read_from_disk(
    api: ApiServer, tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "ca.crt"
    certificate.write_text("not read: the test's server has no TLS")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    context = ssl.create_default_context()
    monkeypatch.setattr("kubernetes.aio.client.rest.ssl.create_default_context", lambda **_: context)

    # The loader always says https; the test's server has none.
    here = property(lambda _: api.url, lambda _, __: None)
    monkeypatch.setattr(incluster_config.InClusterConfigLoader, "host", here, raising=False)
    await follow_a_change_of_token(api, KubeSource(connect, timing=FAST), token)


async def test_an_expired_credential_is_asked_of_the_plugin_again(
    api: ApiServer, tmp_path: Path, token: Path
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib\n"
        f"token = pathlib.Path({str(token)!r}).read_text()\n"
        "kind = {'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential'}\n"
        "print(json.dumps({**kind, 'status': {'token': token}}))\n"
    )
    plugin.chmod(stat.S_IRWXU)
    path = tmp_path / "kubeconfig"
    run = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": api.url}}],
                "users": [{"name": "u", "user": {"exec": run}}],
            }
        )
    )
    await follow_a_change_of_token(api, KubeSource(lambda: connect(path), timing=FAST), token)
