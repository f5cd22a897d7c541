"""What is added to an object, what is kept of it, and what is rejected, whatever its kind."""

import pytest

from tests.unit.kubeapi.objects import deployment, lease, namespace, pod, service
from xds_server.local.kubeapi import admission
from xds_server.local.kubeapi.admission import Place
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.resources import (
    CLUSTERROLES,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
    of_kind,
)

NOW = "2026-01-02T03:04:05Z"
UID = "6b8b1a0e-0000-4000-8000-000000000001"
NOT_A_SERVICE = 'Service in version "v1" cannot be handled as a Service'
PLACE = Place(resource=SERVICES, namespace="default", name="web")


def resource_of(doc: Doc) -> Resource:
    found = of_kind(doc["apiVersion"], doc["kind"])
    assert found is not None
    return found


def stored(doc: Doc, **metadata: object) -> Doc:
    """As the store has it after a create."""
    made = admission.created(resource_of(doc), doc, now=NOW, uid=UID)
    return made | {"metadata": made["metadata"] | {"resourceVersion": "7"} | metadata}


def changed(doc: Doc, **parts: object) -> Doc:
    return doc | parts


def rejected(code: int, message: str) -> "pytest.RaisesExc[StatusError]":
    """The next statement is rejected with exactly this."""
    return pytest.raises(StatusError, check=lambda error: (error.code, error.message) == (code, message))


class TestAddressed:
    def test_says_what_the_url_says(self) -> None:
        doc = admission.addressed(PLACE, {"spec": {}})
        assert doc == {
            "apiVersion": "v1",
            "kind": "Service",
            "spec": {},
            "metadata": {"name": "web", "namespace": "default"},
        }

    def test_nulls_are_fields_that_are_not_set(self) -> None:
        doc = admission.addressed(
            PLACE, {"metadata": {"creationTimestamp": None, "labels": {"a": None}}, "spec": None}
        )
        assert "spec" not in doc
        assert doc["metadata"] == {"name": "web", "namespace": "default"}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                {"kind": "Pod", "apiVersion": "v1"},
                'Pod in version "v1" cannot be handled as a Service',
            ),
            (
                {"kind": "Service", "apiVersion": "v2"},
                "the API version in the data (v2) does not match the expected API version (v1)",
            ),
            (
                {"metadata": {"name": "api"}},
                "the name of the object (api) does not match the name on the URL (web)",
            ),
            (
                {"metadata": {"namespace": "other"}},
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            ({"metadata": []}, f"{NOT_A_SERVICE}: metadata: expected an object, got an array"),
            (
                {"metadata": {"labels": {"a": 1}}},
                f"{NOT_A_SERVICE}: metadata.labels.a: expected a string, got an integer",
            ),
            (
                {"spec": {"ports": [{"port": "80"}]}},
                f"{NOT_A_SERVICE}: spec.ports[0].port: expected an integer, got a string",
            ),
            (
                {"spec": {"ports": [{"port": True}]}},
                f"{NOT_A_SERVICE}: spec.ports[0].port: expected an integer, got a boolean",
            ),
            ({"spec": {"ports": [None]}}, f"{NOT_A_SERVICE}: spec.ports[0]: expected an object, got null"),
            ({"spec": {"port": 1 << 63}}, "the number 9223372036854775808 does not fit into 64 bits"),
        ],
    )
    def test_rejects_what_belongs_elsewhere_or_is_another_object(self, body: Doc, message: str) -> None:
        with rejected(400, message):
            admission.addressed(PLACE, body)

    def test_rejects_what_is_nested_too_deeply(self) -> None:
        body: Doc = {}
        for _ in range(110):
            body = {"spec": body}
        with rejected(400, "the object is nested more than 100 levels deep"):
            admission.addressed(PLACE, body)


