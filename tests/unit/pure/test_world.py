"""The world, case by case."""

import pytest

from tests.unit.pure import kube
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.objects import WORKLOADS, Deployment, Kind, Meta, Namespace, Object, Pod, Ref, ref_of
from xds_server.core.world import (
    Awaiting,
    Change,
    Delete,
    Report,
    Upsert,
    World,
    key_of,
    namespace_of,
)

SAMPLES: dict[Kind, Object] = {
    Kind.NAMESPACE: kube.namespace("staging"),
    Kind.SERVICE: kube.service("myapp"),
    Kind.DEPLOYMENT: kube.canary("myapp-canary", "myapp"),
    **{kind: kube.marked(kind, "other", "other") for kind in WORKLOADS[1:]},
    Kind.ENDPOINT_SLICE: kube.slice_of("myapp", kube.at("10.0.0.1")),
    Kind.POD: kube.pod("myapp-a", "myapp", "10.0.0.1"),
    Kind.SECRET: kube.secret("token", value="Bearer t"),
}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_comes_changes_and_goes(kind: Kind) -> None:
    obj = SAMPLES[kind]
    ref = ref_of(obj)
    assert ref.kind is kind
    assert namespace_of(ref) == "staging"

    there, changed = World().apply([Upsert(obj)])
    assert there.get(ref) == obj
    assert changed == {ref}
    assert list(there.view("staging").refs()) == [ref]

    same, changed = there.apply([Upsert(obj)])
    assert same == there
    assert changed == frozenset()

    gone, changed = there.apply([Delete(ref)])
    assert gone == World()
    assert changed == {ref}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_not_there_is_none(kind: Kind) -> None:
    ref = Ref(kind, "" if kind is Kind.NAMESPACE else "other", "other")
    world = kube.world_of(*SAMPLES.values())
    assert world.get(ref) is None
    assert world.view("staging").get(ref_of(SAMPLES[kind])) == SAMPLES[kind]


def test_an_old_world_is_not_changed_by_a_new_one() -> None:
    before = kube.world_of(*SAMPLES.values())
    after, _ = before.apply([Delete(ref_of(SAMPLES[Kind.SERVICE])), Upsert(kube.canary("b", "myapp"))])
    assert before == kube.world_of(*SAMPLES.values())
    assert after.view("staging").canaries["myapp"] == ("b", "myapp-canary")
    assert before.view("staging").canaries["myapp"] == ("myapp-canary",)


def test_an_untouched_namespace_is_shared() -> None:
    before = kube.world_of(*SAMPLES.values())
    after, _ = before.apply([Upsert(kube.service("shop", namespace="prod"))])
    assert after.view("staging") is before.view("staging")


def test_a_slice_can_move_to_another_service() -> None:
    before = kube.world_of(kube.slice_of("one", name="s"), kube.slice_of("one", name="t"))
    moved = kube.slice_of("two", name="s")
    after, changed = before.apply([Upsert(moved)])
    assert {service: set(group) for service, group in after.view("staging").slices.items()} == {
        "one": {"t"},
        "two": {"s"},
    }
    assert changed == {Ref(Kind.ENDPOINT_SLICE, "staging", "s")}


def test_of_two_changes_of_one_object_in_a_batch_the_later_counts() -> None:
    first, second = kube.service("myapp"), kube.service("myapp", expose="true")
    world, _ = World().apply([Upsert(first), Upsert(second)])
    assert world.get(ref_of(first)) == second
    assert World().apply([Upsert(first), Delete(ref_of(first))]) == (World(), frozenset())


def test_a_report_replaces_what_its_origin_said_before() -> None:
    bad, worse = (
        Condition(Subject("Service", "a", "b"), Reason.INVALID_PORT, "It is bad."),
        Condition(Subject("Service", "a", "b"), Reason.INVALID_ADDRESS, "It is worse."),
    )
    world, changed = World().apply([Report("one.yaml", (bad,)), Report("two.yaml", (bad,))])
    assert world.reports == {"one.yaml": (bad,), "two.yaml": (bad,)}
    assert changed == frozenset()
    world, _ = world.apply([Report("one.yaml", (worse,)), Report("two.yaml", ())])
    assert world.reports == {"one.yaml": (worse,)}


