"""A Service that may have Pods of a canary that were never listed stays as it is."""

import pytest

from tests.unit.pure.kube import at, canary, namespace, pipeline_of, pod, service, slice_of
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason, errors, notices
from xds_server.core.objects import Object, ServicePort, ref_of
from xds_server.core.plan import State
from xds_server.core.world import Awaiting, Change, Delete, Upsert
from xds_server.server.pipeline import Pipeline, Published

MYAPP = NamespacedName("staging", "myapp")
CANARY = canary("canary", "myapp")
UNKNOWN = Awaiting("staging", "app=canary", waiting=True)
LISTED = Awaiting("staging", "app=canary", waiting=False)
OBJECTS: tuple[Object, ...] = (
    namespace("staging"),
    service("myapp"),
    slice_of("myapp", at("10.0.0.1", pod="stable-1"), at("10.0.1.1", pod="canary-1")),
)
POD = pod("canary-1", "canary", "10.0.1.1")


def live(published: Published) -> list[str]:
    part = published.plan.services.get(MYAPP)
    return [str(endpoint) for port in part.ports for endpoint in port.endpoints] if part else []


def step(pipeline: Pipeline, *changes: Change | Object) -> Published:
    return pipeline.step(
        [each if isinstance(each, Awaiting | Delete) else Upsert(each) for each in changes],  # type: ignore[arg-type]
        now=0.0,
    )


def test_a_service_is_not_served_before_the_pods_of_its_canary_were_listed() -> None:
    pipeline = pipeline_of()
    published = step(pipeline, *OBJECTS, CANARY, UNKNOWN)
    (shadow,) = published.plan.shadows()
    assert live(published) == []
    assert (shadow.state, shadow.reason) == (State.PENDING, Reason.PODS_UNKNOWN)
    (problem,) = errors(published.plan.conditions())
    assert problem.message == (
        "The Pods of canary canary are not known at present, and may be among its endpoints. Until they"
        " are, the routes and endpoints of the Service do not change."
    )
    published = step(pipeline, POD, LISTED)
    assert live(published) == ["10.0.0.1:80"]
    assert published.plan.shadows()[0].state is State.ACTIVE


def test_a_service_stays_as_it_is_while_known_pods_are_not_followed() -> None:
    pipeline = pipeline_of()
    before = step(pipeline, *OBJECTS, CANARY, POD)
    assert before.plan.shadows()[0].state is State.ACTIVE
    later = slice_of("myapp", at("10.0.0.1", pod="stable-1"), at("10.0.1.1", pod="canary-1"), at("10.0.1.2"))
    published = step(pipeline, later, UNKNOWN)
    assert published.snapshot == before.snapshot
    (shadow,) = published.plan.shadows()
    assert (shadow.state, shadow.reason) == (State.PENDING, Reason.PODS_UNKNOWN)
    assert shadow.message == (
        "Its Pods are not known at present; until they are, the routes and endpoints of Service staging/myapp"
        " do not change."
    )
    published = step(pipeline, LISTED)
    assert live(published) == ["10.0.0.1:80", "10.0.1.2:80"]
    assert published.plan.shadows()[0].state is State.ACTIVE


def test_a_held_service_keeps_its_notices() -> None:
    pipeline = pipeline_of()
    ports = ServicePort(port=80, name="http"), ServicePort(port=5432, name="db")
    before = step(pipeline, *OBJECTS, service("myapp", ports=ports))
    (notice,) = notices(before.plan.services[MYAPP].conditions)
    assert notice.reason is Reason.PORTS_NOT_ROUTED
    held = step(pipeline, CANARY, UNKNOWN).plan.services[MYAPP]
    assert notices(held.conditions) == [notice]
    assert [each.reason for each in errors(held.conditions)] == [Reason.PODS_UNKNOWN]


def test_a_service_that_is_served_stays_as_it_is_until_they_were() -> None:
    pipeline = pipeline_of()
    before = step(pipeline, *OBJECTS)
    assert live(before) == ["10.0.0.1:80", "10.0.1.1:80"]
    later = slice_of("myapp", at("10.0.0.1", pod="stable-1"), at("10.0.1.1", pod="canary-1"), at("10.0.1.2"))
    published = step(pipeline, CANARY, UNKNOWN, later)
    assert live(published) == live(before)
    assert published.snapshot == before.snapshot
    assert live(step(pipeline, POD, LISTED)) == ["10.0.0.1:80", "10.0.1.2:80"]


def test_a_host_that_is_anothers_now_is_no_longer_a_held_services() -> None:
    hosts = {"hosts": "app.test"}
    pipeline = pipeline_of()
    step(pipeline, *OBJECTS, service("myapp", annotations=hosts, created="2025"))
    step(pipeline, CANARY, UNKNOWN)
    published = step(pipeline, service("older", annotations=hosts, created="2024", selector={"app": "older"}))
    domains = {
        str(target): domain
        for target, part in published.plan.services.items()
        for port in part.ports
        for domain in port.domains
        if "app.test" in domain
    }
    assert domains == {"staging/older": "app.test:*"}
    assert live(published) == ["10.0.0.1:80", "10.0.1.1:80"]


@pytest.mark.parametrize("name", ["elsewhere", "typo"])
def test_a_service_that_cannot_have_its_pods_is_not_held(name: str) -> None:
    apart = service("myapp", selector={"app": "stable"})
    published = step(pipeline_of(), *OBJECTS, apart, canary("canary", name), UNKNOWN)
    assert live(published) == ["10.0.0.1:80", "10.0.1.1:80"]


def test_a_held_service_that_is_deleted_is_gone() -> None:
    pipeline = pipeline_of()
    step(pipeline, *OBJECTS)
    step(pipeline, CANARY, UNKNOWN)
    published = step(pipeline, Delete(ref_of(OBJECTS[1])))
    assert live(published) == []
    assert published.plan.shadows()[0].reason is Reason.SERVICE_NOT_FOUND