class TestCreated:
    def test_has_an_identity_and_a_time(self) -> None:
        metadata = stored(service("web"))["metadata"]
        assert (metadata["uid"], metadata["creationTimestamp"]) == (UID, NOW)

    def test_a_client_does_not_choose_them(self) -> None:
        doc = service("web", uid="mine", creationTimestamp="1999-01-01T00:00:00Z", deletionTimestamp=NOW)
        metadata = stored(doc)["metadata"]
        assert (metadata["uid"], metadata["creationTimestamp"]) == (UID, NOW)
        assert "deletionTimestamp" not in metadata

    def test_generations_begin_with_one_where_there_are_any(self) -> None:
        assert stored(deployment("web"))["metadata"]["generation"] == 1
        assert "generation" not in stored(service("web"))["metadata"]

    def test_its_status_is_for_others_to_write(self) -> None:
        assert "status" not in stored(deployment("web") | {"status": {"replicas": 9}})

    def test_the_status_of_a_pod_may_come_with_it(self) -> None:
        assert stored(pod("p") | {"status": {"podIP": "10.0.0.1"}})["status"] == {
            "phase": "Pending",
            "podIP": "10.0.0.1",
        }

    def test_a_name_can_be_generated(self) -> None:
        doc = service("x", generateName="web-")
        del doc["metadata"]["name"]
        name = stored(doc)["metadata"]["name"]
        assert name.startswith("web-")
        assert len(name) == len("web-") + 5

    def test_a_generated_name_is_not_too_long(self) -> None:
        doc = service("x", generateName="w" * 80)
        del doc["metadata"]["name"]
        assert len(stored(doc)["metadata"]["name"]) == 63

    def test_a_name_is_needed(self) -> None:
        doc = deployment("x")
        del doc["metadata"]["name"]
        message = (
            'Deployment.apps "" is invalid: metadata.name: Required value: name or generateName is required'
        )
        with rejected(422, message):
            stored(doc)

    def test_a_version_is_not_the_clients(self) -> None:
        with rejected(400, "resourceVersion should not be set on objects to be created"):
            stored(service("web", resourceVersion="3"))

    @pytest.mark.parametrize(
        ("doc", "problem"),
        [
            (deployment("Web"), "a lowercase RFC 1123 subdomain must consist of"),
            (deployment("web."), "a lowercase RFC 1123 subdomain must consist of"),
            (deployment("a" * 254), "must be no more than 253 bytes"),
            (service("web.example"), "a DNS-1035 label must consist of"),
            (service("1web"), "a DNS-1035 label must consist of"),
            (service("a" * 64), "must be no more than 63 bytes"),
            (namespace("a.b"), "a lowercase RFC 1123 label must consist of"),
            (deployment("../../etc"), "a lowercase RFC 1123 subdomain must consist of"),
        ],
    )
    def test_names_are_of_a_form(self, doc: Doc, problem: str) -> None:
        name = doc["metadata"]["name"]
        with pytest.raises(StatusError) as caught:
            stored(doc)
        assert caught.value.code == 422
        assert f'metadata.name: Invalid value: "{name}": {problem}' in caught.value.message
        assert caught.value.details["causes"][0]["field"] == "metadata.name"

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("..", "may not be '..'"),
            ("a/b", "may not contain '/'"),
            ("a%b", "may not contain '%'"),
            ("a\0b", "may not contain control characters"),
        ],
    )
    def test_names_of_roles_are_parts_of_a_path(self, name: str, problem: str) -> None:
        role: Doc = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [],
        }
        with pytest.raises(StatusError, match=problem):
            admission.created(CLUSTERROLES, role, now=NOW, uid=UID)
        role["metadata"]["name"] = "system:Reader"
        assert admission.created(CLUSTERROLES, role, now=NOW, uid=UID)

    @pytest.mark.parametrize(
        ("metadata", "cause"),
        [
            (
                {"labels": {"-a": "b"}},
                'metadata.labels: Invalid value: "-a": name part must consist of alphanumeric',
            ),
            ({"labels": {"/a": "b"}}, 'Invalid value: "/a": prefix part must be non-empty'),
            ({"labels": {"a/": "b"}}, 'Invalid value: "a/": name part must be non-empty'),
            ({"labels": {"A_/a": "b"}}, 'Invalid value: "A_/a": prefix part a lowercase RFC 1123 subdomain'),
            ({"labels": {"a" * 64: "b"}}, "name part must be no more than 63 bytes"),
            ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be'),
            ({"labels": {"a": "b" * 64}}, "must be no more than 63 bytes"),
            ({"annotations": {"a b": ""}}, 'metadata.annotations: Invalid value: "a b": name part'),
            (
                {"annotations": {"a": "x" * (256 << 10)}},
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            ({"finalizers": ["a b"]}, 'metadata.finalizers: Invalid value: "a b": name part'),
        ],
    )
    def test_metadata_is_of_a_form(self, metadata: Doc, cause: str) -> None:
        with pytest.raises(StatusError) as caught:
            stored(service("web", **metadata))
        assert caught.value.code == 422
        assert cause in caught.value.message

    def test_annotations_may_have_capitals(self) -> None:
        stored(service("web", annotations={"example.com/Key": "any\ntext"}, labels={"a.b/C_d-e": ""}))

    def test_all_mistakes_are_reported_at_once(self) -> None:
        doc = service("web", labels={"a": "b c"})
        doc["spec"] = {"ports": []}
        with pytest.raises(StatusError) as caught:
            stored(doc)
        fields = [cause["field"] for cause in caught.value.details["causes"]]
        assert fields == ["metadata.labels", "spec.ports"]
        reasons = [cause["reason"] for cause in caught.value.details["causes"]]
        assert reasons == ["FieldValueInvalid", "FieldValueRequired"]
        assert caught.value.message.startswith('Service "web" is invalid: [metadata.labels: ')


class TestReplaced:
    def test_what_no_client_may_change_is_as_it_was(self) -> None:
        live = stored(service("web"))
        doc = service("web", creationTimestamp="1999-01-01T00:00:00Z", generation=9, labels={"a": "b"})
        metadata = admission.replaced(SERVICES, live, doc)["metadata"]
        assert metadata == live["metadata"] | {"labels": {"a": "b"}}

    def test_the_status_is_left_alone(self) -> None:
        live = stored(deployment("web")) | {"status": {"replicas": 1}}
        doc = changed(deployment("web"), status={"replicas": 9})
        assert admission.replaced(DEPLOYMENTS, live, doc)["status"] == {"replicas": 1}

    def test_generations_count_what_is_wanted(self) -> None:
        live = stored(deployment("web"))
        labelled = admission.replaced(DEPLOYMENTS, live, deployment("web", labels={"a": "b"}))
        assert labelled["metadata"]["generation"] == 1
        annotated = admission.replaced(DEPLOYMENTS, live, deployment("web", annotations={"a": "b"}))
        assert annotated["metadata"]["generation"] == 2
        wanted = deployment("web")
        wanted["spec"] = wanted["spec"] | {"replicas": 5}
        assert admission.replaced(DEPLOYMENTS, live, wanted)["metadata"]["generation"] == 2

    def test_a_stale_version_is_a_conflict(self) -> None:
        live = stored(service("web"))
        with pytest.raises(StatusError, match="the object has been modified") as caught:
            admission.replaced(SERVICES, live, service("web", resourceVersion="6"))
        assert caught.value.code == 409

    def test_another_object_of_the_name_is_a_conflict(self) -> None:
        live = stored(service("web"))
        message = (
            'Operation cannot be fulfilled on services "web": Precondition failed: UID in precondition: '
            f"other, UID in object meta: {UID}"
        )
        with rejected(409, message):
            admission.replaced(SERVICES, live, service("web", uid="other"))

    def test_a_lease_is_not_updated_blindly(self) -> None:
        message = (
            'Lease.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be '
            "specified for an update"
        )
        with rejected(422, message):
            admission.replaced(LEASES, stored(lease("l")), lease("l"))

    def test_a_selector_is_for_ever(self) -> None:
        wanted = deployment("web")
        wanted["spec"]["selector"] = {"matchLabels": {"app": "api"}}
        wanted["spec"]["template"]["metadata"]["labels"] = {"app": "api"}
        message = (
            'Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"api"}}: '
            "field is immutable"
        )
        with rejected(422, message):
            admission.replaced(DEPLOYMENTS, stored(deployment("web")), wanted)


class TestReported:
    def test_only_the_status_changes(self) -> None:
        live = stored(deployment("web"))
        doc = deployment("web", labels={"a": "b"}) | {"status": {"readyReplicas": 1}, "spec": {}}
        assert admission.reported(DEPLOYMENTS, live, doc) == live | {"status": {"readyReplicas": 1}}

    def test_a_stale_version_is_a_conflict(self) -> None:
        with pytest.raises(StatusError, match="the object has been modified"):
            admission.reported(PODS, stored(pod("p")), pod("p", resourceVersion="6"))

    def test_it_can_be_taken_away(self) -> None:
        live = stored(deployment("web")) | {"status": {"replicas": 1}}
        assert "status" not in admission.reported(DEPLOYMENTS, live, deployment("web"))


class TestLeaving:
    def test_is_marked_once(self) -> None:
        live = stored(service("web", finalizers=["example.com/wait"]))
        marked = admission.leaving(live, now="2026-02-02T00:00:00Z")
        assert marked["metadata"]["deletionTimestamp"] == "2026-02-02T00:00:00Z"
        assert admission.leaving(marked, now="2026-03-03T00:00:00Z") is marked

    def test_may_go_without_finalizers(self) -> None:
        marked = admission.leaving(stored(service("web", finalizers=["example.com/wait"])), now=NOW)
        assert not admission.may_go(marked)
        assert admission.may_go(marked | {"metadata": marked["metadata"] | {"finalizers": []}})
        assert not admission.may_go(stored(service("web")))


def test_a_namespace_is_labelled_with_its_name() -> None:
    made = admission.created(NAMESPACES, namespace("shop", labels={"a": "b"}), now=NOW, uid=UID)
    assert made["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "shop"}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
