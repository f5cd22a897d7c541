"""Which Pod templates evidence is about."""

from typing import Any

import pytest

from tests.support import objects
from tests.support.objects import Document
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.templates import template_of
from xds_server.server.pipeline import Pipeline


def template(*documents: Document, canary: str = "myapp-canary") -> str:
    published = Pipeline(gateway_port=8080, expose_all=False).step(_changes(*documents), now=0.0)
    plan = published.plan.services[NamespacedName("staging", "myapp")]
    return template_of(published.world.view("staging"), "myapp", plan, canary)


def world(
    stable: str = "web-5d4f-abcde",
    canary: str = "web-canary-77c9-abcde",
    revision: str = "",
    label: str = "pod-template-hash",
    **annotations: Any,
) -> list[Document]:
    labels = {"app": "myapp-canary", **({label: revision} if revision else {})}
    return [
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [(stable, Address("10.0.0.1", 80))]),
        objects.canary("myapp-canary", shadow_of="myapp", **annotations),
        objects.pod(canary, Address("10.0.0.2", 80), labels=labels),
    ]


def test_pods_of_one_replica_set_have_one_template() -> None:
    assert template(*world()) == template(*world(stable="web-5d4f-other", canary="web-canary-77c9-other"))


@pytest.mark.parametrize(
    "label", ["rollouts-pod-template-hash", "pod-template-hash", "controller-revision-hash"]
)
def test_a_template_is_another_by_its_label(label: str) -> None:
    one, other = (template(*world(label=label, revision=revision)) for revision in ("1", "2"))
    assert one != other


def test_a_template_is_another_by_the_names_of_pods() -> None:
    found = [
        template(*world()),
        template(*world(stable="web-6d4f-abcde")),
        template(*world(canary="web-2-a")),
    ]
    assert len({*found}) == 3


def test_a_side_without_pods_has_no_template() -> None:
    assert template(*world()[:-1]) == ""
    assert template(*world(), canary="another") == ""


def test_endpoints_of_another_service_have_the_templates_of_its_pods() -> None:
    def found(pod: str) -> str:
        other = [
            objects.service("other"),
            *objects.endpoint_slice("other", [(pod, Address("10.0.0.3", 80))]),
        ]
        return template(*world(endpoints_from="service/other"), *other)

    assert found("other-1-x") == found("other-1-y") != found("other-2-x")
