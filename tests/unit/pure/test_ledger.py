"""A namespace's budget of an Envoy's memory: the oldest have it, Services before shadows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure.kube import at, canary, namespace, pipeline_of, pod, service, slice_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core import resolve as resolve_module
from xds_server.core.conditions import Reason
from xds_server.core.ledger import Allowed, Entry, Ledger, Weight
from xds_server.core.limits import Limits
from xds_server.core.objects import Object, ServicePort, SlicePort
from xds_server.core.plan import Plan, State
from xds_server.core.scene import Scene
from xds_server.core.world import Delete, Upsert

SERVICES = [NamespacedName("a", name) for name in ("one", "two", "three")]
weights = st.builds(Weight, st.integers(0, 6), st.integers(0, 6))
changes = st.dictionaries(
    st.sampled_from(SERVICES), st.none() | st.tuples(st.sampled_from("123"), weights), min_size=1
).map(
    lambda found: {
        service: made and Entry((made[0], service.namespace, service.name), made[1])
        for service, made in found.items()
    }
)


def allowed(ledger: Ledger) -> dict[NamespacedName, Allowed]:
    return {service: ledger.allowed(service) for service in SERVICES}


@given(st.lists(st.tuples(st.integers(0, 20), changes), min_size=1, max_size=6))
def test_a_ledger_says_whose_part_changed_and_never_gives_more_than_the_budget(
    steps: list[tuple[int, dict[NamespacedName, Entry | None]]],
) -> None:
    ledger, standing = Ledger(), dict[NamespacedName, Entry]()
    for budget, change in steps:
        before = allowed(ledger)
        moved = ledger.settle("a", budget, change)
        after = allowed(ledger)
        assert moved == {service for service in SERVICES if before[service] != after[service]}
        for name, entry in change.items():
            standing.pop(name, None)
            if entry:
                standing[name] = entry
        given_out = sum(
            entry.weight.service * (after[name] >= Allowed.SERVICE)
            + entry.weight.shadows * (after[name] is Allowed.EVERYTHING)
            for name, entry in standing.items()
        )
        assert given_out <= budget
        again = Ledger()
        again.settle("a", budget, dict(reversed(standing.items())))
        assert allowed(again) == after


def test_the_oldest_have_what_there_is_and_services_come_before_shadows() -> None:
    ledger = Ledger()
    one, two, three = SERVICES
    ledger.settle(
        "a",
        10,
        {
            three: Entry(("1", "a", "three"), Weight(4, 3)),
            two: Entry(("2", "a", "two"), Weight(3, 3)),
            one: Entry(("3", "a", "one"), Weight(4, 0)),
        },
    )
    assert allowed(ledger) == {three: Allowed.EVERYTHING, two: Allowed.SERVICE, one: Allowed.NOTHING}
    assert ledger.settle("a", 10, {three: None}) == {one, two}
    assert set(allowed(ledger).values()) == {Allowed.EVERYTHING}
    ledger.settle("a", 10, {one: None, two: None})
    assert ledger.settle("a", 0, {}) == set()


def scene(number: int, created: str) -> list[Object]:
    """A Service with 100 endpoints and a canary: about 250 KiB and 320 KiB."""
    name = f"web-{number}"
    return [
        service(name, created=created, ports=(ServicePort(port=80, name="http"),)),
        slice_of(
            name,
            *(at(f"10.0.{number}.{n}") for n in range(100)),
            name=f"{name}-1",
            ports=[SlicePort(name="http", port=80)],
        ),
        canary(f"canary-{number}", name),
        pod(f"canary-{number}-1", f"canary-{number}", f"10.9.{number}.1"),
    ]


def states(plan: Plan) -> dict[str, tuple[bool, State, str]]:
    return {
        target.name: (bool(part.ports), part.shadows[0].state, part.shadows[0].reason)
        for target, part in plan.services.items()
    }


def test_who_exceeds_the_budget_is_named_and_comes_back_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scene, "limits", Limits(namespace_memory=MIB))
    objects = [namespace("staging"), *(each for n in (1, 2, 3) for each in scene(n, f"202{9 - n}"))]
    full = (State.REJECTED, Reason.NAMESPACE_FULL)
    pipeline = pipeline_of()
    published = pipeline.step(map(Upsert, objects), now=0.0)
    assert states(published.plan) == {
        "web-1": (True, *full),
        "web-2": (True, *full),
        "web-3": (True, State.REJECTED, Reason.NAMESPACE_FULL),
    }
    assert published.plan == resolve_module.resolve(world_of(*objects))
    gone = [Delete(ref) for ref in world_of(*scene(1, "2028")).view("staging").refs()]
    published = pipeline.step(gone, now=0.0)
    assert states(published.plan)["web-3"] == (True, State.ACTIVE, Reason.CONFIGURED)
    assert published.plan == resolve_module.resolve(published.world)
