"""Hosts that documents of other kinds name: `convert` leaves them where they are, and says which document."""

from typing import Any

import pytest

from tests.unit.convert.test_planning import MIRROR, SERVICE, SHOP, route, said, virtual_service
from xds_server.cli.convert.convert import convert

HOST = "hosts=www.example.com"


def other(version: str, kind: str, annotations: Any = None, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "admin", "namespace": "t", "annotations": annotations or {}},
        **rest,
    }


def plain_ingress(host: str) -> dict[str, Any]:
    backend = {"service": {"name": "admin", "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/admin", "pathType": "Prefix", "backend": backend}]}}
    return other("networking.k8s.io/v1", "Ingress", spec={"ingressClassName": "kong", "rules": [rule]})


def traefik(match: str) -> dict[str, Any]:
    return other("traefik.io/v1alpha1", "IngressRoute", spec={"routes": [{"match": match, "kind": "Rule"}]})


NAMING = (
    plain_ingress("www.example.com"),
    plain_ingress("*.example.com"),
    traefik("Host(`www.example.com`) && PathPrefix(`/admin`)"),
    traefik("Host(`WWW.Example.com`)"),
    traefik(r"HostRegexp(`^.+\.example\.com$`)"),
    other("networking.istio.io/v1", "VirtualService", spec={"hosts": ["www.example.com"]}),
    other("example.com/v1", "Unheard", spec={"www.example.com": {"a": 1}}),
    other("v1", "Service", {"xds-shadow.io/hosts": "a.example.org,www.example.com"}, spec={}),
    other("v1", "ConfigMap", data={"nginx.conf": "server { server_name .example.com; }"}),
)


@pytest.mark.parametrize("doc", NAMING, ids=lambda doc: doc["kind"])
def test_a_host_that_another_document_names_stays_where_it_is(doc: dict[str, Any]) -> None:
    found = convert([route({**MIRROR, **SHOP}), SERVICE, doc])
    assert (found.running, found.whole) == (1, False)
    assert HOST not in said(found)
    assert f"# host not added: www.example.com: {doc['kind']} t/admin also names it" in said(found)


NOT_NAMING = (
    plain_ingress("example.com"),
    plain_ingress("ww.example.com"),
    plain_ingress("*.www.example.org"),
    traefik("Host(`xwww.example.com`)"),
    traefik(r"HostRegexp(`^.+\.com$`)"),
    other("traefik.io/v1alpha1", "IngressRoute", status={"host": "www.example.com"}),
    other("apps/v1", "Deployment", spec={"template": {"env": "https://www.example.com"}}),
    other("v1", "Pod", spec={"env": "https://www.example.com"}),
    other("networking.istio.io/v1", "ServiceEntry", spec={"hosts": ["www.example.com"]}),
    other("gateway.networking.k8s.io/v1", "Gateway", spec={"listeners": [{"hostname": "www.example.com"}]}),
    {**SERVICE, "metadata": {**SERVICE["metadata"], "annotations": {"dns": "www.example.com"}}},
)


@pytest.mark.parametrize("doc", NOT_NAMING, ids=lambda doc: doc["kind"])
def test_a_document_that_does_not_name_it_or_has_no_routes_leaves_it(doc: dict[str, Any]) -> None:
    docs = [route({**MIRROR, **SHOP}), *([] if doc["kind"] == "Service" else [SERVICE]), doc]
    assert HOST in said(convert(docs))


def test_what_kubectl_keeps_of_an_object_does_not_name_it() -> None:
    kept = {"kubectl.kubernetes.io/last-applied-configuration": '{"host":"www.example.com"}'}
    found = convert([route({**MIRROR, **SHOP}), SERVICE, other("example.com/v1", "Unheard", kept)])
    assert HOST in said(found)


def test_documents_of_the_own_project_are_compared_instead() -> None:
    to_shop = {"destination": {"host": "shop"}}
    mirrored = {"route": [to_shop], "mirror": {"host": "shop-next"}}
    doc = virtual_service(hosts=["www.example.com"], http=[mirrored])
    again = {**doc, "metadata": {"name": "again", "namespace": "s"}}
    assert HOST in said(convert([doc, again, SERVICE]))
