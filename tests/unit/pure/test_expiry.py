"""A shadow that ends by itself: when, and that nothing has to happen for it."""

from datetime import UTC, datetime

from tests.unit.pure.kube import at, canary, namespace, pipeline_of, pod, service, slice_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason
from xds_server.core.objects import Object, ref_of
from xds_server.core.plan import Plan, State
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.world import Delete, Upsert
from xds_server.server.pipeline import Pipeline

MYAPP = NamespacedName("staging", "myapp")
OTHER = NamespacedName("staging", "other")
WEB = (namespace("staging"), service("myapp"), slice_of("myapp", at("10.0.0.1")))


def until(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def ending(name: str, seconds: float, *, of: str = "myapp") -> list[Object]:
    return [canary(name, of, until=until(seconds)), pod(f"{name}-1", name, "10.0.1.1")]


def states(plan: Plan) -> dict[str, State]:
    return {shadow.canary: shadow.state for shadow in plan.shadows()}


def started(*objects: Object) -> Pipeline:
    pipeline = pipeline_of()
    pipeline.step(map(Upsert, objects), now=0.0)
    return pipeline


def test_a_shadow_ends_at_its_time_and_not_before() -> None:
    world = world_of(*WEB, *ending("canary", 100))
    before = resolve(world, Rules(now=99.999))
    assert states(before) == {"canary": State.ACTIVE}
    assert before.services[MYAPP].expires == 100
    after = resolve(world, Rules(now=100))
    (shadow,) = after.shadows()
    assert (shadow.state, shadow.reason) == (State.EXPIRED, Reason.EXPIRED)
    assert (
        shadow.message == "The time of annotation xds-shadow.io/until has passed. No requests are mirrored."
    )
    assert after.services[MYAPP].expires is None
    assert [route.mirrors for route in after.services[MYAPP].ports] == [()]


def test_what_ended_stays_out_of_live_traffic() -> None:
    world = world_of(
        *WEB[:2],
        slice_of("myapp", at("10.0.0.1"), at("10.0.1.1", pod="canary-1")),
        *ending("canary", 100),
    )
    (route,) = resolve(world, Rules(now=100)).services[MYAPP].ports
    assert [str(endpoint) for endpoint in route.endpoints] == ["10.0.0.1:80"]


def test_time_alone_moves_the_plan_one_shadow_after_another() -> None:
    others = (service("other"), slice_of("other", at("10.0.0.2")))
    objects = (*WEB, *others, *ending("a", 100), *ending("b", 200), *ending("c", 150, of="other"))
    pipeline, world = started(*objects), world_of(*objects)
    seen = []
    for now in (50.0, 100.0, 199.0, 200.0, 300.0):
        published = pipeline.step((), now=now)
        assert published.plan == resolve(world, Rules(now=now))
        seen.append((published.moved, published.expires))
    assert seen == [
        (frozenset(), 100),
        ({MYAPP}, 150),
        ({OTHER}, 200),
        ({MYAPP}, None),
        (frozenset(), None),
    ]
    assert set(states(published.plan).values()) == {State.EXPIRED}


def test_a_clock_that_is_set_back_brings_a_shadow_back() -> None:
    pipeline = started(*WEB, *ending("canary", 100))
    assert states(pipeline.step((), now=200.0).plan) == {"canary": State.EXPIRED}
    published = pipeline.step((), now=50.0)
    assert states(published.plan) == {"canary": State.ACTIVE}
    assert (published.expires, published.timed) == (100, True)


def test_a_shadow_that_goes_takes_its_time_along() -> None:
    objects = (*WEB, *ending("canary", 100))
    pipeline = started(*objects)
    assert pipeline.step((), now=1.0).expires == 100
    published = pipeline.step(map(Delete, map(ref_of, objects)), now=1.0)
    assert (published.expires, published.timed) == (None, False)


def test_a_later_time_brings_it_back() -> None:
    world = world_of(*WEB, *ending("canary", 100))
    again = world_of(*WEB, *ending("canary", 300))
    assert states(resolve(world, Rules(now=200))) == {"canary": State.EXPIRED}
    assert states(resolve(again, Rules(now=200))) == {"canary": State.ACTIVE}
