"""What of the cluster itself stops the lines: ports that are not routed, gRPC at HTTP/1, and policies."""

from typing import Any

import pytest

from tests.unit.convert.test_planning import MIRROR, SERVICE, SHOP, route, said, virtual_service
from xds_server.cli.convert.convert import Converted, convert

MIRRORED = route({**MIRROR, **SHOP})


def service(*ports: dict[str, Any], annotations: Any = None) -> dict[str, Any]:
    metadata = {**SERVICE["metadata"], "annotations": annotations or {}}
    return {**SERVICE, "metadata": metadata, "spec": {"selector": {"app": "shop"}, "ports": list(ports)}}


def grpc_route() -> dict[str, Any]:
    return {**MIRRORED, "kind": "GRPCRoute"}


def with_port(**port: Any) -> Converted:
    return convert([grpc_route(), service({"port": 80, **port})])


def test_grpc_at_a_port_of_http_1_does_not_run_and_the_command_is_shown() -> None:
    for found in (with_port(name="http"), with_port()):
        assert found.running == 0
        patch = """'{"spec":{"ports":[{"port":80,"appProtocol":"kubernetes.io/h2c"}]}}'"""
        assert "# does not run: gRPC needs HTTP/2, but port 80 of Service shop is HTTP/1" in said(found)
        assert f"kubectl -n s patch service shop -p {patch}" in said(found)


@pytest.mark.parametrize("port", [{"name": "grpc"}, {"name": "http", "appProtocol": "kubernetes.io/h2c"}])
def test_grpc_at_a_port_of_http_2_runs(port: dict[str, str]) -> None:
    found = with_port(**port)
    assert (found.running, "HTTP/2" in said(found)) == (1, False)


def test_grpc_at_a_service_that_is_not_known_is_named() -> None:
    found = convert([grpc_route()])
    assert (found.running, found.whole) == (1, False)
    assert "Service shop is not in the input; its port must declare HTTP/2" in said(found)


NOT_ROUTED = (
    ([{"name": "https", "port": 80}], "Service shop has no routed port."),
    ([{"name": "web", "port": 80}, {"name": "metrics", "port": 9090}], "Service shop has no routed port."),
    ([{"name": "web", "port": 80}, {"name": "http", "port": 8080}], "port 80 of Service shop is not routed"),
)


@pytest.mark.parametrize(("ports", "why"), NOT_ROUTED)
def test_a_port_that_is_not_routed_stops_the_lines(ports: list[dict[str, Any]], why: str) -> None:
    found = convert([MIRRORED, service(*ports)])
    assert found.running == 0
    assert f"# does not run: {why}" in said(found)
    assert "xds-shadow.io/http-ports" in said(found)


def test_a_port_of_the_annotation_is_routed() -> None:
    ports = ({"name": "web", "port": 80}, {"name": "metrics", "port": 9090})
    found = convert([MIRRORED, service(*ports, annotations={"xds-shadow.io/http-ports": "web"})])
    assert found.running == 1


def test_a_port_that_the_service_does_not_have_leads_to_its_routed_one() -> None:
    assert convert([MIRRORED, service({"name": "http", "port": 8080})]).running == 1


def policy(namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "SecurityPolicy",
        "metadata": {"name": "jwt", "namespace": namespace},
        "spec": spec,
    }


def selected(kind: str) -> dict[str, Any]:
    return {"targetSelectors": [{"kind": kind, "matchLabels": {"a": "b"}}]}


ABOUT_IT = (
    policy("edge", **selected("Gateway")),
    policy("edge", **selected("XListenerSet")),
    policy("edge", targetRef={"kind": "Gateway", "name": "public"}),
    policy("s", **selected("HTTPRoute")),
    policy("s", targetRefs=[{"kind": "HTTPRoute", "name": "shop"}]),
    policy("s", targetSelectors="x"),
)


@pytest.mark.parametrize("doc", ABOUT_IT)
def test_a_policy_that_may_be_about_a_route_stops_it(doc: dict[str, Any]) -> None:
    found = convert([MIRRORED, service({"name": "http", "port": 80}), doc])
    assert found.running == 0
    assert "SecurityPolicy" in said(found)


NOT_ABOUT_IT = (
    policy("edge", **selected("HTTPRoute")),
    policy("s", **selected("GRPCRoute")),
    policy("s", targetRef={"kind": "HTTPRoute", "name": "other"}),
)


@pytest.mark.parametrize("doc", NOT_ABOUT_IT)
def test_a_policy_of_others_does_not(doc: dict[str, Any]) -> None:
    assert convert([MIRRORED, service({"name": "http", "port": 80}), doc]).running == 1


def peers(namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": spec,
    }


MESH = virtual_service(
    hosts=["www.example.com"],
    http=[{"route": [{"destination": {"host": "shop"}}], "mirror": {"host": "shop-next"}}],
)


@pytest.mark.parametrize(
    "doc",
    [
        peers("s", mtls={"mode": "STRICT"}),
        peers("istio-system", mtls={"mode": "STRICT"}),
        peers("s", portLevelMtls={"8080": {"mode": "STRICT"}}),
    ],
)
def test_peers_of_mutual_tls_alone_stop_the_lines(doc: dict[str, Any]) -> None:
    found = convert([MESH, service({"name": "http", "port": 80}), doc])
    assert found.running == 0
    assert "has mode STRICT: xds-shadow connects in plain text" in said(found)


@pytest.mark.parametrize(
    "doc", [peers("s", mtls={"mode": "PERMISSIVE"}), peers("t", mtls={"mode": "STRICT"}), peers("s")]
)
def test_other_peers_do_not(doc: dict[str, Any]) -> None:
    assert convert([MESH, service({"name": "http", "port": 80}), doc]).running == 1
