"""The pipeline as a whole: one step, and what a failure of ours costs."""

import msgspec
import pytest

from tests.support import objects
from xds_server.base.address import Address
from xds_server.base.errors import DanglingReferenceError
from xds_server.base.ids import NamespacedName
from xds_server.explain import explain
from xds_server.model.objects import KINDS, Kind
from xds_server.model.problems import Problem
from xds_server.model.world import Change, Report, Upsert
from xds_server.pipeline import Pipeline
from xds_server.shadows.plan import State
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.types import ENDPOINT
from xds_server.translate import translate


def _changes(*documents: objects.Document) -> list[Change]:
    return [Upsert(msgspec.convert(d, KINDS[Kind(d["kind"])])) for d in documents]


def _example() -> list[Change]:
    return _changes(
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
        objects.canary(),
        objects.pod("canary-1", Address("10.0.0.2", 80)),
        objects.canary("other", percent="nonsense"),
    )


def _pipeline() -> Pipeline:
    return Pipeline(gateway_port=8080, expose_all=False)


def test_a_step_publishes_plan_and_snapshot_together() -> None:
    published = _pipeline().step(_example(), now=0.0)
    assert published.moved == {NamespacedName("staging", "myapp")}
    assert [shadow.state for shadow in published.plan.shadows()] == [State.ACTIVE, State.REJECTED]
    assert published.snapshot.dangling() == []


def test_a_step_without_a_change_gives_equal_bytes() -> None:
    pipeline = _pipeline()
    first = pipeline.step(_example(), now=0.0)
    again = pipeline.step(_example(), now=0.0)
    assert again.moved == frozenset()
    assert again.snapshot == first.snapshot


def test_reports_and_plan_make_up_the_problems() -> None:
    broken = Problem("", "InvalidYaml", "It is broken.", "a.yaml")
    portless = objects.service("portless", ports=[])
    published = _pipeline().step(
        [Report("a.yaml", (broken,)), *_changes(objects.namespace(), portless)], now=0.0
    )
    assert [problem.reason for problem in published.problems()] == ["InvalidYaml", "NoHttpPort"]


def _elsewhere() -> Resource:
    return Resource(ResourceKey(ENDPOINT, "elsewhere"), b"")


def test_after_a_failure_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline()
    with monkeypatch.context() as patch:
        patch.setattr(translate, "load_assignment", lambda *_, **__: _elsewhere())
        with pytest.raises(DanglingReferenceError, match=r"refers to .+ which is not there"):
            pipeline.step(_example(), now=0.0)
    recovered = pipeline.step([], now=0.0)
    assert recovered.snapshot == _pipeline().step(_example(), now=0.0).snapshot
    assert recovered.moved == {NamespacedName("staging", "myapp")}


def test_explain_leaves_other_canaries_out() -> None:
    published = _pipeline().step(
        [*_example(), *_changes(objects.canary("other", selects={"app": "myapp-canary"}))], now=0.0
    )
    found = explain(published, NamespacedName("staging", "myapp-canary"))
    assert found is not None
    assert [route.shadow_cluster for route in found.routes] == ["staging/myapp/8181/shadow/myapp-canary"]
    assert sorted({resource.name for resource in found.resources}) == [
        "gateway",
        "staging/myapp/8181",
        "staging/myapp/8181/shadow/myapp-canary",
    ]
    assert explain(published, NamespacedName("staging", "myapp")) is None


def test_explain_says_where_nothing_is_mirrored() -> None:
    found = explain(_pipeline().step(_example(), now=0.0), NamespacedName("staging", "other"))
    assert found is not None
    assert found.shadow.state is State.REJECTED
    assert [route.shadow_cluster for route in found.routes] == [""]
