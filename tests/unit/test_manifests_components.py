"""What the components `tls` and `sidecar` make of the installation, and of a user's Deployment; and every
combination that docs/install.md tells of, by Kubernetes' own schemas and its security standard. That
certificates are taken as the kubelet mounts them is tests/envoy/test_tls.py's part."""

import contextlib
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from tests.support.cli import run
from tests.support.installation import (
    INSTALL,
    SYSTEM,
    Doc,
    build,
    container_of,
    lay,
    memory_limit,
    named,
    of_kind,
    overlay,
    pod_of,
    ports_of,
    snippet,
)  # fmt: skip
from tests.support.pod_security import containers_of, violations
from tests.support.waiting import PATIENCE_S
from xds_server.cli import cli
from xds_server.local.demo.envoy import envoy_binary
from xds_server.server.identity import read_clients

EVERYTHING = ("cluster", "gateway")
COMBINATIONS = {
    "everything": (["."], []),
    "cluster": (["cluster"], []),
    "namespaced": (["namespaced"], []),
    "namespaced with gateway": (["namespaced", "gateway"], []),
    "credential": (["credential"], []),
    "tls": (EVERYTHING, ["tls"]),
    "tls without gateway": (["cluster"], ["tls/control-plane"]),
    "namespaced, tls": (["namespaced", "gateway"], ["tls"]),
    "network policies": (EVERYTHING, ["network-policies"]),
    "api": (["cluster"], ["api"]),
    "network policies without gateway": (["cluster"], ["network-policies"]),
    "all of it": (EVERYTHING, ["tls", "network-policies", "api"]),
    "all of it, the other way round": (EVERYTHING, ["network-policies", "tls"]),
    "namespaced, all of it": (["namespaced", "gateway"], ["tls", "network-policies"]),
}
SIDECARS = {"sidecar": ["sidecar"], "sidecar with tls": ["sidecar", "tls/sidecar"]}
BOOTSTRAPS = [INSTALL / each for each in ("gateway", "sidecar", "tls/gateway", "tls/sidecar")]
KUBERNETES = "1.30"
"""The oldest that docs/install.md names, and its newest schema is the other one that is tried."""


@pytest.fixture(scope="module", params=COMBINATIONS)
def docs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Doc]:
    resources, components = COMBINATIONS[request.param]
    return overlay(tmp_path_factory.mktemp("overlay"), resources=resources, components=components)


def sidecars(directory: Path, components: list[str], *files: str) -> list[Doc]:
    """The page's kustomization for a sidecar, with these components and further files."""
    lay(directory, snippet("shop.yaml"), snippet("kustomization.yaml", "shop.yaml"), *files)
    kustomization = directory / "kustomization.yaml"
    doc = yaml.safe_load(kustomization.read_text())
    doc["components"] = [f"xds-shadow/manifests/install/{each}" for each in components]
    kustomization.write_text(yaml.safe_dump(doc))
    return build(directory)


@pytest.fixture(scope="module", params=SIDECARS)
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Doc]:
    return sidecars(tmp_path_factory.mktemp("sidecar"), SIDECARS[request.param])


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> list[Doc]:
    return overlay(tmp_path_factory.mktemp("tls"), resources=EVERYTHING, components=["tls"])


# --- every combination


def valid(docs: list[Doc]) -> None:
    for doc in docs:
        for version in (KUBERNETES, kubernetes_validate.latest_version()):
            kubernetes_validate.validate(doc, version, strict=True)


