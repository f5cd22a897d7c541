"""Refusals beside the objects that they concern."""

from xds_server.base.ids import NamespacedName, NodeId, TypeUrl, Version
from xds_server.base.text import listed
from xds_server.core.plan import Plan, PortPlan, Protocol, Reason, ServicePlan, ShadowStatus, State
from xds_server.core.problems import Problem
from xds_server.server.attribution import UNKNOWN_ROUTES, concerned, unknown_routes
from xds_server.xds.fleet import Asking, Refusal, Standing
from xds_server.xds.types import CLUSTER, ROUTE

MYAPP, SHOP = NamespacedName("staging", "myapp"), NamespacedName("prod", "shop")
ONE, TWO = NamespacedName("staging", "one"), NamespacedName("staging", "two")


def share(service: NamespacedName, *canaries: str) -> ServicePlan:
    route = PortPlan(service, "", 80, Protocol.HTTP1, (f"{service.name}.{service.namespace}",), ())
    shadows = (
        ShadowStatus(service.namespace, name, service.name, State.ACTIVE, Reason.MIRRORING, "")
        for name in canaries
    )
    return ServicePlan(ports=(route,), shadows=tuple(shadows))


PLAN = Plan({MYAPP: share(MYAPP, "one", "two"), SHOP: share(SHOP)})


def refused(message: str, node: str = "a", *, type_url: TypeUrl = CLUSTER, at: float = 1.0) -> Standing:
    return Standing(NodeId(node), type_url, Refusal(Version("1"), message, at))


def shadows(*standing: Standing) -> dict[NamespacedName, list[str]]:
    found = concerned(standing, PLAN).shadows
    return {name: [each.message for each in objections] for name, objections in found.items()}


def test_who_asks_for_routes_of_no_gateway_is_a_problem() -> None:
    asking = [Asking(NodeId(name), routes) for name, routes in (("a", ("gatway",)), ("b", ("gateway", "in")))]
    there_are = {"gateway", "external"}
    tail = (
        "which there is not; there are external, gateway. Correct route_config_name, or add --route-config."
    )
    assert list(unknown_routes(asking, there_are)) == [
        Problem("Envoy a", UNKNOWN_ROUTES, f"Envoy a asks for route configuration 'gatway', {tail}"),
        Problem("Envoy b", UNKNOWN_ROUTES, f"Envoy b asks for route configuration 'in', {tail}"),
    ]
    together = [Asking(NodeId(name), ("in",)) for name in "ab"]
    [problem] = unknown_routes(together, there_are)
    assert problem.message == f"2 Envoys (a, b) ask for route configuration 'in', {tail}"
    many = [Asking(NodeId("a"), tuple(f"r{number}" for number in range(16)))]
    assert len(list(unknown_routes(many, there_are))) == 10


def test_what_concerns_a_service_concerns_its_canaries() -> None:
    assert shadows(refused("staging/myapp/80: no")) == {
        ONE: ["staging/myapp/80: no"],
        TWO: ["staging/myapp/80: no"],
    }


def test_what_concerns_a_canary_concerns_it_alone() -> None:
    message = "staging/myapp/80/shadow/two: no"
    assert shadows(refused(message)) == {TWO: [message]}
    assert list(concerned([refused(message)], PLAN).problems()) == []


def test_a_service_without_canaries_has_a_problem() -> None:
    found = concerned([refused("route: unknown cluster 'prod/shop/80'", type_url=ROUTE)], PLAN)
    assert found.shadows == {}
    sentence = "RDS rejected by Envoy a: route: unknown cluster 'prod/shop/80'"
    assert list(found.problems()) == [Problem("Service prod/shop", "RefusedByEnvoy", sentence)]


def test_a_host_belongs_to_its_service() -> None:
    assert shadows(refused("Duplicate entry of domain myapp.staging in route gateway")).keys() == {ONE, TWO}


def test_a_name_that_nobody_has_concerns_nobody() -> None:
    assert shadows(refused("staging/gone/80 staging/myapp/80/shadow/gone domain gone.staging")) == {}


def test_envoys_that_say_the_same_are_told_once_with_how_many_they_are() -> None:
    message = "staging/myapp/80: no"
    same = [refused(message, str(number), at=float(number)) for number in range(40)]
    [objection] = concerned([refused("staging/myapp/80: other"), *same], PLAN).shadows[ONE][:1]
    assert (objection.count, objection.at, objection.nodes) == (40, 39.0, tuple(map(str, range(10))))


def test_what_is_told_is_bounded() -> None:
    many = [refused(f"staging/myapp/80: {number} {'x' * 2000}", "b" * 5000) for number in range(40)]
    objections = concerned(many, PLAN).shadows[ONE]
    assert len(objections) == 5
    assert {len(each.message) for each in objections} == {500}
    assert all(len(problem.message) < 700 for problem in concerned(many, PLAN).problems())


def test_envoys_are_counted_and_the_first_named() -> None:
    assert listed(["a\x1b[0m"], 1, "Envoy") == "Envoy a [0m"
    assert listed(["a", "b"], 2, "Envoy") == "2 Envoys (a, b)"
    assert listed(["a", "b", "c", "d"], 9, "Envoy") == "9 Envoys (a, b, c and 6 more)"
