"""Where `convert` stops, in documents that are too odd or too large for a file of their own."""

from collections.abc import Iterator
from typing import Any

import pytest

from xds_server.cli.convert.convert import Converted, convert
from xds_server.cli.convert.fields import path_text, read
from xds_server.cli.convert.istio import VirtualService

NEXT = {"backendRef": {"name": "shop-next", "port": 80}}
MIRROR = {"filters": [{"type": "RequestMirror", "requestMirror": NEXT}]}
SHOP = {"backendRefs": [{"name": "shop", "port": 80}]}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": "s"},
    "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80}]},
}


def route(*rules: Any, hosts: tuple[str, ...] = ("www.example.com",), name: str = "shop") -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "s"},
        "spec": {"hostnames": list(hosts), "rules": list(rules)},
    }


def virtual_service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": "s"},
        "spec": spec,
    }


def ingress(target: str, host: str) -> dict[str, Any]:
    backend = {"service": {"name": "users", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "shop",
            "namespace": "s",
            "annotations": {"nginx.ingress.kubernetes.io/mirror-target": f"http://{target}$request_uri"},
        },
        "spec": {"rules": [{"host": host, "http": {"paths": [{"path": "/", "backend": backend}]}}]},
    }


def said(found: Converted) -> str:
    return "\n".join(found.lines)


def at(path: str, *headers: str) -> dict[str, Any]:
    match = {"path": {"value": path}, "headers": [{"name": each, "value": "1"} for each in headers]}
    return {"matches": [match]}


def test_too_many_conditions_are_not_compared() -> None:
    many = {**at("/", *(f"x-{number}" for number in range(12))), **SHOP}
    found = convert([route({**MIRROR, **SHOP}, many)])
    assert (found.mirrors, found.running) == (1, 0)
    assert "too many conditions" in said(found)


def test_too_many_conditions_of_a_further_host() -> None:
    many = {**at("/", *(f"x-{number}" for number in range(12))), **SHOP}
    found = convert(
        [
            route({**MIRROR, **SHOP}, hosts=("a.example.com", "b.example.com")),
            route(many, hosts=("b.example.com",), name="many"),
            SERVICE,
        ]
    )
    assert found.running == 1
    assert "hosts=a.example.com" in said(found)
    assert "host not added: b.example.com: the rules of this host have too many conditions" in said(found)


@pytest.mark.parametrize(("count", "running"), [(16, 1), (17, 0)])
def test_as_many_closer_paths_as_can_be_excluded(count: int, running: int) -> None:
    closer = [{**at(f"/p{number:02}"), **SHOP} for number in range(count)]
    found = convert([route({**MIRROR, **SHOP}, *closer)])
    assert found.running == running
    assert running or "more paths than can be excluded" in said(found)


def test_a_rule_that_closer_ones_take_all_of() -> None:
    found = convert(
        [
            virtual_service(
                hosts=["shop"],
                http=[
                    {"match": [{"uri": {"prefix": "/a/"}}], "route": [{"destination": {"host": "shop"}}]},
                    {
                        "match": [{"uri": {"exact": "/a/b"}}],
                        "route": [{"destination": {"host": "shop"}}],
                        "mirror": {"host": "shop-next"},
                    },
                ],
            )
        ]
    )
    assert found.running == 0
    assert "GET /a/b would be mirrored, but may not be mirrored now: spec.http[0]" in said(found)


@pytest.mark.parametrize("value", ["two  spaces", "tab\tbed", "a,b", " "])
def test_a_value_that_no_line_can_hold(value: str) -> None:
    match = {"path": {"value": "/"}, "headers": [{"name": "x-a", "value": value}]}
    assert convert([route({"matches": [match], **MIRROR, **SHOP}, SHOP)]).running == 0


@pytest.mark.parametrize("share", [-1, 101, float("nan"), float("inf"), 1e300])
def test_a_share_that_is_none(share: float) -> None:
    http = [
        {
            "route": [{"destination": {"host": "shop"}}],
            "mirror": {"host": "shop-next"},
            "mirrorPercentage": {"value": share},
        }
    ]
    found = convert([virtual_service(hosts=["shop"], http=http)])
    assert (found.mirrors, found.running) == (1, 0)


def test_a_name_that_is_none() -> None:
    http = [{"route": [{"destination": {"host": "shop"}}], "mirror": {"host": "Shop_Next"}}]
    found = convert([virtual_service(hosts=["shop"], http=http)])
    assert found.running == 0


