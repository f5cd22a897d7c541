"""Resolving: less work gives the same plan, and whatever the world is like, live traffic is safe."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import event, given
from hypothesis import strategies as st

from tests.unit.pure import kube, worlds
from tests.unit.pure.kube import pipeline_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.core.backends import backends_of
from xds_server.core.conditions import Reason, errors
from xds_server.core.door import Door
from xds_server.core.hosts import own_hosts
from xds_server.core.objects import Object, Service, ref_of
from xds_server.core.plan import NOTHING, Plan, State
from xds_server.core.ports import ports_of
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.services import offer_of
from xds_server.core.workload_names import named_by
from xds_server.core.world import Change, Delete, Upsert, World

NOON = datetime(2025, 12, 31, 12, tzinfo=UTC).timestamp()
"""Half a day before the first of `worlds.TIMES`."""


@given(
    worlds.histories_with_waiting(),
    st.booleans(),
    st.lists(st.sampled_from((-24.0, 0.0, 12.0, 13.0, 24.0)), min_size=7),
)
def test_the_incremental_plan_is_the_whole_plan_after_every_step(
    history: list[list[Change]], expose_all: bool, hours: list[float]
) -> None:
    pipeline, world, plan, now = (
        pipeline_of(expose_all=expose_all),
        World(),
        Plan(),
        NOON,
    )
    door = Door()
    for batch, passed in zip(history, hours, strict=False):
        now += passed * 3600
        before, plan = (
            plan,
            resolve(world := world.apply(door.admit(batch))[0], Rules(expose_all=expose_all, now=now), plan),
        )
        published = pipeline.step(batch, now=now)

        assert published.errors == {}
        assert published.plan == plan
        assert published.expires == min(
            (p.expires for p in plan.services.values() if p.expires), default=None
        )
        assert published.expires is None or published.expires > now
        assert published.moved == {
            target
            for target in before.services.keys() | plan.services.keys()
            if before.services.get(target, NOTHING) != plan.services.get(target, NOTHING)
        }
    for shadow in plan.shadows():
        event(shadow.reason)


@given(worlds.worlds())
def test_every_marked_deployment_has_exactly_one_state_and_a_sentence(objects: list[Object]) -> None:
    world = world_of(*objects)
    shadows = resolve(world).shadows()
    marked = {
        (namespace, name)
        for namespace, view in world.namespaces.items()
        for names in view.canaries.values()
        for name in names
    }
    assert [(s.namespace, s.canary) for s in shadows] == sorted(marked)
    for shadow in shadows:
        assert shadow.message.endswith(".")
        assert shadow.message[0].isupper() or shadow.message[0].isdigit()
    kinds = {State.ACTIVE: {Reason.CONFIGURED}, State.PENDING: {Reason.NO_READY_ENDPOINT}}
    kinds[State.PAUSED] = {Reason.PAUSED, Reason.ZERO_PERCENT}
    kinds[State.EXPIRED] = {Reason.EXPIRED}
    kinds[State.REJECTED] = set(Reason) - set().union(*kinds.values())
    assert all(s.reason in kinds[s.state] for s in shadows)


@given(worlds.worlds())
def test_only_an_active_shadow_is_mirrored_to_and_every_one_is(objects: list[Object]) -> None:
    for target, service in resolve(world_of(*objects)).services.items():
        active = {s.canary: s for s in service.shadows if s.state is State.ACTIVE}
        mirrored = {mirror.canary for route in service.ports for mirror in route.mirrors}
        assert mirrored == set(active)
        for route in service.ports:
            assert route.service == target
            for mirror in route.mirrors:
                assert mirror.marker == f"{target.namespace}/{named_by(mirror.canary)[1]}"
                assert set(mirror.endpoints) <= set(active[mirror.canary].endpoints)
                assert mirror.endpoints
                assert 0 < mirror.per_million <= 1_000_000


@given(worlds.worlds())
def test_no_endpoint_of_an_active_shadow_is_live(objects: list[Object]) -> None:
    for service in resolve(world_of(*objects)).services.values():
        active = {e for s in service.shadows if s.state is State.ACTIVE for e in s.endpoints}
        live = {endpoint for route in service.ports for endpoint in route.endpoints}
        assert not active & live


@given(worlds.worlds())
def test_separation_never_takes_the_last_backend(objects: list[Object]) -> None:
    world = world_of(*objects)
    for target, plan in resolve(world).services.items():
        view = world.view(target.namespace)
        service = view.services.get(target.name)
        ports = {port.name: port.port for port in (ports_of(service).routed if service else ())}
        for route in plan.ports:
            assert service
            backends = backends_of(view, service, ports[route.name])
            active = [s for s in plan.shadows if s.state is State.ACTIVE]
            shadowed = {e for s in active for e in s.endpoints}
            event(f"backends: {bool(backends)}, shadows: {bool(active)}")
            assert set(route.endpoints) <= {b.endpoint for b in backends}
            assert not backends or {b.endpoint for b in backends} - shadowed


@given(worlds.worlds(), st.booleans())
def test_each_domain_is_claimed_at_most_once(objects: list[Object], expose_all: bool) -> None:
    plan = resolve(world_of(*objects), Rules(expose_all=expose_all))
    domains = Counter(d for s in plan.services.values() for route in s.ports for d in route.domains)
    assert [domain for domain, times in domains.items() if times > 1] == []
    for service in plan.services.values():
        for route in service.ports:
            assert list(route.domains) == sorted(route.domains)
            assert route.domains


@given(worlds.worlds())
def test_a_host_goes_to_the_service_that_it_names_else_to_the_oldest(objects: list[Object]) -> None:
    world = world_of(*objects)
    plan = resolve(world)
    offers = {
        NamespacedName(namespace, name): offer_of(view, service, expose_all=False)
        for namespace, view in world.namespaces.items()
        for name, service in view.services.items()
    }
    served = {d: t for t, part in plan.services.items() for port in part.ports for d in port.domains}
    for host in {host for offer in offers.values() for host in offer.hosts}:
        claims = {target: offer.age for target, offer in offers.items() if host in offer.claims}
        owner = min(claims, key=lambda target: (host not in own_hosts(target), claims[target]))
        assert served.get(host) == (owner if host in offers[owner].hosts else None)
        losers = {
            str(problem.subject)
            for problem in errors(plan.conditions())
            if f"Host {host} " in problem.message
        }
        assert losers == {f"Service {t}" for t, offer in offers.items() if host in offer.hosts and t != owner}


@given(worlds.histories())
def test_two_worlds_with_the_same_objects_have_the_same_plan(history: list[list[Change]]) -> None:
    changes = [change for batch in history for change in batch]
    world, _ = World().apply(changes)
    rebuilt = world_of(
        *(
            obj
            for view in reversed(list(world.namespaces.values()))
            for ref in reversed(list(view.refs()))
            if (obj := world.get(ref))
        )
    )
    assert resolve(rebuilt) == resolve(world)
    assert list(resolve(rebuilt).services) == list(resolve(world).services)


def test_a_host_that_changes_hands_moves_the_services_that_claim_it_in_any_namespace() -> None:
    def claiming(name: str, namespace: str, created: str) -> Service:
        return kube.service(
            name, namespace=namespace, expose="true", created=created, annotations={"hosts": "app.example"}
        )

    owner, second = claiming("owner", "b", "2024"), claiming("second", "a", "2025")
    pipeline = pipeline_of()
    published = pipeline.step(map(Upsert, (owner, second)), now=0.0)
    assert [str(p.subject) for p in errors(published.plan.conditions())] == ["Service a/second"]

    published = pipeline.step([Delete(ref_of(owner))], now=0.0)
    assert published.moved == {NamespacedName("b", "owner"), NamespacedName("a", "second")}
    assert published.plan == resolve(published.world)
    assert errors(published.plan.conditions()) == []


def test_nothing_comes_of_nothing() -> None:
    published = pipeline_of().step((), now=0.0)
    assert published.moved == frozenset()
    assert published.plan == resolve(World()) == Plan()
