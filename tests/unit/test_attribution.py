"""NACKs as conditions of the objects that they name."""

from xds_server.base.ids import NamespacedName, NodeId, TypeUrl, Version
from xds_server.base.text import listed
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.plan import Plan, PortPlan, Protocol, ServicePlan, ShadowStatus, State
from xds_server.server.attribution import attributed, unknown_routes
from xds_server.xds.fleet import Nack, RouteSubscription, StandingNack
from xds_server.xds.types import CLUSTER, ROUTE

MYAPP, SHOP = NamespacedName("staging", "myapp"), NamespacedName("prod", "shop")
ONE, TWO = NamespacedName("staging", "one"), NamespacedName("staging", "two")


def share(service: NamespacedName, *canaries: str) -> ServicePlan:
    route = PortPlan(service, "", 80, Protocol.HTTP1, (f"{service.name}.{service.namespace}",), ())
    shadows = (
        ShadowStatus(service.namespace, name, service.name, State.ACTIVE, Reason.CONFIGURED, "")
        for name in canaries
    )
    return ServicePlan(ports=(route,), shadows=tuple(shadows))


PLAN = Plan({MYAPP: share(MYAPP, "one", "two"), SHOP: share(SHOP)})


def nack(message: str, node: str = "a", *, type_url: TypeUrl = CLUSTER, at: float = 1.0) -> StandingNack:
    return StandingNack(NodeId(node), type_url, Nack(Version("1"), message, at))


def shadows(*standing: StandingNack) -> dict[NamespacedName, list[str]]:
    found = attributed(standing, PLAN).canaries
    return {
        name: [each.message.partition(": ")[2] for each in conditions] for name, conditions in found.items()
    }


def envoy(name: str) -> Subject:
    return Subject("Envoy", "", name)


def test_who_asks_for_routes_of_no_gateway_is_a_problem() -> None:
    subscriptions = [
        RouteSubscription(NodeId(name), routes, 5.0)
        for name, routes in (("a", ("gatway",)), ("b", ("gateway", "in")))
    ]
    there_are = {"gateway", "external"}
    tail = (
        "which does not exist. The route configurations are external, gateway. Correct route_config_name, or"
        " add --route-config."
    )
    assert list(unknown_routes(subscriptions, there_are)) == [
        Condition(
            envoy(name),
            Reason.UNKNOWN_ROUTE_CONFIGURATION,
            f"Envoy {name} requests route configuration {tail}",
            since=5.0,
        )
        for name, tail in (("a", f"'gatway', {tail}"), ("b", f"'in', {tail}"))
    ]
    together = [RouteSubscription(NodeId(name), ("in",), since) for name, since in (("a", 7.0), ("b", 5.0))]
    [problem] = unknown_routes(together, there_are)
    assert problem.message == f"2 Envoys (a, b) request route configuration 'in', {tail}"
    assert problem.since == 5.0
    many = [RouteSubscription(NodeId("a"), tuple(f"r{number}" for number in range(16)), 1.0)]
    assert len(list(unknown_routes(many, there_are))) == 10


def test_what_concerns_a_service_concerns_its_canaries() -> None:
    assert shadows(nack("staging/myapp/80: no")) == {
        ONE: ["staging/myapp/80: no"],
        TWO: ["staging/myapp/80: no"],
    }


def test_what_concerns_a_canary_concerns_it_alone() -> None:
    message = "staging/myapp/80/shadow/two: no"
    assert shadows(nack(message)) == {TWO: [message]}
    assert attributed([nack(message)], PLAN).services == {}


def test_a_service_without_canaries_has_a_problem() -> None:
    found = attributed([nack("route: unknown cluster 'prod/shop/80'", type_url=ROUTE)], PLAN)
    assert found.canaries == {}
    sentence = "RDS rejected by Envoy a: route: unknown cluster 'prod/shop/80'"
    subject = Subject("Service", "prod", "shop")
    assert found.services == {SHOP: [Condition(subject, Reason.REJECTED_BY_ENVOY, sentence, since=1.0)]}


def test_a_host_belongs_to_its_service() -> None:
    assert shadows(nack("Duplicate entry of domain myapp.staging in route gateway")).keys() == {ONE, TWO}


def test_an_unknown_name_concerns_no_object() -> None:
    assert shadows(nack("staging/gone/80 staging/myapp/80/shadow/gone domain gone.staging")) == {}


def test_equal_nacks_are_one_condition_with_the_number_of_envoys() -> None:
    message = "staging/myapp/80: no"
    same = [nack(message, str(number), at=float(number)) for number in range(40)]
    [condition] = attributed([nack("staging/myapp/80: aaa"), *same], PLAN).canaries[ONE][:1]
    assert condition == Condition(
        Subject("Deployment", "staging", "one"),
        Reason.REJECTED_BY_ENVOY,
        f"CDS rejected by 40 Envoys (0, 1, 2 and 37 more): {message}",
        since=0.0,
    )


def test_the_conditions_are_bounded() -> None:
    many = [nack(f"staging/myapp/80: {number} {'x' * 2000}", "b" * 5000) for number in range(40)]
    found = attributed(many, PLAN)
    for conditions in (found.canaries[ONE], found.services[MYAPP]):
        assert len(conditions) == 5
        assert all(500 < len(each.message) < 700 for each in conditions)


def test_envoys_are_counted_and_the_first_named() -> None:
    assert listed(["a\x1b[0m"], 1, "Envoy") == "Envoy a [0m"
    assert listed(["a", "b"], 2, "Envoy") == "2 Envoys (a, b)"
    assert listed(["a", "b", "c", "d"], 9, "Envoy") == "9 Envoys (a, b, c and 6 more)"
