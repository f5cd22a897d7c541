"""On which gateways a Service is routed: in whose route configurations its virtual hosts stand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure.kube import at, canary, namespace, pod, service, slice_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.core.ledger import weigh
from xds_server.core.objects import Object, Service
from xds_server.core.plan import GATEWAY, ServicePlan
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.world import Upsert
from xds_server.server.pipeline import Pipeline, Published
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig, GatewayListener
from xds_server.translate.translate import translate
from xds_server.xds.types import CLUSTER, ROUTE, VIRTUAL_HOST

MYAPP = NamespacedName("staging", "myapp")
FURTHER = ("internal", "external")
ALL = ("external", "gateway", "internal")
RULES = Rules(gateways=ALL)
WRONG = "which is not a known gateway. Known: external, gateway, internal. Without the annotation"


def on(gateways: str | None) -> Service:
    return service("myapp", annotations={} if gateways is None else {"gateways": gateways})


def world(gateways: str | None) -> list[Object]:
    """A Service with a canary."""
    return [
        namespace("staging"),
        on(gateways),
        slice_of("myapp", at("10.0.0.1")),
        canary("next", "myapp"),
        pod("next-1", "next", "10.0.1.1"),
    ]


def planned(gateways: str | None) -> ServicePlan:
    return resolve(world_of(*world(gateways)), RULES).services[MYAPP]


def routed_on(plan: ServicePlan) -> list[tuple[str, ...]]:
    return [port.gateways for port in plan.ports]


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        (None, ALL),
        ("internal", ("internal",)),
        (" internal , external", ("external", "internal")),
        ("gateway,gateway", ("gateway",)),
    ],
)
def test_a_service_is_routed_on_the_gateways_that_it_names(
    gateways: str | None, expected: tuple[str, ...]
) -> None:
    plan = planned(gateways)
    assert (routed_on(plan), plan.conditions) == ([expected], ())


@pytest.mark.parametrize("gateways", ["internal,interal", "interal,internal"])
def test_an_unknown_gateway_costs_itself_alone(gateways: str) -> None:
    plan = planned(gateways)
    assert routed_on(plan) == [("internal",)]
    [problem] = plan.conditions
    assert str(problem.subject) == "Service staging/myapp"
    assert problem.reason == "UnknownGateway"
    assert problem.message.startswith(f"Annotation xds-shadow.io/gateways has 'interal', {WRONG}")


@pytest.mark.parametrize("gateways", ["interal", "", "Internal", "internal external"])
def test_a_new_service_that_names_no_gateway_is_not_routed(gateways: str) -> None:
    plan = planned(gateways)
    assert plan.ports == ()
    assert [problem.reason for problem in plan.conditions] == ["UnknownGateway"]
    [shadow] = plan.shadows
    assert (shadow.state, shadow.reason) == ("Rejected", "UnknownGateway")
    assert shadow.message == (
        "Service staging/myapp is not routed: its annotation xds-shadow.io/gateways names no known gateway."
    )


def test_a_service_that_is_routed_stays_where_it_is_when_it_names_no_gateway() -> None:
    before = resolve(world_of(*world("internal")), RULES)
    after = resolve(world_of(*world("interal")), RULES, before).services[MYAPP]
    assert routed_on(after) == [("internal",)]
    [problem] = after.conditions
    assert problem.reason == "UnknownGateway"
    assert problem.message.endswith(
        " It stays on internal, but a control plane that starts now does not route it."
    )
    # But not on one that there is no longer.
    gone = resolve(world_of(*world("interal")), Rules(gateways=(GATEWAY,)), before).services[MYAPP]
    assert gone.ports == ()


def pipeline() -> Pipeline:
    return Pipeline(gateway_port=8080, route_configs=FURTHER, expose_all=False, clock=lambda: 0.0)


def step(of: Pipeline, *objects: Object) -> Published:
    return of.step(map(Upsert, objects), now=0.0)


def hosts(published: Published) -> set[str]:
    return set(published.snapshot.of(VIRTUAL_HOST).resources)


def test_a_virtual_host_stands_in_each_of_its_route_configurations() -> None:
    running = pipeline()
    published = step(running, *world(None))
    none = {f"{name}/none" for name in ALL}
    assert set(published.snapshot.of(ROUTE).resources) == set(ALL)
    assert hosts(published) == {*none, *(f"{name}/myapp.staging" for name in ALL)}
    bodies = {
        each.body.partition(b"\x12")[2]
        for each in published.snapshot.of(VIRTUAL_HOST).resources.values()
        if each.name not in none
    }
    assert len(bodies) == 1, "the same but for the name"
    clusters = published.snapshot.of(CLUSTER)
    published = step(running, on("internal"))
    assert hosts(published) == {*none, "internal/myapp.staging"}
    assert published.snapshot.of(CLUSTER) is clusters
    whole = resolve(published.world, RULES)
    assert published.plan == whole
    assert published.snapshot == translate(whole, gateway_port=8080, route_configs=FURTHER)
    assert published.plan.gateways() == {MYAPP: ("internal",)}


def test_with_one_gateway_there_is_no_virtual_host_that_no_request_has() -> None:
    published = Pipeline(gateway_port=8080, expose_all=False).step(map(Upsert, world(None)), now=0.0)
    assert hosts(published) == {"gateway/myapp.staging"}


def test_what_several_gateways_take_of_an_envoy_is_weighed() -> None:
    one, all_of_them = weigh(planned("internal")), weigh(planned(None))
    assert all_of_them.service > one.service
    assert one.shadows < all_of_them.shadows < len(ALL) * one.shadows


FILES = [
    replace(
        TRANSPARENT,
        listeners=tuple(GatewayListener(name=name, port=8080 + at) for at, name in enumerate(names)),
    )
    for names in (["gateway"], ["gateway", "internal"], ["internal"], ["external", "internal"])
]
SAID = (None, "internal", "gateway", "interal", "interal,external", "external, internal", "")
HISTORIES = st.lists(
    st.tuples(st.sampled_from(["myapp", "other"]), st.sampled_from(SAID), st.sampled_from(FILES)), max_size=8
)


@given(HISTORIES)
def test_after_every_step_it_is_as_if_all_were_planned_anew(
    history: list[tuple[str, str | None, GatewayConfig]],
) -> None:
    """Whatever Services say and whichever gateways there are; both claim one host."""
    running = Pipeline(gateway_port=8080, expose_all=False, clock=lambda: 0.0)
    before = step(running, *world(None)).plan
    for name, said, file in history:
        running.gateway = file
        annotations = {"hosts": "shop.test"} | ({} if said is None else {"gateways": said})
        published = step(running, service(name, annotations=annotations))
        expected = resolve(published.world, Rules(gateways=file.gateways()), before)
        assert published.plan == expected
        assert published.snapshot == translate(expected, gateway_port=8080, gateway=file)
        before = published.plan
