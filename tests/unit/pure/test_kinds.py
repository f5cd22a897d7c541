"""What holds for a Deployment that is marked holds for every workload that is."""

import msgspec
import pytest

from tests.support.snapshots import dangling
from tests.unit.pure.kube import at, canary, marked, namespace, pipeline_of, pod, service, slice_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason, errors
from xds_server.core.keys import SHADOW_OF
from xds_server.core.misplaced_labels import MisplacedLabels
from xds_server.core.objects import (
    WORKLOADS,
    Kind,
    LabelSelector,
    Meta,
    Object,
    OwnedMeta,
    OwnerReference,
    Ref,
    ReplicaSet,
    Rollout,
    RolloutSpec,
    WorkloadRef,
    ref_of,
    workload_key,
)
from xds_server.core.plan import Plan, ShadowStatus, State
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.transitions import transitions
from xds_server.core.workload_names import KINDS_IN_WORDS, kind_called, named_by
from xds_server.core.world import Change, Delete, Upsert
from xds_server.kube.events import event
from xds_server.server.explain import explain
from xds_server.translate import names
from xds_server.translate.blame import blame

MYAPP = NamespacedName("staging", "myapp")
STABLE = slice_of("myapp", at("10.0.0.1", pod="myapp-a"), at("10.0.1.1", pod="canary-a"))
POD = pod("canary-a", "canary", "10.0.1.1")


def plan_of(*objects: Object) -> Plan:
    return resolve(world_of(namespace("staging"), service("myapp"), *objects))


def shadows(*objects: Object) -> dict[str, ShadowStatus]:
    return {each.canary: each for each in plan_of(*objects).shadows()}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_each_kind_is_mirrored_to_and_kept_out_of_live_traffic(kind: Kind) -> None:
    plan = plan_of(STABLE, POD, marked(kind, "canary", "myapp", percent="25"))
    [shadow] = plan.shadows()
    assert (shadow.kind, shadow.name, shadow.state) == (kind, "canary", State.ACTIVE)
    assert [str(setting.origin) for setting in shadow.settings] == [f"the {kind}"]
    [port] = plan.services[MYAPP].ports
    assert [str(each) for each in port.endpoints] == ["10.0.0.1:80"]
    [mirror] = port.mirrors
    assert (mirror.canary, mirror.marker) == (workload_key(kind, "canary"), "staging/canary")
    cluster = names.shadow_cluster(MYAPP, "", mirror.canary)
    assert names.shadowing_canary(cluster) == mirror.canary
    assert {(each.service, each.canary) for each in blame(f"cluster '{cluster}' is bad")} == {
        (MYAPP, mirror.canary)
    }


@pytest.mark.parametrize("kind", WORKLOADS)
def test_the_only_endpoints_stay_and_the_sentence_names_the_kind(kind: Kind) -> None:
    only = slice_of("myapp", at("10.0.1.1", pod="canary-a"))
    [shadow] = plan_of(only, POD, marked(kind, "canary", "myapp")).shadows()
    assert shadow.reason is Reason.WOULD_EMPTY_SERVICE
    assert f"belongs to this {kind} or to another canary" in shadow.message


def test_the_message_of_an_expired_shadow_names_its_own_annotation() -> None:
    ended = marked(Kind.STATEFUL_SET, "canary", "myapp", until="2020-01-01T00:00:00Z")
    world = world_of(namespace("staging"), service("myapp"), POD, ended)
    [shadow] = resolve(world, Rules(now=2e9)).shadows()
    assert (
        shadow.message == "The time of annotation xds-shadow.io/until has passed. No requests are mirrored."
    )


