"""What is recorded of shadows by load reports."""

from typing import Any

import pytest

from tests.support import objects
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName, NodeId, StreamId
from xds_server.core.objects import Kind, Ref
from xds_server.core.verdict.record import NO_REQUESTS, Requests
from xds_server.core.world import Change, Delete
from xds_server.server.observer import Observer
from xds_server.server.pipeline import Pipeline, Published
from xds_server.server.views import View
from xds_server.server.watched import Watched
from xds_server.xds.loads import Load
from xds_server.xds.servicer import Client

CANARY = NamespacedName("staging", "myapp-canary")
PRIMARY, SHADOW = "staging/myapp/http", "staging/myapp/http/shadow/myapp-canary"
ENVOY = StreamId(1)


class Steps:
    """A pipeline with an observer that follows it."""

    def __init__(self) -> None:
        self.observer = Observer(wall=lambda: 7.0)
        self.asked = 0
        self.published: Published | None = None
        self._pipeline = Pipeline(gateway_port=8080, expose_all=False, clock=lambda: 0.0)
        self.observer.attach(self)
        self.observer.loads.join(ENVOY, NodeId("envoy"), now=0.0)

    def clients(self) -> list[Client]:
        return []

    def client(self, _stream: StreamId) -> Client | None:
        return None

    def ask_for_loads(self) -> None:
        self.asked += 1

    def step(self, *changes: Change) -> None:
        after = self._pipeline.step(changes, now=0.0)
        self.observer.stepped(self.published, after)
        self.published = after

    def report(self, primary: int, mirrored: int) -> None:
        wanted = self.observer.wanted(View())
        loads = [(PRIMARY, Load(primary, primary)), (SHADOW, Load(mirrored, 0, mirrored))]
        self.observer.loads.report(ENVOY, loads, wanted, now=0.0)


def shadowed(**annotations: str) -> list[Change]:
    return _changes(
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
        objects.canary("myapp-canary", shadow_of="myapp", selects=None, **annotations),
        objects.pod("canary-1", Address("10.0.0.2", 80)),
    )


@pytest.fixture
def steps() -> Steps:
    return Steps()


def test_the_clusters_of_shadowed_services_are_wanted_by_namespace(steps: Steps) -> None:
    steps.step(*shadowed())
    assert steps.observer.wanted(View()) == {PRIMARY, SHADOW}
    assert steps.observer.wanted(View(namespaces=frozenset({"staging", "other"}))) == {PRIMARY, SHADOW}
    assert steps.observer.wanted(View(namespaces=frozenset({"other"}))) == frozenset()
    assert steps.asked == 1


def test_envoys_are_asked_again_only_when_other_clusters_are_wanted(steps: Steps) -> None:
    steps.step(*shadowed())
    steps.step(*_changes(objects.service("another")))
    assert steps.asked == 1
    steps.step(*_changes(objects.canary(paused="true")))
    assert (steps.asked, steps.observer.wanted(View())) == (2, frozenset())


def test_a_record_counts_what_was_reported(steps: Steps) -> None:
    steps.step(*shadowed())
    steps.report(10, 5)
    record = steps.observer.records()[CANARY]
    assert (record.canary, record.service, record.since) == (CANARY, "myapp", 7.0)
    assert (record.primary, record.mirrored) == (Requests(10, 10), Requests(5, 0, 5))
    steps.report(1, 1)
    assert steps.observer.records()[CANARY].primary == Requests(11, 11)
    assert steps.observer.records()[CANARY].primary == Requests(11, 11)


def test_a_record_outlives_a_pause_and_ends_with_the_label(steps: Steps) -> None:
    steps.step(*shadowed())
    steps.report(10, 5)
    steps.step(*_changes(objects.canary(paused="true")))
    assert steps.observer.records()[CANARY].mirrored == Requests(5, 0, 5)
    steps.step(*_changes(objects.canary()))
    assert steps.observer.records()[CANARY].mirrored == Requests(5, 0, 5)
    steps.report(1, 1)
    assert steps.observer.records()[CANARY].mirrored == Requests(6, 0, 6)
    steps.step(Delete(Ref(Kind.DEPLOYMENT, *CANARY[:2])))
    assert steps.observer.records() == {}
    steps.step(*_changes(objects.canary()))
    assert steps.observer.records()[CANARY].mirrored == NO_REQUESTS


def test_a_canary_of_another_service_has_another_record(steps: Steps) -> None:
    steps.step(*shadowed(), *_changes(objects.service("other")))
    steps.report(10, 5)
    steps.step(*_changes(objects.canary(shadow_of="other")))
    record = steps.observer.records()[CANARY]
    assert (record.service, record.primary) == ("other", NO_REQUESTS)


def test_the_share_is_known_unless_conditions_decide(steps: Steps) -> None:
    def watched(**annotations: str) -> Watched:
        steps.step(*shadowed(**annotations))
        (found,) = steps.observer.watched.values()
        return found

    assert watched(percent="12.5").share == 0.125
    assert watched(methods="GET").share is None
    assert (watched().capped, watched(max_rps="5").capped) == (False, True)


async def test_a_bug_in_one_shadow_costs_no_other_shadow_its_state(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = NamespacedName("staging", "other-canary")
    state = steps.observer._state

    def broken(watched: Watched, *others: Any) -> Any:
        if watched.canary == CANARY:
            raise ZeroDivisionError
        return state(watched, *others)

    monkeypatch.setattr(steps.observer, "_state", broken)
    monkeypatch.setattr(steps.observer, "_clock", lambda: 100.0)
    more = (
        objects.canary("other-canary", shadow_of="myapp"),
        objects.pod("other-1", Address("10.0.0.3", 80), labels={"app": "other-canary"}),
    )
    steps.step(*shadowed(), *_changes(*more))
    monkeypatch.setattr(steps.observer, "_clock", lambda: 200.0)
    await steps.observer.look()
    assert steps.observer._shown.keys() == {other}
