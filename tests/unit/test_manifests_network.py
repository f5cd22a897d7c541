"""The component `network-policies`: connection by connection, what it lets through in `xds-shadow-system`."""

from pathlib import Path

import pytest

from tests.support.installation import (
    SYSTEM,
    Doc,
    build,
    lay,
    named,
    of_kind,
    overlay,
    page,
    ports_of,
    snippet,
)  # fmt: skip
from tests.support.network_policies import End, Network

XDS, METRICS, PEERS, HTTP, STATS = 18000, 18081, 18083, 8080, 9903
NAMESPACES = {
    SYSTEM: {},
    "staging": {"xds-shadow.io/envoy": "true"},
    "elsewhere": {},
    "monitoring": {},
    "kube-system": {},
}
MARKED = {"xds-shadow.io/envoy": "true"}
PROMETHEUS, DNS = End("monitoring", {"app": "prometheus"}), End("kube-system", {"k8s-app": "kube-dns"})
SIDECAR, APP = End("staging", {"app": "shop", **MARKED}), End("staging", {"app": "myapp"})
BY_ITSELF = End("elsewhere", {"app": "shop", **MARKED})
OUTSIDE = End(address="192.0.2.7")


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> list[Doc]:
    directory = tmp_path_factory.mktemp("overlay")
    return overlay(directory, resources=["cluster", "gateway"], components=["tls", "network-policies"])


def end(docs: list[Doc], name: str) -> End:
    """A Pod of a Deployment, as it would be."""
    deployment = named(docs, "Deployment", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    return End(deployment["metadata"]["namespace"], labels, ports_of(deployment))


@pytest.fixture(scope="module")
def network(docs: list[Doc]) -> Network:
    return Network(of_kind(docs, "NetworkPolicy"), NAMESPACES)


@pytest.fixture(scope="module")
def control_plane(docs: list[Doc]) -> End:
    return end(docs, "xds-shadow")


@pytest.fixture(scope="module")
def gateway(docs: list[Doc]) -> End:
    return end(docs, "xds-shadow-gateway")


def test_only_envoys_reach_the_control_plane(network: Network, control_plane: End, gateway: End) -> None:
    assert network.allows(gateway, control_plane, XDS)
    assert network.allows(SIDECAR, control_plane, XDS)
    for stranger in (BY_ITSELF, APP, PROMETHEUS, OUTSIDE):
        assert not network.allows(stranger, control_plane, XDS)


def test_only_prometheus_reads_metrics(network: Network, control_plane: End, gateway: End) -> None:
    assert network.allows(PROMETHEUS, control_plane, METRICS)
    assert network.allows(PROMETHEUS, gateway, STATS)
    for stranger in (gateway, SIDECAR, APP, OUTSIDE):
        assert not network.allows(stranger, control_plane, METRICS)
        assert not network.allows(stranger, gateway, STATS)


def test_only_labelled_pods_in_labelled_namespaces_ask_for_verdicts(
    docs: list[Doc], control_plane: End
) -> None:
    labels = {"xds-shadow.io/api": "true"}
    network = Network(of_kind(docs, "NetworkPolicy"), {**NAMESPACES, "flagger": labels})
    assert network.allows(End("flagger", {"app": "flagger", **labels}), control_plane, METRICS)
    for stranger in (End("flagger", {"app": "other"}), End("staging", labels)):
        assert not network.allows(stranger, control_plane, METRICS)


def test_no_pod_reaches_an_admin_interface(network: Network, control_plane: End, gateway: End) -> None:
    for somebody in (control_plane, gateway, SIDECAR, PROMETHEUS, OUTSIDE):
        assert not network.allows(somebody, control_plane, 18080)
        assert not network.allows(somebody, gateway, 9901)


def test_only_replicas_reach_each_other(network: Network, control_plane: End, gateway: End) -> None:
    assert network.allows(control_plane, control_plane, PEERS)
    for stranger in (gateway, SIDECAR, APP, PROMETHEUS, OUTSIDE):
        assert not network.allows(stranger, control_plane, PEERS)
    assert all(network.allows(control_plane, DNS, 53, protocol) for protocol in ("UDP", "TCP"))


def test_the_control_plane_goes_to_an_api_server_and_its_replicas_alone(
    network: Network, control_plane: End, gateway: End
) -> None:
    assert all(network.allows(control_plane, OUTSIDE, port) for port in (443, 6443))
    assert not network.allows(control_plane, OUTSIDE, 80)
    assert not network.allows(control_plane, APP, HTTP)
    assert not network.allows(control_plane, gateway, HTTP)


def test_users_reach_the_gateway_and_the_gateway_reaches_pods(network: Network, gateway: End) -> None:
    for user in (APP, PROMETHEUS, OUTSIDE):
        assert network.allows(user, gateway, HTTP)
    for backend in (APP, BY_ITSELF):
        assert network.allows(gateway, backend, 12345)
    assert all(network.allows(gateway, DNS, 53, protocol) for protocol in ("UDP", "TCP"))
    assert not network.allows(gateway, OUTSIDE, 443)


def test_whatever_else_is_in_the_namespace_is_cut_off(network: Network, control_plane: End) -> None:
    other = End(SYSTEM, {"app": "other"})
    assert not network.allows(other, control_plane, XDS)
    assert not network.allows(other, OUTSIDE, 443)
    assert not network.allows(APP, other, 80)


def test_every_policy_selects_pods_and_every_named_port_is_one_of_theirs(docs: list[Doc]) -> None:
    for policy in of_kind(docs, "NetworkPolicy"):
        wanted = policy["spec"]["podSelector"].get("matchLabels", {})
        pods = [
            each
            for each in of_kind(docs, "Deployment")
            if wanted.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(pods) == (1 if wanted else 2)
        ports = {port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule.get("ports", ())}
        assert ports <= ports_of(pods[0]).keys()


def test_the_namespaces_label_of_the_page_lets_a_sidecar_through(docs: list[Doc], tmp_path: Path) -> None:
    assert "kubectl label namespace staging xds-shadow.io/envoy=true" in page()
    pages = lay(tmp_path, snippet("shop.yaml"), snippet("kustomization.yaml", "shop.yaml"))
    deployment = named(build(pages), "Deployment", "shop")
    pod = End(deployment["metadata"]["namespace"], deployment["spec"]["template"]["metadata"]["labels"])
    control_plane = end(docs, "xds-shadow")
    policies = of_kind(docs, "NetworkPolicy")
    assert Network(policies, NAMESPACES).allows(pod, control_plane, XDS)
    assert not Network(policies, {**NAMESPACES, "staging": {}}).allows(pod, control_plane, XDS)


def test_the_api_servers_address_of_the_page_narrows_it(tmp_path: Path) -> None:
    docs = build(lay(tmp_path, snippet("kustomization.yaml", "ipBlock")))
    network, control_plane = Network(of_kind(docs, "NetworkPolicy"), NAMESPACES), end(docs, "xds-shadow")
    assert network.allows(control_plane, End(address="10.0.0.10"), 6443)
    assert not network.allows(control_plane, OUTSIDE, 6443)
