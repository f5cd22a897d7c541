"""An installation is granted what the control plane asks for, and nothing besides.

(`tests/conftest.py` compares the calls of the whole run with the rules. Here one story makes every kind of
call, so that a rule that nothing needs is found too.)
"""

from pathlib import Path
from typing import Any

from tests.kube.cluster import Cluster, deployment, endpoint_slice, service
from tests.kube.control_plane import control_plane
from tests.support.embedded import Embedded, embedded
from tests.support.installation import INSTALL, SYSTEM, build
from tests.support.rbac import rules
from tests.support.waiting import eventually
from xds_server.core.conditions import Condition
from xds_server.core.objects import Kind
from xds_server.kube.client import KubeClient
from xds_server.local.kubeapi.server import Call
from xds_server.server.config import SourceConfig
from xds_server.server.wiring import read_once

Granted = set[tuple[str, str, str]]


def asked(kube: Embedded) -> Granted:
    """The verbs, groups and resources of what the control plane asked for."""
    return {(call.verb, call.group, call.resource) for call in kube.asked()}


async def story(kube: Embedded, kubeconfig: Path, namespaces: tuple[str, ...] = ()) -> list[Condition]:
    """A Service and its canary come, the canary's state goes forth and back; returns what was wrong."""
    client = await KubeClient.open(kube.connect)
    try:
        server = Cluster(kube.connect, "staging", client)
        await server.create_namespace(SYSTEM)
        await server.create_namespace("staging")
        await server.create("services", service("web", {"xds-shadow.io/expose": "true"}))
        await server.create("endpointslices", endpoint_slice("web-1", "web", "10.0.0.1"))
        await server.create("deployments", deployment("canary", shadow_of="web"))
        await server.create_ready_pod("canary-1", {"app": "canary"})
        async with control_plane(kubeconfig, namespaces) as app:
            await eventually(lambda: written(kube, "ShadowActive") == 1, what="an Event")
            await server.mark("canary", None)
            await eventually(lambda: written(kube, "ShadowStopped") == 1, what="an Event")
            await server.mark("canary", "web")
            await eventually(lambda: written(kube, "ShadowActive") == 2, what="the Event counted up")
            renewed = ("update", "coordination.k8s.io", "leases")
            await eventually(lambda: renewed in asked(kube), what="the Lease renewed")
            problems = list(app.reporter.server_state().conditions)
        source = SourceConfig(kubeconfig=kubeconfig, namespaces=namespaces)
        await read_once(source, gateway_port=8080, expose_all=False)
    finally:
        await client.close()
    return problems


def written(kube: Embedded, reason: str) -> int:
    """How often an Event with this reason was seen."""
    return sum(event["count"] for event in kube.documents("events") if event["reason"] == reason)


async def test_the_cluster_wide_rules_are_what_is_asked_for(tmp_path: Path) -> None:
    async with embedded() as kube:
        problems = await story(kube, kube.write_kubeconfig(tmp_path / "kubeconfig"))
        assert problems == []
        granted = {(rule.verb, rule.group, rule.resource) for rule in rules(build(INSTALL / "cluster"))}
        # The embedded API has no optional kind: it answers 404 to such a request, and does not record it.
        optional = {
            (verb, kind.api_version.partition("/")[0], kind.resource)
            for verb in ("list", "watch")
            for kind in Kind
            if not kind.built_in
        }
        assert optional < granted
        assert asked(kube) == granted - optional


async def test_the_namespaced_rules_are_enough(tmp_path: Path) -> None:
    async with embedded() as kube:
        await story(kube, kube.write_kubeconfig(tmp_path / "kubeconfig"), ("staging",))
        granted = list(rules(build(INSTALL / "namespaced")))
        rejected = {
            call
            for call in kube.asked()
            if not any(
                rule.allows(call.verb, call.group, call.resource, call.namespace, call.name)
                for rule in granted
            )
        }
        # Whether the Namespace is labelled is a permission apart, of the component `namespace-labels`.
        assert {call.resource for call in rejected} == {"namespaces"}


async def test_a_secret_is_asked_for_as_its_role_allows(tmp_path: Path) -> None:
    async with embedded() as kube:
        kubeconfig = kube.write_kubeconfig(tmp_path / "kubeconfig")
        client = await KubeClient.open(kube.connect)
        try:
            server = Cluster(kube.connect, "staging", client)
            await server.create_namespace(SYSTEM)
            await server.create_namespace("staging")
            await server.create("deployments", deployment("canary", shadow_of="web"))
            await server.create("secrets", secret("shadow-token"))
            async with control_plane(kubeconfig) as app:
                assert {call.resource for call in kube.asked()}.isdisjoint({"secrets"})
                credential = {"xds-shadow.io/credential-from-secret": "shadow-token/authorization"}
                await server.annotate("deployments", "canary", **credential)
                await eventually(lambda: "watch" in {call.verb for call in of_secrets(kube)})
                assert list(app.reporter.server_state().conditions) == []
            await read_once(SourceConfig(kubeconfig=kubeconfig), gateway_port=8080, expose_all=False)
        finally:
            await client.close()
        granted = list(rules(build(INSTALL / "credential")))
        for call in of_secrets(kube):
            assert any(
                rule.allows(call.verb, call.group, call.resource, call.namespace, call.name)
                for rule in granted
            )
        assert {rule.verb for rule in granted} == {call.verb for call in of_secrets(kube)}


def of_secrets(kube: Embedded) -> list[Call]:
    """What the control plane asked of Secrets."""
    return [call for call in kube.asked() if call.resource == "secrets"]


def secret(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"xds-shadow.io/allow": "true"}},
        "stringData": {"authorization": "Bearer of-the-canary"},
    }