def test_the_name_of_another_service_is_its_own() -> None:
    http = [{"route": [{"destination": {"host": "shop"}}], "mirror": {"host": "shop-next"}}]
    found = convert([virtual_service(hosts=["www.example.com", "users"], http=http), SERVICE])
    assert "host not added: users.s.svc.cluster.local: it is the DNS name of another Service" in said(found)
    assert "hosts=www.example.com" in said(found)


def test_names_have_the_domain_of_the_cluster() -> None:
    http = [
        {
            "route": [{"destination": {"host": "shop.s.svc.example.internal"}}],
            "mirror": {"host": "shop-next.s.svc.example.internal"},
        }
    ]
    docs = [virtual_service(hosts=["www.example.com", "users.s.svc.example.internal"], http=http), SERVICE]
    found = convert(docs, cluster_domains=("example.internal",))
    assert found.running == 1
    assert "host not added: users.s.svc.example.internal: it is the DNS name of another Service" in said(
        found
    )
    assert convert(docs).running == 0


def test_two_projects_and_one_deployment_or_one_host() -> None:
    users = {**SERVICE, "metadata": {"name": "users", "namespace": "s"}}
    found = convert([route({**MIRROR, **SHOP}), ingress("shop-next", "b.example.com"), SERVICE, users])
    assert found.running == 1
    assert "Deployment shop-next is already marked" in said(found)
    found = convert([route({**MIRROR, **SHOP}), ingress("users-next", "www.example.com"), SERVICE, users])
    assert found.running == 2
    assert said(found).count("another project routes it to another Service") == 2
    assert "hosts=" not in said(found)


def test_a_service_that_another_project_names_itself() -> None:
    mesh = virtual_service(hosts=["shop"], http=[{"route": [{"destination": {"host": "shop"}}]}])
    found = convert([route({**MIRROR, **SHOP}), mesh, SERVICE])
    assert found.running == 0
    assert "documents of Istio also apply to Service shop" in said(found)


@pytest.mark.parametrize(
    ("has", "running"),
    [
        ({}, 1),
        ({"labels": {"xds-shadow.io/shadow-of": "shop", "team": "a"}}, 1),
        ({"labels": {"xds-shadow.io/shadow-of": "users"}}, 0),
        ({"annotations": {"xds-shadow.io/percent": "5"}}, 0),
    ],
)
def test_a_deployment_that_is_marked_already(has: dict[str, Any], running: int) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop-next", "namespace": "s", **has},
    }
    found = convert([route({**MIRROR, **SHOP}), deployment])
    assert found.running == running
    assert running or "Deployment shop-next already has xds-shadow.io/" in said(found)


def test_hosts_that_a_service_has_already_are_not_taken_away() -> None:
    metadata = {**SERVICE["metadata"], "annotations": {"xds-shadow.io/hosts": "a.example.com"}}
    found = convert([route({**MIRROR, **SHOP}), {**SERVICE, "metadata": metadata}])
    assert found.running == 1
    assert "it already has xds-shadow.io/hosts=a.example.com" in said(found)
    assert "annotate service" not in said(found)


def test_deployments_of_one_name_in_two_namespaces() -> None:
    other = route({**MIRROR, **SHOP}, hosts=("b.example.com",))
    other["metadata"]["namespace"] = "t"
    assert convert([route({**MIRROR, **SHOP}), other]).running == 2


def policies() -> Iterator[Any]:
    for spec, namespace, running in (
        ({"targetRefs": [{"kind": "HTTPRoute", "name": "shop"}]}, "s", 0),
        ({"targetRef": {"kind": "HTTPRoute", "name": "shop"}}, "s", 0),
        ({"targetRefs": [{"kind": "Gateway", "name": "public"}]}, "s", 0),
        ({"targetRefs": [{"kind": "Gateway", "name": "public"}]}, "elsewhere", 0),
        ({"targetRefs": [{"kind": "HTTPRoute", "name": "users"}]}, "s", 1),
        ({}, "s", 0),
        ("odd", "s", 0),
        ({"targetRefs": "odd"}, "s", 0),
        ({}, "elsewhere", 1),
        ({}, "istio-system", 0),
    ):
        metadata = {"name": "policy", "namespace": namespace}
        yield (
            {
                "apiVersion": "gateway.envoyproxy.io/v1",
                "kind": "SecurityPolicy",
                "metadata": metadata,
                "spec": spec,
            },
            running,
        )