def whole(docs: list[Doc]) -> None:
    """What Pods mount is there, or is a Secret of the table in the page; ports that are named exist; and the
    Pods may run where `restricted` is enforced."""
    configs = {
        (each["metadata"]["namespace"], each["metadata"]["name"]) for each in of_kind(docs, "ConfigMap")
    }
    mounted = set()
    for deployment in of_kind(docs, "Deployment"):
        pod = pod_of(deployment)
        volumes = {each["name"]: each for each in pod.get("volumes", ())}
        for container in containers_of(pod):
            names = [each["name"] for each in container.get("ports", ())]
            assert len(set(names)) == len(names)
            for kind in ("readinessProbe", "startupProbe", "livenessProbe"):
                probe = container.get(kind, {})
                for how in ("httpGet", "tcpSocket"):
                    assert probe.get(how, {}).get("port", None) in (*names, None)
                assert len(probe.keys() & {"httpGet", "tcpSocket", "grpc"}) == bool(probe)
            assert {each["name"] for each in container.get("volumeMounts", ())} <= volumes.keys()
            assert all(each["readOnly"] for each in container.get("volumeMounts", ()))
        for volume in volumes.values():
            if "configMap" in volume:
                mounted.add((deployment["metadata"]["namespace"], volume["configMap"]["name"]))
    assert mounted == configs
    for service in of_kind(docs, "Service"):
        [pod] = [
            each
            for each in of_kind(docs, "Deployment")
            if service["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(pod).keys()


def test_it_is_valid_for_kubernetes(docs: list[Doc]) -> None:
    valid(docs)


def test_it_is_whole_and_restricted(docs: list[Doc]) -> None:
    whole(docs)
    for deployment in of_kind(docs, "Deployment"):
        assert violations(pod_of(deployment)) == []


def test_the_real_command_line_takes_its_arguments(docs: list[Doc]) -> None:
    for deployment in of_kind(docs, "Deployment"):
        name, *args = container_of(deployment)["args"]
        if deployment["metadata"]["name"] == "xds-shadow":
            options = command(name).make_context(name, args).params
            assert options["insecure"] == (options["tls_cert"] is None)


def test_the_checks_see_what_is_wrong(tls: list[Doc]) -> None:
    changes: list[Doc] = [
        {"hostNetwork": True},
        {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        {"securityContext": {}},
    ]
    for change in changes:
        assert violations({**pod_of(named(tls, "Deployment", "xds-shadow")), **change})
    with pytest.raises(kubernetes_validate.ValidationError):
        valid([{**named(tls, "Service", "xds-shadow"), "specs": {}}])


def command(name: str) -> Any:
    return typer.main.get_command(cli).commands[name]  # type: ignore[attr-defined]


# --- mutual TLS


def options_of(docs: list[Doc]) -> dict[str, Any]:
    name, *args = container_of(named(docs, "Deployment", "xds-shadow"))["args"]
    return dict(command(name).make_context(name, args).params)


def mounts_of(container: Doc, pod: Doc) -> dict[str, Doc]:
    volumes = {each["name"]: each for each in pod["volumes"]}
    return {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}


def test_the_control_plane_reads_what_is_mounted(tls: list[Doc]) -> None:
    deployment, options = named(tls, "Deployment", "xds-shadow"), options_of(tls)
    mounts = mounts_of(container_of(deployment), pod_of(deployment))
    assert mounts["/tls"]["secret"] == {"secretName": "xds-shadow-tls"}
    paths = [options[each] for each in ("tls_cert", "tls_key", "tls_client_ca")]
    assert [str(each) for each in paths] == ["/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt"]
    [config] = [each for each in of_kind(tls, "ConfigMap") if "clients.yaml" in each["data"]]
    assert mounts[str(options["tls_clients"].parent)]["configMap"]["name"] == config["metadata"]["name"]
    assert options["tls_clients"].name in config["data"]
    assert "subPath" not in str(tls), "the kubelet renews no file that is mounted so"


def test_the_kubelet_asks_over_http(tls: list[Doc]) -> None:
    container = container_of(named(tls, "Deployment", "xds-shadow"))
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


def test_other_arguments_than_the_component_knows_build_nothing(tmp_path: Path) -> None:
    overlay(tmp_path, resources=["cluster"])
    base = tmp_path / "xds-shadow" / "manifests" / "install" / "base" / "deployment.yaml"
    base.write_text(
        base.read_text().replace(
            "            - --xds-address", "            - --page\n            - --xds-address"
        )
    )
    assert "--page" in str(overlay(tmp_path, resources=["cluster"]))
    with pytest.raises(AssertionError, match="testing value"):
        overlay(tmp_path, resources=["cluster"], components=["tls/control-plane"])


def certificates() -> list[Doc]:
    """What cert-manager is asked for, by the installation and by the page."""
    found = build(INSTALL / "tls" / "cert-manager")
    return [*of_kind(found, "Certificate"), yaml.safe_load(snippet("certificate.yaml"))]


def test_the_certificates_are_for_the_secrets_that_pods_mount(tls: list[Doc], tmp_path: Path) -> None:
    mounted = {
        (deployment["metadata"]["namespace"], volume["secret"]["secretName"])
        for deployment in of_kind([*tls, *sidecars(tmp_path, SIDECARS["sidecar with tls"])], "Deployment")
        for volume in pod_of(deployment)["volumes"]
        if "secret" in volume
    }
    made = {(each["metadata"]["namespace"], each["spec"]["secretName"]) for each in certificates()}
    assert made == mounted | {("cert-manager", "xds-shadow-ca")}


def test_the_certificates_have_the_names_that_are_asked_for(tls: list[Doc], tmp_path: Path) -> None:
    by_secret = {each["spec"]["secretName"]: each["spec"] for each in certificates()}
    for directory in BOOTSTRAPS[2:]:
        cluster, *_ = yaml.safe_load((directory / "envoy.yaml").read_text())["static_resources"]["clusters"]
        context = cluster["transport_socket"]["typed_config"]["common_tls_context"]
        validation = context["combined_validation_context"]["default_validation_context"]
        [name] = validation["match_typed_subject_alt_names"]
        assert [name["matcher"]["exact"]] == by_secret["xds-shadow-tls"]["dnsNames"]
    [config] = [each for each in of_kind(tls, "ConfigMap") if "clients.yaml" in each["data"]]
    (tmp_path / "clients.yaml").write_text(config["data"]["clients.yaml"])
    clients = read_clients(tmp_path / "clients.yaml")
    assert clients
    [listed] = clients
    assert [listed] == by_secret["xds-shadow-gateway-tls"]["uris"]
    account = pod_of(named(tls, "Deployment", "xds-shadow-gateway"))["serviceAccountName"]
    assert listed.endswith(f"/ns/{SYSTEM}/sa/{account}")
    assert named(tls, "ServiceAccount", account)["automountServiceAccountToken"] is False


def test_every_certificate_has_an_issuer_and_only_the_authority_is_one() -> None:
    issuers = {
        each["metadata"]["name"]: each["spec"]
        for each in of_kind(build(INSTALL / "tls/cert-manager"), "ClusterIssuer")
    }
    for each in certificates():
        spec = each["spec"]
        assert spec["issuerRef"]["kind"] == "ClusterIssuer"
        issuer = issuers[spec["issuerRef"]["name"]]
        if spec.get("isCA"):
            assert issuer == {"selfSigned": {}}
        else:
            assert issuer == {"ca": {"secretName": "xds-shadow-ca"}}
            assert {"server auth", "client auth"} & set(spec["usages"])


def test_the_clients_of_the_page_take_the_place_of_the_components(tmp_path: Path) -> None:
    docs = build(lay(tmp_path, snippet("kustomization.yaml", "clients.yaml")))
    [config] = [each for each in of_kind(docs, "ConfigMap") if "clients.yaml" in each["data"]]
    (tmp_path / "read.yaml").write_text(config["data"]["clients.yaml"])
    clients = read_clients(tmp_path / "read.yaml")
    assert clients is not None
    assert clients["envoy-7.example.com"] == frozenset({"staging", "production"})
    assert clients[f"spiffe://cluster.local/ns/{SYSTEM}/sa/xds-shadow-gateway"] is None
    [shop] = [each["spec"] for each in certificates() if each["metadata"]["name"] == "xds-shadow-envoy"]
    assert clients[shop["uris"][0]] == frozenset({"staging"})
    whole(docs)


# --- sidecars


def sidecar_of(docs: list[Doc]) -> tuple[Doc, Doc]:
    pod = pod_of(named(docs, "Deployment", "shop"))
    [container] = pod["initContainers"]
    return pod, container


def test_a_sidecar_is_valid_whole_and_restricted_by_itself(beside: list[Doc]) -> None:
    valid(beside)
    whole(beside)
    pod, container = sidecar_of(beside)
    assert container["restartPolicy"] == "Always"
    assert violations({**pod, "containers": []}) == []


def test_a_sidecar_differs_by_its_pod_alone(beside: list[Doc]) -> None:
    _, container = sidecar_of(beside)
    variables = [each["name"] for each in container["env"]]
    assert variables == ["POD_NAME", "POD_NAMESPACE", "NAMESPACES"], "each may name those before it"
    laid = yaml.safe_load(container["args"][container["args"].index("--config-yaml") + 1])
    assert laid["node"]["id"] == "$(POD_NAME).$(POD_NAMESPACE)"
    assert laid["node"]["metadata"] == {"xds-shadow.io/namespaces": "$(NAMESPACES)"}


def test_a_sidecar_listens_for_its_pod_and_keeps_to_its_memory(beside: list[Doc]) -> None:
    _, container = sidecar_of(beside)
    [config] = of_kind(beside, "ConfigMap")
    bootstrap = yaml.safe_load(config["data"]["envoy.yaml"])
    assert bootstrap["node"]["metadata"]["xds-shadow.io/gateway-address"] == "127.0.0.1"
    [ready] = bootstrap["static_resources"]["listeners"]
    [port] = container["ports"]
    assert (port["name"], port["containerPort"]) == (
        container["startupProbe"]["tcpSocket"]["port"],
        ready["address"]["socket_address"]["port_value"],
    )
    heap = int(bootstrap["overload_manager"]["resource_monitors"][0]["typed_config"]["max_heap_size_bytes"])
    assert heap < memory_limit(container)


def test_only_marked_workloads_of_each_kind_get_one(tmp_path: Path) -> None:
    marked = yaml.safe_load(snippet("shop.yaml"))
    plain = {**marked, "metadata": {"name": "plain"}}
    others = [
        {**marked, "kind": kind, "metadata": {**marked["metadata"], "name": kind.lower()}}
        for kind in ("StatefulSet", "DaemonSet")
    ]
    shop = "# shop.yaml\n" + yaml.safe_dump_all([marked, plain, *others])
    docs = sidecars(tmp_path, SIDECARS["sidecar with tls"], shop)
    found = {each["metadata"]["name"] for each in docs if "initContainers" in str(each)}
    assert found == {"shop", "statefulset", "daemonset"}


def test_the_images_are_the_envoy_that_the_tests_run(beside: list[Doc], tls: list[Doc]) -> None:
    gateway = container_of(named(tls, "Deployment", "xds-shadow-gateway"))
    assert sidecar_of(beside)[1]["image"] == gateway["image"]


# --- the bootstraps


@pytest.mark.parametrize("directory", BOOTSTRAPS, ids=lambda each: str(each.relative_to(INSTALL)))
def test_a_bootstrap_is_what_its_command_prints(directory: Path, tmp_path: Path) -> None:
    first, _, rest = (directory / "envoy.yaml").read_text().partition("\n")
    _, arguments = first.split("`make generate`: xds-shadow ")
    with contextlib.chdir(tmp_path):
        found = run(*shlex.split(arguments))
    assert (found.returncode, found.stdout) == (0, rest), found.stderr
    for each in tmp_path.iterdir():
        assert each.read_text() == (directory / each.name).read_text()
    assert len(list(tmp_path.iterdir())) == (2 if "--tls-cert" in arguments else 0)


@cache
def validated(text: str, directory: Path) -> str:
    """What ``envoy --mode validate`` says of a bootstrap."""
    (directory / "envoy.yaml").write_text(text)
    found = subprocess.run(
        [envoy_binary(), "--mode", "validate", "--config-path", str(directory / "envoy.yaml")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return "OK" if found.returncode == 0 else found.stderr


@pytest.mark.envoy
@pytest.mark.parametrize("directory", BOOTSTRAPS, ids=lambda each: str(each.relative_to(INSTALL)))
def test_envoy_takes_a_bootstrap(directory: Path, tmp_path: Path) -> None:
    for each in directory.glob("*.yaml"):
        shutil.copy(each, tmp_path)
    # Where it is mounted, which is not on this machine.
    text = (directory / "envoy.yaml").read_text().replace("/etc/envoy/", f"{tmp_path}/")
    assert validated(text, tmp_path) == "OK"
