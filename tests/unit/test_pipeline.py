"""The pipeline as a whole: one step, and what a failure of ours costs."""

from types import ModuleType
from typing import Any

import msgspec
import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from tests.support import objects
from tests.support.snapshots import dangling
from xds_server.base.address import Address
from xds_server.base.errors import DanglingReferenceError
from xds_server.base.ids import NamespacedName
from xds_server.core import resolve, world
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason, errors
from xds_server.core.door import Door
from xds_server.core.hosts import HostTable
from xds_server.core.ledger import Ledger
from xds_server.core.objects import KINDS, Kind
from xds_server.core.plan import State
from xds_server.core.world import Change, Report, Upsert
from xds_server.server.explain import explain
from xds_server.server.pipeline import Pipeline, Published
from xds_server.translate import translate
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT


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
    assert dangling(published.snapshot) == []


def test_a_step_without_a_change_gives_equal_bytes() -> None:
    pipeline = _pipeline()
    first = pipeline.step(_example(), now=0.0)
    again = pipeline.step(_example(), now=0.0)
    assert again.moved == frozenset()
    assert again.snapshot == first.snapshot


def test_reports_and_plan_make_up_the_problems() -> None:
    broken = Condition(NO_SUBJECT, Reason.INVALID_FILE, "It is broken.", origin="a.yaml")
    portless = objects.service("portless", ports=[])
    published = _pipeline().step(
        [Report("a.yaml", (broken,)), *_changes(objects.namespace(), portless)], now=0.0
    )
    assert [problem.reason for problem in errors(published.conditions())] == ["InvalidFile", "NoHttpPort"]


def test_an_unknown_label_is_a_problem() -> None:
    misspelt = objects.service("web")
    misspelt["metadata"]["labels"] = {"xds-shadow.io/exposed": "true"}
    published = _pipeline().step(_changes(misspelt), now=0.0)
    [problem] = errors(published.conditions())
    assert (str(problem.subject), problem.reason) == ("Service staging/web", "InvalidLabel")


OTHER = NamespacedName("staging", "other-app")


def _both(mine: str, theirs: str) -> list[Change]:
    return [
        *_example(),
        *_changes(
            *objects.endpoint_slice("myapp", [("stable-1", Address(mine, 80))]),
            objects.service("other-app"),
            *objects.endpoint_slice("other-app", [("other-1", Address(theirs, 80))]),
        ),
    ]


def _served(published: Published, service: str) -> list[str]:
    (port,) = published.plan.services[NamespacedName("staging", service)].ports
    body = published.snapshot.of(ENDPOINT).resources[f"staging/{service}/http"].body
    (locality,) = ClusterLoadAssignment.FromString(body).endpoints
    found = [each.endpoint.address.socket_address.address for each in locality.lb_endpoints]
    assert [endpoint.address for endpoint in port.endpoints] == found
    return found


