"""Objects from JSON and from documents: what is accepted, what is rejected, and what the rejection says."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from tests.unit.kube.manifests import (
    Doc,
    canary,
    deployment,
    doc,
    endpoint_slice,
    namespace,
    pod,
    service,
)
from xds_server.core.decode import DecodeError, decode_object, from_mapping
from xds_server.core.objects import Kind, Ref, Service, ref_of


def rejection(document: object) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        from_mapping(document, "a.yaml")
    return caught.value


def nested(document: Doc, *path: str | int, value: object) -> Doc:
    """`document` with one value replaced."""
    target: Any = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "document",
    [namespace("staging"), service("web"), canary("web-canary"), pod("web-1"), endpoint_slice("web-x")],
)
def test_every_watched_kind_reads_the_same_from_a_file_and_from_the_api(document: Doc) -> None:
    obj = from_mapping(document, "a.yaml")
    assert obj is not None
    assert obj == decode_object(Kind(document["kind"]), json.dumps(document).encode())
    assert obj.name == document["metadata"]["name"]


def test_resource_version_does_not_tell_objects_apart() -> None:
    first, second = service("web"), service("web")
    second["metadata"]["resourceVersion"] = "8"
    assert decode_object(Kind.SERVICE, json.dumps(first).encode()) == decode_object(
        Kind.SERVICE, json.dumps(second).encode()
    )


def test_only_own_annotations_are_kept_and_all_labels() -> None:
    labels = {"app": "web", "xds-shadow.io/expose": "true"}
    annotations = {
        "xds-shadow.io/hosts": "a.example",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    document = service("web", labels=labels, annotations=annotations)
    for obj in (from_mapping(document, ""), decode_object(Kind.SERVICE, json.dumps(document).encode())):
        assert obj is not None
        assert obj.annotations == {"xds-shadow.io/hosts": "a.example"}
        assert obj.labels == labels


def test_foreign_annotations_do_not_tell_objects_apart() -> None:
    assert from_mapping(service("web", annotations={"other.io/x": "1"}), "") == from_mapping(
        service("web"), ""
    )


def test_an_undecodable_object_of_the_api_is_named() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_object(Kind.SERVICE, json.dumps(service("web", port="eighty")).encode(), "kube/Service")
    assert caught.value.ref == Ref(Kind.SERVICE, "staging", "web")
    assert str(caught.value.problem.subject) == "Service staging/web"
    assert caught.value.problem.reason == "DecodeFailed"
    assert caught.value.problem.origin == "kube/Service"
    assert "ports[0].port" in caught.value.problem.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"metadata": 1}', b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_object_have_no_name(raw: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_object(Kind.SERVICE, raw)
    assert caught.value.ref is None


def test_kinds_that_are_not_watched_are_ignored() -> None:
    assert from_mapping(doc("v1", "ConfigMap", "settings"), "") is None
    assert from_mapping(doc("serving.knative.dev/v1", "Service", "hello"), "") is None


def test_namespaces_get_kubectls_defaults() -> None:
    lost = service("web")
    del lost["metadata"]["namespace"]
    obj = from_mapping(lost, "")
    assert obj is not None
    assert ref_of(obj) == Ref(Kind.SERVICE, "default", "web")
    odd = from_mapping(doc("v1", "Namespace", "staging", "other"), "")
    assert odd is not None
    assert ref_of(odd) == Ref(Kind.NAMESPACE, "", "staging")


def test_a_files_creation_time_is_not_believed() -> None:
    document = nested(service("web"), "metadata", "creationTimestamp", value="2020-01-01T00:00:00Z")
    obj = from_mapping(document, "")
    assert obj is not None
    assert obj.created == ""


@pytest.mark.parametrize(("value", "hint"), [(25, '"25"'), (0.5, '"0.5"'), (True, '"true"')])
def test_an_unquoted_value_is_rejected_with_the_remedy(value: object, hint: str) -> None:
    error = rejection(deployment("web-canary", annotations={"xds-shadow.io/percent": value}))
    assert error.ref == Ref(Kind.DEPLOYMENT, "staging", "web-canary")
    assert error.problem.origin == "a.yaml"
    assert str(error.problem.subject) == "Deployment staging/web-canary"
    assert error.problem.reason == "InvalidObject"
    assert "metadata.annotations['xds-shadow.io/percent']" in error.problem.message
    assert f"quote it, as in {hint}" in error.problem.message


def test_an_unquoted_value_in_a_selector_is_rejected_with_the_remedy() -> None:
    document = nested(service("web"), "spec", "selector", value={"version": 2})
    assert (
        "spec.selector['version'] is the number 2; quote it, as in \"2\""
        in rejection(document).problem.message
    )
    document = nested(deployment("web"), "spec", "selector", "matchLabels", value={1: "x"})
    assert "spec.selector.matchLabels has a key that is the number 1" in rejection(document).problem.message


@pytest.mark.parametrize(
    ("value", "what"), [([], "a list"), ({}, "a mapping"), (b"x", "binary data"), (date.min, "a date")]
)
def test_a_value_that_no_quotes_can_help(value: object, what: str) -> None:
    error = rejection(service("web", labels={"app": value}))
    assert error.problem.message == f"metadata.labels['app'] is {what}; it has to be a string."


def test_an_empty_annotation_is_the_empty_string() -> None:
    obj = from_mapping(service("web", annotations={"xds-shadow.io/hosts": None}), "")
    assert obj is not None
    assert obj.annotations == {"xds-shadow.io/hosts": ""}


def test_a_document_is_not_changed_by_reading_it() -> None:
    document = service("web", labels={"empty": None})
    from_mapping(document, "")
    assert document == service("web", labels={"empty": None})


def test_an_overlong_label_names_object_and_key() -> None:
    error = rejection(service("web", labels={"app.example/tier": "x" * 300}))
    assert str(error.problem.subject) == "Service staging/web"
    assert "metadata.labels['app.example/tier']" in error.problem.message
    assert "300 characters" in error.problem.message
    assert len(error.problem.message) < 400


def ports(*ports: Doc) -> Doc:
    return nested(service("web"), "spec", "ports", value=list(ports))


def selecting(*expressions: Doc) -> Doc:
    return nested(deployment("web"), "spec", "selector", value={"matchExpressions": list(expressions)})


AT = "spec.selector.matchExpressions[0]"

INVALID = [
    (service("web", labels={"a": "-x"}), "metadata.labels['a']"),
    (service("web", labels={"a b": "x"}), "metadata.labels has the key 'a b'"),
    (service("web", labels={"/x": "x"}), "metadata.labels has the key '/x'"),
    (service("web", labels={"x" * 64: "x"}), "metadata.labels has the key"),
    (service("web", annotations={"é": "x"}), "metadata.annotations has the key"),
    (service("web", port=0), "spec.ports[0].port is 0"),
    (service("web", port=65536), "spec.ports[0].port is 65536"),
    (service("web", port="80"), "spec.ports[0].port: expected `int`"),
    (ports({"port": 1}, {"port": 2}), "spec.ports[0].name is missing"),
    (ports({"port": 1, "name": "a"}, {"port": 2, "name": "a"}), "spec.ports[1].name repeats 'a'"),
    (
        ports({"port": 1, "protocol": "tcp"}),
        "spec.ports[0].protocol is 'tcp': use TCP, UDP or SCTP, in capitals",
    ),
    (ports({"port": 1, "name": "Web"}), "spec.ports[0].name is 'Web'"),
    (ports({"port": 1, "targetPort": 70000}), "spec.ports[0].targetPort is 70000"),
    (ports({"port": 1, "targetPort": "8080"}), "spec.ports[0].targetPort is '8080'"),
    (nested(service("web"), "spec", "selector", value={"a": "b c"}), "spec.selector['a']"),
    (selecting(), "spec.selector is missing or empty"),
    (selecting({"key": "a", "operator": "in"}), f"{AT}.operator is 'in'"),
    (selecting({"key": "a", "operator": "In"}), f"{AT}.values is empty"),
    (selecting({"key": "a", "operator": "Exists", "values": ["b"]}), f"{AT}.values is given"),
    (selecting({"key": "a b", "operator": "Exists"}), f"{AT} has the key 'a b'"),
    (endpoint_slice("x", address="web.example"), "endpoints[0].addresses has 'web.example'"),
    (nested(endpoint_slice("x"), "addressType", value="IPv7"), "addressType is 'IPv7'"),
    (nested(endpoint_slice("x"), "addressType", value="IPv6"), "which is not an IPv6 address"),
    (nested(endpoint_slice("x"), "ports", 0, "port", value=-1), "ports[0].port is -1"),
    (
        doc("v1", "Service", "x", spec={"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
        "spec.ports[1].port repeats 80",
    ),
    (
        nested(endpoint_slice("x", address="fe80::1%eth0"), "addressType", value="IPv6"),
        "'fe80::1%eth0', which is not an IPv6 address",
    ),
    (pod("x", ip="nowhere"), "status.podIP is 'nowhere'"),
    (
        doc("v1", "Pod", "x", spec={"containers": [{"ports": [{"containerPort": 99999}]}]}),
        "spec.containers[0].ports[0].containerPort is 99999",
    ),
]


@pytest.mark.parametrize(("document", "message"), INVALID, ids=[message for _, message in INVALID])
def test_what_an_api_server_rejects_is_rejected(document: Doc, message: str) -> None:
    error = rejection(document)
    assert message in error.problem.message
    assert error.ref is not None
    assert error.problem.reason == "InvalidObject"


@pytest.mark.parametrize(
    "document",
    [
        service("web", labels={"app.kubernetes.io/name": "Web_1.x", "empty": ""}),
        nested(service("web"), "spec", "ports", 0, "targetPort", value="http-alt"),
        nested(service("web"), "spec", "ports", value=[]),
        nested(service("web"), "spec", "ports", value=None),
        service("w" * 63),
        deployment("web.v2"),
        service("web", annotations={"Example.com/UPPER": "x"}),
        nested(endpoint_slice("x", address="fd00::1"), "addressType", value="IPv6"),
        nested(endpoint_slice("x", address="web.example"), "addressType", value="FQDN"),
        pod("x", ip="fd00::1"),
        doc("v1", "Pod", "x", spec={"containers": [{"ports": [{"containerPort": 8080}]}]}),
        nested(endpoint_slice("x"), "ports", 0, value={}),
        selecting({"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "DoesNotExist"}),
        doc("argoproj.io/v1alpha1", "Rollout", "x", spec={"workloadRef": {"name": "web"}}),
        doc("argoproj.io/v1alpha1", "Rollout", "x", spec={"selector": {"matchLabels": {"app": "web"}}}),
    ],
    ids=json.dumps,
)
def test_what_an_api_server_takes_is_taken(document: Doc) -> None:
    assert from_mapping(document, "") is not None


UNNAMED: list[tuple[object, str]] = [
    ([], "This is a list"),
    (None, "This is empty"),
    ("text", "This is a string"),
    ({}, "There is no kind"),
    ({"kind": 7}, "There is no kind"),
    ({"kind": "Service", "metadata": {"name": "x"}}, "write `apiVersion: v1`"),
    (doc("v2", "Service", "web"), "write `apiVersion: v1`"),
    (doc("apps/v1beta1", "Deployment", "web"), "write `apiVersion: apps/v1`"),
    ({"apiVersion": "v1", "kind": "Service"}, "A Service has no metadata.name"),
    (doc("v1", "Service", 5), "metadata.name that is the number 5; quote it"),  # type: ignore[arg-type]
    (doc("v1", "Service", "web", 5), "metadata.namespace that is the number 5"),  # type: ignore[arg-type]
    (service("My_Service"), "metadata.name is 'My_Service', which is not a valid name"),
    (service("1web"), "a letter first"),
    (service("w" * 64), "not a valid name"),
    (deployment("a..b"), "not a valid name"),
    (service("web", "no.dots"), "metadata.namespace is 'no.dots'"),
]


@pytest.mark.parametrize(("document", "message"), UNNAMED, ids=[message for _, message in UNNAMED])
def test_a_document_without_a_valid_name_has_no_object(document: object, message: str) -> None:
    error = rejection(document)
    assert message in error.problem.message
    assert error.ref is None


def test_types_are_not_coerced_even_where_msgspec_could() -> None:
    document = nested(service("web"), "spec", "type", value=1)
    assert "spec.type: expected `str" in rejection(document).problem.message


def test_the_model_stays_immutable_after_trimming() -> None:
    obj = from_mapping(service("web", annotations={"x/y": "1"}), "")
    assert isinstance(obj, Service)
    with pytest.raises(AttributeError):
        obj.metadata = msgspec.structs.replace(obj.metadata, name="other")  # type: ignore[misc]
