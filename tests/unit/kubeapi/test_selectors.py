"""Label and field selectors, as kubectl and clients write them."""

import pytest

from tests.unit.kubeapi.objects import event, pod, service
from xds_server.local.kubeapi import selectors
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.resources import EVENTS, LEASES, PODS, SERVICES, Resource

LABELS = {"app": "web", "tier": "front", "example.com/x_1": "", "n": "1"}


def matches(labels: str, carried: dict[str, str] | None = None) -> bool:
    asked = selectors.parse(SERVICES, labels, "")
    assert asked is not None
    return asked(service("a", labels=LABELS if carried is None else carried))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier = front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("app!=api", True),
        ("missing!=x", True),
        ("app", True),
        ("missing", False),
        ("!app", False),
        ("!missing", True),
        ("! missing,app", True),
        ("app in (api, web)", True),
        ("app in (api)", False),
        ("app in(web)", True),
        ("app notin (api,db)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("missing in (web)", False),
        ("example.com/x_1=", True),
        ("example.com/x_1 in ()", True),
        ("n=1", True),
        ("in=x", False),
        ("app in (web),!missing,tier!=back,n", True),
    ],
)
def test_labels(text: str, expected: bool) -> None:
    assert matches(text) is expected


def test_an_object_without_labels_matches_what_wants_none() -> None:
    assert matches("!app", {})
    assert not matches("app", {})
    asked = selectors.parse(SERVICES, "app!=x", "")
    assert asked is not None
    assert asked({"metadata": {"name": "a", "labels": None}})


@pytest.mark.parametrize(
    "text", ["app=web,", "=web", "app in web", "app in (web", "a b", "app=w/b", "app>1", "!"]
)
def test_labels_that_cannot_be_read(text: str) -> None:
    with pytest.raises(StatusError, match="unable to parse requirement") as caught:
        selectors.parse(SERVICES, text, "")
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metadata.name=web", True),
        ("metadata.name==web", True),
        ("metadata.name=api", False),
        ("metadata.name!=web", False),
        ("metadata.namespace=default,metadata.name=web", True),
        ("metadata.namespace=other,metadata.name=web", False),
        ("spec.nodeName=", True),
        ("spec.nodeName!=n1", True),
        ("spec.hostNetwork=true", True),
        ("status.phase=Running", False),
    ],
)
def test_fields(text: str, expected: bool) -> None:
    asked = selectors.parse(PODS, "", text)
    assert asked is not None
    doc = pod("web")
    assert asked(doc | {"spec": doc["spec"] | {"hostNetwork": True}}) is expected


@pytest.mark.parametrize(
    "text",
    [
        "involvedObject.name=web,involvedObject.kind=Service,involvedObject.namespace=default",
        "source=xds-shadow",
        "type=Normal,reason=ShadowActive",
        r"reason=ShadowActive,involvedObject.fieldPath=spec.a\=b\,c",
    ],
)
def test_fields_of_events(text: str) -> None:
    asked = selectors.parse(EVENTS, "", text)
    assert asked is not None
    doc = event("e", type="Normal", reason="ShadowActive", reportingComponent="xds-shadow")
    doc["involvedObject"]["fieldPath"] = "spec.a=b,c"
    assert asked(doc)
    assert not asked(event("e", type="Warning", involvedObject={"name": "other"}))


def test_a_component_is_found_where_older_clients_write_it() -> None:
    asked = selectors.parse(EVENTS, "", "source=kubelet")
    assert asked is not None
    assert asked(event("e", source={"component": "kubelet"}))


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (PODS, "spec.none=x", "field label not supported: spec.none"),
        (
            LEASES,
            "spec.holderIdentity=x",
            '"spec.holderIdentity" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (PODS, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
)
def test_fields_that_are_not_selected_by(resource: Resource, text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        selectors.parse(resource, "", text)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_nothing_asked_is_everything() -> None:
    assert selectors.parse(PODS, "", "") is None
