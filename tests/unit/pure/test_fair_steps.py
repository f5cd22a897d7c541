"""A namespace whose Services take long to work out waits for itself, and nobody waits for it."""

from itertools import accumulate, cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure import worlds
from tests.unit.pure.kube import namespace, service
from xds_server.base.ids import NamespacedName
from xds_server.core import resolve
from xds_server.core.world import Change, Upsert
from xds_server.server.pipeline import Pipeline
from xds_server.translate.translate import translate

SLOW_S = 0.03


class Clock:
    """It goes on only while a Service of namespace a is planned."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._works = resolve.plan_service
        patch.setattr(resolve, "plan_service", self._plan)

    def _plan(self, scene: Any, *others: Any) -> Any:
        self.now += SLOW_S * (scene.name == "a")
        return self._works(scene, *others)

    def __call__(self) -> float:
        return self.now


def hosts(number: int, host: str) -> list[Change]:
    """Services of namespace a, and one of b, with this further host."""
    ask = {"hosts": host}
    theirs = [service(f"s{n}", namespace="a", annotations={"hosts": f"{n}.{host}"}) for n in range(number)]
    web = service("web", namespace="b", annotations=ask, created="2025")
    return [*map(Upsert, theirs), Upsert(web)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def pipeline(clock: Clock) -> Pipeline:
    found = Pipeline(gateway_port=8080, expose_all=False, clock=clock)
    # The first step builds all there is, however long it takes.
    found.step([Upsert(namespace("a")), Upsert(namespace("b")), *hosts(40, "one.test")], now=0.0)
    return found


def test_the_change_of_another_namespace_is_in_the_same_step(pipeline: Pipeline, clock: Clock) -> None:
    before = clock.now
    published = pipeline.step(hosts(40, "two.test"), now=0.0)
    assert NamespacedName("b", "web") in published.moved
    assert clock.now - before == pytest.approx(2 * SLOW_S)
    assert published.unfinished_s == 0


def test_what_is_left_is_built_bit_by_bit_and_then_more_slowly(pipeline: Pipeline, clock: Clock) -> None:
    published = pipeline.step(hosts(40, "two.test"), now=0.0)
    waited = 0.0
    while published.unfinished_s is not None:
        waited += published.unfinished_s
        clock.now += published.unfinished_s
        published = pipeline.step([], now=0.0)
    # Half a second at once, and the rest at a fifth of the time, which goes on while it is built.
    takes = 40 * SLOW_S
    assert waited == pytest.approx((takes - 0.5) / 0.2 - takes, abs=SLOW_S / 0.2)
    assert published.plan == resolve.resolve(published.world)


def test_services_that_exchange_a_host_are_built_in_one_step(pipeline: Pipeline) -> None:
    older = service("older", namespace="a", annotations={"hosts": "one.test"}, created="2020")
    published = pipeline.step([*hosts(40, "one.test")[:3], Upsert(older)], now=0.0)
    assert {NamespacedName("a", "older"), NamespacedName("b", "web")} <= published.moved


@given(worlds.histories_with_waiting(), st.lists(st.sampled_from((0.0, 0.01, 0.06, 0.3)), min_size=1))
def test_whatever_waits_for_its_turn_comes_to_the_same_in_the_end(
    history: list[list[Change]], passing: list[float]
) -> None:
    times = accumulate(cycle(passing))
    pipeline = Pipeline(gateway_port=8080, expose_all=False, clock=lambda: next(times))
    published = pipeline.step([], now=0.0)
    for batch in history:
        published = pipeline.step(batch, now=0.0)
    for _ in range(2000):
        if published.unfinished_s is None:
            break
        published = pipeline.step([], now=0.0)
    assert published.unfinished_s is None
    assert published.errors == {}
    assert published.plan == resolve.resolve(published.world, before=published.plan)
    assert published.snapshot == translate(published.plan, gateway_port=8080)