@pytest.mark.parametrize(
    ("module", "name"),
    [(resolve, "offer_of"), (resolve, "separate"), (resolve, "judge"), (translate, "load_assignment")],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_internal_error_costs_only_one_service_its_update(
    module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, works = _pipeline(), getattr(module, name)
    pipeline.step(_both("10.0.0.1", "10.0.9.1"), now=0.0)

    def raises(*args: Any, **keywords: Any) -> Any:
        if any("staging/myapp" in str(each) or getattr(each, "name", "") == "myapp" for each in args):
            raise RuntimeError("a bug of ours")
        return works(*args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, raises)
        touched = _changes(objects.service("myapp", annotations={"xds-shadow.io/hosts": "a.test"}))
        broken = pipeline.step([*_both("10.0.0.2", "10.0.9.2"), *touched], now=0.0)
        assert broken.moved == {OTHER}
        assert (_served(broken, "myapp"), _served(broken, "other-app")) == (["10.0.0.1"], ["10.0.9.2"])
        assert list(map(str, broken.errors)) == ["Service staging/myapp"]
        assert [(str(p.subject), p.reason) for p in errors(broken.conditions())] == [
            ("Service staging/myapp", "InternalError")
        ]
        # Nothing of it is built again as long as nothing of it changes.
        assert pipeline.step([], now=0.0).errors == broken.errors

    mended = pipeline.step(_both("10.0.0.3", "10.0.9.2"), now=0.0)
    assert mended.errors == {}
    assert _served(mended, "myapp") == ["10.0.0.3"]
    assert mended.snapshot == _pipeline().step(_both("10.0.0.3", "10.0.9.2"), now=0.0).snapshot


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (Door, "_slice"),
        (world, "_update_slices"),
        (resolve, "_touched"),
        (HostTable, "claim"),
        (Ledger, "settle"),
        (Snapshot, "updated"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_error_of_ours_at_any_stage_loses_no_change_of_another(
    of: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What raises does so for what has to do with namespace broken."""
    pipeline, works = _pipeline(), getattr(of, name)
    known = Upsert(
        msgspec.convert(_moved_to(objects.pod("p", Address("10.0.5.9", 80)), "broken"), KINDS[Kind.POD])
    )
    pipeline.step([known, *_both("10.0.0.1", "10.0.9.1")], now=0.0)

    def raises(*args: Any, **keywords: Any) -> Any:
        if any("broken" in _text(each) for each in args[isinstance(of, type) :]):
            raise RuntimeError("a bug of ours")
        return works(*args, **keywords)

    bad = [
        Upsert(msgspec.convert(_moved_to(document, "broken"), KINDS[Kind(document["kind"])]))
        for document in (
            objects.service("broken", labels={"xds-shadow.io/expose": "true"}),
            *objects.endpoint_slice("broken", [("broken-1", Address("10.0.5.1", 80))]),
        )
    ]
    with monkeypatch.context() as patch:
        patch.setattr(of, name, raises)
        published = pipeline.step([*bad, *_both("10.0.0.2", "10.0.9.2")], now=0.0)
        assert (_served(published, "myapp"), _served(published, "other-app")) == (["10.0.0.2"], ["10.0.9.2"])
        assert published.errors
        assert all("broken" in subject for subject in published.errors)
        assert {problem.reason for problem in errors(published.conditions())} == {"InternalError"}
    mended = pipeline.step([*bad[:1], *_changes(objects.namespace("broken"))], now=0.0)
    again = [change for change in bad if "Slice" in type(change.obj).__name__]
    whole = _pipeline().step(
        [*bad, *_both("10.0.0.2", "10.0.9.2"), *_changes(objects.namespace("broken"))], now=0.0
    )
    assert pipeline.step([*again, *bad], now=0.0).plan == whole.plan
    assert _served(mended, "myapp") == ["10.0.0.2"]


def _text(of: Any) -> str:
    if isinstance(of, list | tuple | set | frozenset):
        return " ".join(map(_text, of))
    return " ".join([str(of), *(str(getattr(of, name, "")) for name in ("name", "key"))])


def _moved_to(document: objects.Document, namespace: str) -> objects.Document:
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def test_a_share_that_is_not_whole_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = _pipeline()
    with monkeypatch.context() as patch:
        elsewhere = Resource(ResourceKey(ENDPOINT, "elsewhere"), b"")
        patch.setattr(translate, "load_assignment", lambda *_, **__: elsewhere)
        published = pipeline.step(_example(), now=0.0)
    (error,) = published.errors.values()
    assert isinstance(error, DanglingReferenceError)
    assert len(published.snapshot.of(CLUSTER).resources) == 0


def test_explain_leaves_other_canaries_out() -> None:
    published = _pipeline().step(
        [*_example(), *_changes(objects.canary("other", selects={"app": "myapp-canary"}))], now=0.0
    )
    found = explain(published, NamespacedName("staging", "myapp-canary"))
    assert found is not None
    assert [route.shadow_cluster for route in found.routes] == ["staging/myapp/http/shadow/myapp-canary"]
    assert sorted({resource.name for resource in found.resources}) == [
        "gateway",
        "staging/myapp/http",
        "staging/myapp/http/shadow/myapp-canary",
    ]
    assert explain(published, NamespacedName("staging", "myapp")) is None


def test_explain_says_where_nothing_is_mirrored() -> None:
    found = explain(_pipeline().step(_example(), now=0.0), NamespacedName("staging", "other"))
    assert found is not None
    assert found.shadow.state is State.REJECTED
    assert [route.shadow_cluster for route in found.routes] == [""]
