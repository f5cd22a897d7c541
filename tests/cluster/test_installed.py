"""The installation on a real API server: admission, RBAC and tokens are decided there."""

import json
from typing import Any

import pytest

from tests.cluster.fleet import Fleet
from tests.cluster.installation import SERVICE_ACCOUNT, Installation
from tests.cluster.namespace import CANARY, SERVICE, STABLE, Namespace, Received
from tests.cluster.servers import Servers
from tests.support.installation import REPOSITORY
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.envoy]


async def test_envoys_mirror_once_a_canary_is_marked(fleet: Fleet, namespace: Namespace) -> None:
    await eventually(lambda: fleet.served(namespace.host), what="a route")
    assert (await namespace.received(CANARY)) == Received(0, 0)
    await namespace.mark()
    await namespace.until_event("ShadowActive")
    for envoy in fleet.envoys:
        before = (await namespace.received(CANARY)).mirrored

        async def mirrored() -> bool:
            status, body = await fleet.get(envoy, namespace.host)  # noqa: B023 - awaited before the next one
            assert (status, body.split(" ")[0]) == (200, "backend-v1:latest")
            return (await namespace.received(CANARY)).mirrored > before  # noqa: B023

        await eventually(mirrored, what=f"a mirrored request from {envoy.id}")
    canary = await namespace.received(CANARY)
    assert canary.total == canary.mirrored
    await namespace.mark(None)
    await namespace.until_event("ShadowStopped")


async def test_the_server_grants_all_that_the_control_plane_asks_for(
    servers: Servers, installation: Installation, namespace: Namespace
) -> None:
    await namespace.mark()
    await namespace.until_event("ShadowActive")
    replicas = await installation.replicas()
    asked = [each for each in servers.requests() if each["user"]["username"] == SERVICE_ACCOUNT]
    assert [each["requestURI"] for each in asked if _is_denied(each["responseStatus"])] == []
    verbs = {(each["verb"], each["objectRef"]["resource"]) for each in asked}
    assert {
        ("watch", "pods"),
        ("watch", "endpointslices"),
        ("create", "events"),
        ("update", "leases"),
    } <= verbs
    pods = {name for each in asked for name in each["user"]["extra"]["authentication.kubernetes.io/pod-name"]}
    assert pods >= set(replicas), "every replica uses a token that is bound to its Pod"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "secrets", "-A"),
        ("create", "pods", "-A"),
        ("patch", "deployments", "-A"),
        ("delete", "services", "-A"),
        ("update", "leases", "-n", "kube-system"),
    ],
    ids=" ".join,
)
async def test_the_server_denies_everything_else(
    installation: Installation, arguments: tuple[str, ...]
) -> None:
    ran = await installation.kubectl.run("auth", "can-i", *arguments, "--as", SERVICE_ACCOUNT)
    assert (ran.code, ran.out.strip()) == (1, "no")


async def test_the_token_of_a_deleted_pod_is_invalid(servers: Servers, installation: Installation) -> None:
    pod = min(await installation.replicas())
    token = (servers.directory / f"{pod}.serviceaccount" / "token").read_text()
    kubeconfig = servers.directory / "token.kubeconfig"
    kubeconfig.write_text("")
    access = {"KUBECONFIG": str(kubeconfig)}
    server = ["--server=https://10.77.0.1:6443", f"--certificate-authority={servers.directory / 'ca.crt'}"]
    whoami = [*server, f"--token={token}", "auth", "whoami", "-o", "json"]
    user = json.loads(await installation.kubectl(*whoami, **access))["status"]["userInfo"]
    assert user["username"] == SERVICE_ACCOUNT
    await installation.kubectl("delete", "pod", pod, "--wait=true")

    async def rejected() -> bool:
        ran = await installation.kubectl.run(*whoami, **access)
        return ran.code != 0 and "Unauthorized" in ran.err

    await eventually(rejected, what="the token rejected")
    await _two_replicas(installation)


async def test_the_leader_is_replaced(installation: Installation, namespace: Namespace) -> None:
    await _two_replicas(installation)
    first = await installation.leader()
    assert first in await installation.replicas()
    await installation.kubectl("delete", "pod", first, "--wait=false")

    async def replaced() -> bool:
        leader = await installation.leader()
        return leader not in ("", first) and leader in await installation.replicas()

    await eventually(replaced, what="another leader")
    await namespace.mark()
    await namespace.until_event("ShadowActive")
    events = (await namespace.kubectl.get("events"))["items"]
    [count] = [event.get("count", 1) for event in events if event["reason"] == "ShadowActive"]
    assert count == 1, "one replica writes Events"
    await _two_replicas(installation)


async def test_pod_security_admits_the_installation_and_rejects_privileges(
    installation: Installation,
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": True}}]},
    }
    message = await installation.kubectl.fails("create", "-f", "-", stdin=pod)
    assert 'violates PodSecurity "restricted' in message


async def test_the_admission_policy_decides_who_may_mark(namespace: Namespace) -> None:
    directory = str(REPOSITORY / "manifests" / "admission")
    developer = f"developer@{namespace.name}"
    kubectl = namespace.kubectl
    await kubectl("create", "rolebinding", "developer", "--clusterrole=edit", f"--user={developer}")
    await kubectl("apply", "-k", directory)
    mark = ["label", "deployment", CANARY, f"xds-shadow.io/shadow-of={SERVICE}", "--as", developer]
    try:
        # The API server compiles the policy a moment after it has accepted it.
        async def forbidden() -> bool:
            ran = await kubectl.run(*mark, "--dry-run=server")
            return ran.code != 0 and f"{developer} may not write labels and annotations" in ran.err

        await eventually(forbidden, what="the policy in force")
        await kubectl("set", "image", f"deployment/{STABLE}", "*=backend-v1:latest", "--as", developer)
        await kubectl(
            "create", "rolebinding", "starter", "--clusterrole=xds-shadow-starter", f"--user={developer}"
        )

        async def allowed() -> bool:
            return (await kubectl.run(*mark)).code == 0

        await eventually(allowed, what="the permission in force")
        await namespace.until_event("ShadowActive")
    finally:
        await kubectl("delete", "-k", directory)


async def test_the_plugin_reads_a_replica_through_port_forward(
    installation: Installation, namespace: Namespace
) -> None:
    await namespace.mark()
    await namespace.until_event("ShadowActive")
    status = await installation.plugin("status")
    assert "Active" in status
    assert f"{namespace.name}/{CANARY}" in status


def _is_denied(status: dict[str, Any]) -> bool:
    """Nobody may create Events in a namespace that is being deleted; that is no matter of permissions."""
    terminating = "because it is being terminated" in status.get("message", "")
    return status.get("code") in (401, 403) and not terminating


async def _two_replicas(installation: Installation) -> None:
    async def there() -> bool:
        return len(await installation.replicas()) == 2

    await eventually(there, what="two replicas")