def test_two_kinds_may_have_one_name() -> None:
    other = pod("canary-0", "set", "10.0.1.2")
    objects = (POD, other, canary("canary", "myapp"), marked(Kind.STATEFUL_SET, "canary", "myapp", app="set"))
    found = shadows(slice_of("myapp", at("10.0.0.1")), *objects)
    assert {key: [str(e) for e in each.endpoints] for key, each in found.items()} == {
        "canary": ["10.0.1.1:80"],
        "statefulset/canary": ["10.0.1.2:80"],
    }
    changes = [Upsert(each) for each in (namespace("staging"), service("myapp"), *objects)]
    published = pipeline_of().step(changes, now=0.0)

    assert dangling(published.snapshot) == []
    for key, kind in (("canary", Kind.DEPLOYMENT), ("statefulset/canary", Kind.STATEFUL_SET)):
        explained = explain(published, NamespacedName("staging", key))
        assert explained
        assert (explained.shadow.kind, explained.routes[0].shadow_cluster) == (
            kind,
            f"staging/myapp/shadow/{key}",
        )
    assert explain(published, NamespacedName("staging", "daemonset/canary")) is None


def test_the_oldest_of_all_kinds_comes_first() -> None:
    kinds = [canary("b", "myapp", created="2026-01-02T00:00:00Z")]
    older = msgspec.structs.replace(
        marked(Kind.DAEMON_SET, "a", "myapp"),
        metadata=Meta(
            name="a",
            namespace="staging",
            labels={SHADOW_OF: "myapp"},
            creation_timestamp="2026-01-01T00:00:00Z",
        ),
    )
    limited = namespace("staging", annotations={"shadows-max": "1"})
    plan = resolve(world_of(limited, service("myapp"), *kinds, older))
    assert {each.canary: each.reason is Reason.TOO_MANY_SHADOWS for each in plan.shadows()} == {
        "b": True,
        "daemonset/a": False,
    }


@pytest.mark.parametrize("kind", WORKLOADS)
def test_events_are_on_the_object_that_is_marked(kind: Kind) -> None:
    before = world_of(namespace("staging"), service("myapp"))
    after, _ = before.apply([Upsert(marked(kind, "canary", "myapp"))])
    [note] = transitions((before, Plan()), (after, resolve(after)), [MYAPP])
    assert (note.subject.kind, note.subject.name) == (kind, "canary")
    involved = event(note, instance="a", now=0.0)["involvedObject"]
    assert (involved["apiVersion"], involved["kind"], involved["name"]) == (
        kind.api_version,
        kind,
        "canary",
    )


# A label that has no effect

BY_REFERENCE = (
    "Its Pods are those of {} (spec.workloadRef), and a Rollout without a spec.selector does not say which."
    f" Put the label {SHADOW_OF}"
)


def rollout(ref: WorkloadRef | None, selector: LabelSelector | None = None) -> Rollout:
    metadata = Meta(name="canary", namespace="staging", labels={SHADOW_OF: "myapp"})
    return Rollout(
        metadata=metadata, spec=RolloutSpec(selector=selector or LabelSelector(), workload_ref=ref)
    )


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (
            WorkloadRef(kind="Deployment", name="web"),
            f"{BY_REFERENCE.format('Deployment web')} on Deployment web.",
        ),
        (
            WorkloadRef(kind="PodTemplate", name="web"),
            f"{BY_REFERENCE.format('PodTemplate web')} where the selector is.",
        ),
        (None, "It has no spec.selector, which says which Pods get the mirrored requests."),
    ],
)
def test_a_rollout_without_a_selector_says_where_the_label_belongs(
    ref: WorkloadRef | None, message: str
) -> None:
    [shadow] = plan_of(POD, rollout(ref)).shadows()
    assert (shadow.state, shadow.reason, shadow.message) == (State.REJECTED, Reason.INVALID_LABEL, message)


def test_a_rollout_with_both_is_as_its_selector_says() -> None:
    own = LabelSelector(match_labels={"app": "canary"})
    [shadow] = plan_of(POD, rollout(WorkloadRef(kind="Deployment", name="web"), own)).shadows()
    assert shadow.state is State.ACTIVE


def made(by: str | None, *, controls: bool = True, labelled: bool = True) -> ReplicaSet:
    owners = (OwnerReference(kind="Deployment", name=by, controller=controls),) if by else None
    labels = {SHADOW_OF: "myapp"} if labelled else None
    metadata = OwnedMeta(name="canary-1", namespace="staging", labels=labels, owner_references=owners)
    return ReplicaSet(metadata=metadata, spec=marked(Kind.REPLICA_SET, "a", None, app="canary").spec)


