"""Every reason for which a change of one object moves a Service's part of the plan, each by itself."""

import pytest

from tests.unit.pure import kube
from tests.unit.pure.kube import at, canary, pipeline_of, pod, service, slice_of
from xds_server.base.ids import NamespacedName
from xds_server.core.objects import Deployment, LabelSelector, Meta, Object, ServicePort, ref_of
from xds_server.core.resolve import resolve
from xds_server.core.world import Change, Delete, Upsert

WEB = service("web")
GREEN = service("green")
SCENE: tuple[Object, ...] = (
    kube.namespace("staging"),
    WEB,
    GREEN,
    service("other"),
    slice_of("web", at("10.0.0.1", pod="w"), at("10.0.1.1", pod="one-1")),
    slice_of("green", at("10.0.2.1", pod="g")),
    canary("one", "web"),
    pod("one-1", "one", "10.0.1.1"),
    canary("two", "web", endpoints_from=" service/green "),
    canary("lost", "nowhere"),
)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (Upsert(kube.namespace("staging", expose="false")), {"web", "green", "other"}),
        (Upsert(kube.namespace("elsewhere")), set()),
        (Upsert(service("web", expose="false")), {"web"}),
        (Delete(ref_of(WEB)), {"web"}),
        (Upsert(service("nowhere")), {"nowhere"}),
        # A Service that feeds a canary of another: its going, its ports, its endpoints.
        (Delete(ref_of(GREEN)), {"web", "green"}),
        (Upsert(service("green", expose="false", ports=(ServicePort(port=80, name="x"),))), {"web", "green"}),
        (Upsert(slice_of("green", at("10.0.2.2"))), {"web", "green"}),
        (Delete(ref_of(slice_of("green"))), {"web", "green"}),
        (Upsert(slice_of("web", at("10.0.0.2"))), {"web"}),
        (Upsert(slice_of("other", at("10.0.0.2"), name="web-1")), {"web", "other"}),
        (Upsert(canary("one", "web", percent="5")), {"web"}),
        (Upsert(canary("one", "other")), {"web", "other"}),
        (Upsert(canary("one", None)), {"web"}),
        (Upsert(Deployment(metadata=Meta(name="plain", namespace="staging"))), set()),
        (Upsert(pod("one-2", "one", "10.0.1.2")), {"web"}),
        (Upsert(pod("one-1", "one", "10.0.1.1", ready=False)), {"web"}),
        (Upsert(pod("one-1", "relabelled", "10.0.1.1")), {"web"}),
        (Upsert(pod("stray", "stray", "10.0.9.9")), set()),
    ],
)
def test_a_change_moves_these_services(change: Change, moved: set[str]) -> None:
    pipeline = pipeline_of()
    published = pipeline.step(map(Upsert, SCENE), now=0.0)
    assert published.plan == resolve(published.world)

    published = pipeline.step([change], now=0.0)
    assert published.moved == {NamespacedName("staging", name) for name in moved}
    assert published.plan == resolve(published.world)


def test_a_deployment_that_selects_everything_by_mistake_is_no_reason() -> None:
    careless = canary("one", "web")
    pipeline = pipeline_of()
    marked = Deployment(metadata=careless.metadata, spec=type(careless.spec)(selector=LabelSelector()))
    pipeline.step([Upsert(each) for each in (kube.namespace("staging"), WEB, marked)], now=0.0)
    assert pipeline.step([Upsert(pod("stray", "stray", "10.0.9.9"))], now=0.0).moved == frozenset()
