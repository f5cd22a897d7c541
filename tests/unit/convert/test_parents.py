"""What a route is attached to, versions that are not known, and delegates: `convert` names each."""

from typing import Any

import pytest

from tests.unit.convert.test_planning import MIRROR, SERVICE, SHOP, route, said, virtual_service
from xds_server.cli.convert.convert import convert

HOST = "hosts=www.example.com"
PUBLIC = {"name": "public", "namespace": "edge"}


def attached(*parents: Any, name: str = "shop", rule: Any = None) -> dict[str, Any]:
    doc = route(rule or {**MIRROR, **SHOP}, name=name)
    return {**doc, "spec": {**doc["spec"], "parentRefs": list(parents)}}


def gateway(*listeners: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": PUBLIC,
        "spec": {"listeners": list(listeners)},
    }


def listener(hostname: str = "", who: str = "All", **rest: Any) -> dict[str, Any]:
    said = {"hostname": hostname} if hostname else {}
    return {"name": "http", "port": 80, **said, "allowedRoutes": {"namespaces": {"from": who}}, **rest}


NOT_SERVED = (
    gateway(listener("*.example.org")),
    gateway(listener("example.com")),
    gateway(listener(name="other")),
    gateway(listener(port=81)),
    gateway(listener(who="Same")),
    gateway({"name": "http", "port": 80}),
    gateway("x"),
    {**gateway(), "spec": {"listeners": 5}},
    {**gateway(), "spec": None},
)


@pytest.mark.parametrize("doc", NOT_SERVED)
def test_a_host_that_no_listener_has_is_not_given(doc: dict[str, Any]) -> None:
    ref = {**PUBLIC, "sectionName": "http", "port": 80}
    found = convert([attached(ref), SERVICE, doc])
    assert (found.running, HOST in said(found)) == (1, False)
    assert "spec.hostnames[0]: no listener of its Gateway has www.example.com" in said(found)


SERVED = (
    gateway(listener("*.example.com")),
    gateway(listener("*.example.org"), listener("WWW.example.com")),
    gateway(listener(who="Selector")),
    {**gateway(), "metadata": {"name": "another", "namespace": "edge"}},
)


@pytest.mark.parametrize("doc", SERVED)
def test_a_host_that_a_listener_has_or_that_is_not_known_is(doc: dict[str, Any]) -> None:
    assert HOST in said(convert([attached(PUBLIC), SERVICE, doc]))


def test_a_gateway_of_its_namespace_admits_it() -> None:
    doc = {**gateway({"name": "http"}), "metadata": {"name": "public", "namespace": "s"}}
    assert HOST in said(convert([attached({"name": "public"}), SERVICE, doc]))


def test_hostnames_of_a_route_of_a_mesh_are_not_hosts() -> None:
    found = convert([attached({"kind": "Service", "group": "", "name": "shop"}), SERVICE])
    assert (found.running, HOST in said(found)) == (1, False)
    assert "spec.parentRefs: a route of a mesh: no gateway serves its hostnames" in said(found)


def test_a_redirect_at_another_listener_keeps_the_host() -> None:
    redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}
    http, https = ({**PUBLIC, "sectionName": each} for each in ("http", "https"))
    found = convert([attached(https), attached(http, name="redirect", rule=redirect), SERVICE])
    assert HOST not in said(found)
    assert "HTTPRoute s/redirect also has www.example.com, at other listeners" in said(found)


def test_routes_of_the_same_listeners_are_compared() -> None:
    docs = [attached(PUBLIC), attached(PUBLIC, name="again"), SERVICE]
    assert HOST in said(convert(docs))


def test_a_route_of_a_wildcard_at_another_listener_keeps_the_host() -> None:
    wide = attached({"name": "private"}, name="wide", rule=SHOP)
    wide["spec"]["hostnames"] = ["*.example.com"]
    assert HOST not in said(convert([attached(PUBLIC), wide, SERVICE]))


def test_a_version_that_is_not_known_is_not_read() -> None:
    found = convert([{**attached(PUBLIC), "apiVersion": "gateway.networking.k8s.io/v9"}, SERVICE])
    assert (found.mirrors, found.running) == (1, 0)
    assert "apiVersion: v9 is not one of the supported versions: v1, v1beta1, v1alpha2" in said(found)


def test_a_document_that_is_not_understood_keeps_its_hosts() -> None:
    odd = {**attached(PUBLIC, name="odd"), "apiVersion": "gateway.networking.k8s.io/v9"}
    found = convert([attached(PUBLIC), odd, SERVICE])
    assert (found.running, HOST in said(found)) == (1, False)
    assert "host not added: www.example.com: HTTPRoute s/odd also names it" in said(found)


TO_SHOP = {"route": [{"destination": {"host": "shop"}}]}


@pytest.mark.parametrize("share", [{"mirrorPercentage": {"value": 5}}, {"mirrorPercent": 5}])
def test_a_percentage_beside_mirrors_is_named(share: dict[str, Any]) -> None:
    mirrors = {"mirrors": [{"destination": {"host": "shop-next"}}]}
    found = convert(
        [virtual_service(hosts=["www.example.com"], http=[{**TO_SHOP, **mirrors, **share}]), SERVICE]
    )
    assert (found.running, found.whole) == (1, False)
    assert "mirrorPercentage has no effect" in said(found)
    assert "percent=" not in said(found)


def test_a_delegate_names_its_root_of_another_namespace() -> None:
    child = virtual_service(http=[{**TO_SHOP, "mirror": {"host": "shop-next"}}])
    root = virtual_service(hosts=["www.example.com"], http=[{"delegate": {"name": "shop", "namespace": "s"}}])
    root["metadata"] = {"name": "root", "namespace": "edge"}
    assert "it has no hosts: VirtualService edge/root delegates to it" in said(
        convert([child, root, SERVICE])
    )
    assert "a root VirtualService, which is not in the input" in said(convert([child, SERVICE]))