class TestAwaiting:
    """Of Pods, by the selector of the Deployments that they belong to, and of a Namespace."""

    ONE, TWO, OTHER = (
        kube.canary("one", "web", app="x"),
        kube.canary("two", "web", app="x"),
        kube.canary("three", "web"),
    )

    def test_it_concerns_the_deployments_with_that_selector(self) -> None:
        world, _ = World().apply([Upsert(self.ONE), Upsert(self.TWO), Upsert(self.OTHER)])
        world, changed = world.apply([Awaiting("staging", "app=x", waiting=True)])
        assert world.view("staging").awaited == {"app=x"}
        assert changed == {ref_of(self.ONE), ref_of(self.TWO)}
        assert world.apply([Awaiting("staging", "app=x", waiting=True)]) == (world, frozenset())
        world, changed = world.apply([Awaiting("staging", "app=x", waiting=False)])
        assert world.view("staging").awaited == frozenset()
        assert changed == {ref_of(self.ONE), ref_of(self.TWO)}
        assert world.apply([Awaiting("staging", "app=x", waiting=False)]) == (world, frozenset())

    def test_a_deployment_that_comes_with_it_is_concerned(self) -> None:
        _, changed = World().apply([Awaiting("staging", "app=x", waiting=True), Upsert(self.ONE)])
        assert changed == {ref_of(self.ONE)}

    def test_it_ends_with_the_first_list(self) -> None:
        """Which comes in one step with the Pods."""
        pod = kube.pod("p", "x", "10.0.0.1")
        world, _ = World().apply([Upsert(self.ONE), Awaiting("staging", "app=x", waiting=True)])
        world, changed = world.apply([Upsert(pod), Awaiting("staging", "app=x", waiting=False)])
        assert changed == {ref_of(pod), ref_of(self.ONE)}
        assert world.view("staging").awaited == frozenset()

    def test_of_a_namespace_it_stays_while_nothing_else_is_there(self) -> None:
        world, changed = World().apply([Awaiting("staging", "", waiting=True)])
        assert changed == {Ref(Kind.NAMESPACE, "", "staging")}
        assert world.view("staging").awaited == {""}
        world, changed = world.apply([Awaiting("staging", "", waiting=False)])
        assert world == World()
        assert changed == {Ref(Kind.NAMESPACE, "", "staging")}

    def test_of_a_namespace_it_concerns_no_deployment(self) -> None:
        odd = Deployment(metadata=Meta(name="odd", namespace="staging"))
        world, _ = World().apply([Upsert(odd), Upsert(self.ONE)])
        _, changed = world.apply([Awaiting("staging", "", waiting=True)])
        assert changed == {Ref(Kind.NAMESPACE, "", "staging")}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (Upsert(kube.service("myapp")), Ref(Kind.SERVICE, "staging", "myapp")),
        (Delete(Ref(Kind.POD, "staging", "p")), Ref(Kind.POD, "staging", "p")),
        (Report("one.yaml", ()), "one.yaml"),
        (Awaiting("staging", "app=x", waiting=True), ("staging", "app=x")),
    ],
)
def test_the_key_of_a_change(change: Change, key: object) -> None:
    assert key_of(change) == key


def test_a_reference_reads_as_people_write_it() -> None:
    assert str(Ref(Kind.SERVICE, "staging", "myapp")) == "Service staging/myapp"
    assert str(ref_of(Namespace(metadata=Meta(name="staging")))) == "Namespace staging"


@pytest.mark.parametrize(
    ("pod", "ready"),
    [
        (kube.pod("p", "x", "10.0.0.1"), True),
        (kube.pod("p", "x", "10.0.0.1", ready=False), False),
        (kube.pod("p", "x", "10.0.0.1", leaving=True), False),
        (Pod(metadata=Meta(name="p")), False),
    ],
)
def test_a_pod_is_ready_while_it_says_so_and_is_not_leaving(pod: Pod, *, ready: bool) -> None:
    assert pod.ready is ready


def test_nulls_of_the_api_read_as_nothing() -> None:
    found = kube.from_yaml(
        "{kind: Service, metadata: {name: a, labels: null, annotations: null}, spec: {ports: null}}"
    )[0]
    assert (found.labels, found.annotations, found.namespace, found.created) == ({}, {}, "", "")
    assert kube.service("a", ports=None).ports == ()