@pytest.mark.parametrize(("policy", "running"), list(policies()))
def test_a_policy_that_is_not_read_stops_what_it_may_be_about(policy: Any, running: int) -> None:
    found = convert([route({**MIRROR, **SHOP}), policy])
    assert found.running == running
    assert running or "SecurityPolicy" in said(found)


@pytest.mark.parametrize(("tls", "served"), [({"mode": "Terminate"}, False), (None, True)])
def test_a_gateway_with_tls_keeps_its_hosts(tls: Any, *, served: bool) -> None:
    listener = {"name": "a", "protocol": "HTTP", "port": 80, **({"tls": tls} if tls else {})}
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "edge"},
        "spec": {"listeners": [listener]},
    }
    found = convert([route({**MIRROR, **SHOP}), SERVICE, gateway])
    assert found.running == 1
    assert ("hosts=www.example.com" in said(found)) is served
    assert ("Gateway edge/public is not read: it configures TLS" in said(found)) is not served


def test_a_module_holds_everywhere() -> None:
    def mapping(name: str, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "s"}
        spec = {"hostname": "www.example.com", "prefix": "/", "service": name, **spec}
        return {
            "apiVersion": "getambassador.io/v3alpha1",
            "kind": "Mapping",
            "metadata": metadata,
            "spec": spec,
        }

    module = {**mapping("ambassador"), "kind": "Module", "metadata": {"name": "a", "namespace": "edge"}}
    mappings = [mapping("shop"), mapping("shop-next", shadow=True)]
    assert (convert(mappings).running, convert([*mappings, module]).running) == (1, 0)


def test_several_deployments_behind_a_mirror() -> None:
    service = {**SERVICE, "metadata": {"name": "shop-next", "namespace": "s"}}
    deployments = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "s"},
            "spec": {"template": {"metadata": {"labels": {"app": "shop"}}}},
        }
        for name in ("a", "b")
    ]
    found = convert([route({**MIRROR, **SHOP}), service, *deployments])
    assert found.running == 1
    assert "Deployments a, b are behind Service shop-next; the first is marked" in said(found)


def test_a_mirror_that_stands_twice() -> None:
    found = convert([route({"filters": MIRROR["filters"] * 2, **SHOP}), SERVICE])
    assert (found.running, found.whole) == (1, False)
    assert "is defined twice" in said(found)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"filter_chains": 5}'])
def test_an_escape_hatch_that_is_no_listener(text: str) -> None:
    doc = {
        "apiVersion": "consul.hashicorp.com/v1alpha1",
        "kind": "ServiceDefaults",
        "metadata": {"name": "web", "namespace": "s"},
        "spec": {
            "upstreamConfig": {"overrides": [{"name": "db"}, {"name": "web", "envoyListenerJSON": text}]}
        },
    }
    found = convert([doc])
    assert (found.mirrors, found.running) == (1, 0)
    assert "spec.upstreamConfig.overrides[1].envoyListenerJSON" in said(found)


def test_a_document_that_is_not_understood_names_the_place() -> None:
    found = convert([virtual_service(hosts=["shop"], http=[{"mirrorPercent": "all"}])])
    assert "spec.http[0].mirrorPercent: invalid: Expected `int | null`, got `str`" in said(found)
    assert (found.mirrors, found.running, found.whole) == (1, 0, False)


def test_an_unreadable_service_is_as_good_as_none() -> None:
    odd = {**SERVICE, "spec": {"ports": "many"}}
    assert "add the Service to the input" in said(convert([route({**MIRROR, **SHOP}), odd]))


def test_null_is_absent() -> None:
    reading = read(VirtualService, {"spec": {"http": None, "surprise": None}})
    assert (reading.value, reading.notes) == (VirtualService(), ())


def test_a_place_is_written_as_kubectl_writes_it() -> None:
    assert path_text(("spec", "http", 0, "match")) == "spec.http[0].match"


def test_includes_in_a_circle_end() -> None:
    def proxy(name: str, includes: str) -> dict[str, Any]:
        root = {"virtualhost": {"fqdn": "www.example.com"}} if name == "a" else {}
        services = [{"name": "shop", "port": 80}, {"name": "shop-next", "port": 80, "mirror": True}]
        spec = {**root, "includes": [{"name": includes}], "routes": [{"services": services}]}
        return {
            "apiVersion": "projectcontour.io/v1",
            "kind": "HTTPProxy",
            "metadata": {"name": name, "namespace": "s"},
            "spec": spec,
        }

    assert convert([proxy("a", "b"), proxy("b", "a")]).running == 1