def test_a_replica_set_that_a_deployment_makes_is_no_canary() -> None:
    assert shadows(POD, made("web")) == {}
    assert (
        set(shadows(POD, made(None)))
        == set(shadows(POD, made("web", controls=False)))
        == {"replicaset/canary-1"}
    )


def test_a_label_that_marks_nothing_is_a_problem_of_who_has_it() -> None:
    wrong = service("web")
    wrong = msgspec.structs.replace(
        wrong, metadata=Meta(name="web", namespace="staging", labels={SHADOW_OF: "x"})
    )
    pods = [
        msgspec.structs.replace(
            pod(f"p-{n}", "x"), metadata=Meta(name=f"p-{n}", namespace="staging", labels={SHADOW_OF: "x"})
        )
        for n in range(5)
    ]
    marks = MisplacedLabels()
    reports = marks.note(
        [Upsert(wrong), *map(Upsert, pods), Upsert(made("web")), Upsert(canary("fine", "web"))]
    )
    found = {str(problem.subject): problem for report in reports for problem in report.problems}
    assert set(found) == {"Service staging/web", "Pod staging/p-0", "Deployment staging/web"}
    assert {each.reason for each in found.values()} == {"InvalidLabel"}
    assert "has no effect on a Pod (p-0, p-1, p-2 and 2 more); put it on the canary's" in (
        found["Pod staging/p-0"].message
    )
    assert f"put it on the canary's {KINDS_IN_WORDS}" in (found["Service staging/web"].message)
    assert "has no effect in a Pod template" in found["Deployment staging/web"].message
    # Said once, and no more when it is over.
    assert marks.note([Upsert(wrong), Upsert(pods[4])]) == []
    [one] = marks.note([Delete(ref_of(each)) for each in pods[1:]])
    assert "(p-0)" in one.problems[0].message
    freed = made("web", labelled=False)
    over: list[Change] = [
        Upsert(service("web")),
        Delete(ref_of(pods[0])),
        Upsert(freed),
    ]
    gone = marks.note(over)
    assert {report.problems for report in gone} == {()}
    assert [report.origin for report in gone] == [
        "misplaced labels: Service staging/web",
        "misplaced labels: Pods staging",
        "misplaced labels: Deployment staging/web",
    ]
    assert marks.note([Delete(Ref(Kind.SERVICE, "staging", "web"))]) == []


def test_a_replica_set_that_changes_hands_is_a_problem_of_the_new_maker() -> None:
    marks = MisplacedLabels()
    marks.note([Upsert(made("web"))])
    reports = marks.note([Upsert(made("api"))])
    assert [(report.origin, len(report.problems)) for report in reports] == [
        ("misplaced labels: Deployment staging/web", 0),
        ("misplaced labels: Deployment staging/api", 1),
    ]


def test_the_pipeline_reports_them() -> None:
    wrong = made("web")
    pipeline = pipeline_of()
    published = pipeline.step([Upsert(namespace("staging")), Upsert(wrong)], now=0.0)
    assert [str(problem.subject) for problem in errors(published.conditions())] == ["Deployment staging/web"]
    assert pipeline.step([Delete(ref_of(wrong))], now=0.0).conditions() == []


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_key_names_one_workload(kind: Kind) -> None:
    assert named_by(workload_key(kind, "db")) == (kind, "db")


@pytest.mark.parametrize("kind", WORKLOADS)
def test_kinds_have_the_names_that_kubectl_accepts(kind: Kind) -> None:
    group, _, _ = kind.api_version.partition("/")
    for word in (kind, kind.lower(), kind.resource, f"{kind.resource}.{group}", kind.short):
        assert kind_called(word) is kind


@pytest.mark.parametrize("word", ["pod", "", "s"])
def test_no_other_word_names_a_kind(word: str) -> None:
    assert kind_called(word) is None


def test_every_kind_has_a_short_name_of_its_own() -> None:
    assert len({kind.short for kind in WORKLOADS} - {""}) == len(WORKLOADS)
