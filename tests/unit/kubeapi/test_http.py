"""Requests and answers: lists, gets, writes, forms, and what is rejected before it is looked at."""

import json

import pytest

from tests.unit.kubeapi.client import (
    DEPLOYMENTS,
    MERGE_PATCH,
    METADATA,
    SERVICES,
    TABLE,
    Client,
    client,
)
from tests.unit.kubeapi.objects import config_map, deployment, namespace, secret, service
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import SERVICES as SERVICES_RESOURCE
from xds_server.local.kubeapi.server import Call
from xds_server.local.kubeapi.store import Store

WEB = f"{SERVICES}/web"


class TestReading:
    async def test_a_created_object_is_got(self, kube: Client) -> None:
        created = await kube.create(service("web"))
        assert created.status == 201
        got = await kube.get(WEB)
        assert (got.status, got.doc) == (200, created.doc)
        assert (got.doc["kind"], got.doc["apiVersion"]) == ("Service", "v1")

    async def test_items_of_a_list_leave_their_kind_to_it(self, kube: Client) -> None:
        await kube.create(service("web"))
        listed = (await kube.get(SERVICES)).doc
        assert (listed["kind"], listed["apiVersion"]) == ("ServiceList", "v1")
        assert listed["metadata"] == {"resourceVersion": str(kube.store.version)}
        assert {"kind", "apiVersion"}.isdisjoint(listed["items"][0])

    async def test_a_list_comes_in_pages_of_one_state(self, kube: Client) -> None:
        for number in range(5):
            await kube.create(service(f"s{number}"))
        first = await kube.get(SERVICES, limit="2")
        assert (first.names, first.doc["metadata"]["remainingItemCount"]) == (["s0", "s1"], 3)
        await kube.create(service("s1a"))
        await kube.send("DELETE", f"{SERVICES}/s3")
        second = await kube.get(SERVICES, limit="2", **{"continue": first.doc["metadata"]["continue"]})
        last = await kube.get(SERVICES, limit="2", **{"continue": second.doc["metadata"]["continue"]})
        assert second.names + last.names == ["s2", "s3", "s4"]
        assert first.version == second.version == last.version
        assert "continue" not in last.doc["metadata"]

    async def test_a_page_that_comes_too_late(self, kube: Client) -> None:
        for name in ("a", "b"):
            await kube.create(service(name))
        token = (await kube.get(SERVICES, limit="1")).doc["metadata"]["continue"]
        await kube.create(service("c"))
        kube.store.compact()
        answer = await kube.get(SERVICES, **{"continue": token})
        assert (answer.status, answer.doc["reason"]) == (410, "Expired")
        assert "start a new list without the continue parameter" in answer.message

    async def test_selectors(self, kube: Client) -> None:
        await kube.create(service("a", labels={"tier": "front"}))
        await kube.create(service("b", labels={"tier": "back"}))
        await kube.create(namespace("other"))
        await kube.create(service("a", "other", labels={"tier": "front"}))
        everywhere = "/api/v1/services"
        assert (await kube.get(everywhere, labelSelector="tier in (front)")).names == ["a", "a"]
        assert (await kube.get(SERVICES, labelSelector="tier!=front")).names == ["b"]
        assert (await kube.get(everywhere, fieldSelector="metadata.namespace=other")).names == ["a"]
        rejected = await kube.get(SERVICES, fieldSelector="spec.none=1")
        assert (rejected.status, rejected.message) == (400, "field label not supported: spec.none")

    async def test_a_list_at_a_version(self, kube: Client) -> None:
        await kube.create(service("a"))
        then = (await kube.get(SERVICES)).version
        await kube.create(service("b"))
        exact = await kube.get(SERVICES, resourceVersion=then, resourceVersionMatch="Exact")
        assert (exact.names, exact.version) == (["a"], then)
        for query in ({"resourceVersion": then}, {"resourceVersion": "0"}):
            assert (await kube.get(SERVICES, **query)).names == ["a", "b"]

    @pytest.mark.parametrize("path", [SERVICES, WEB])
    async def test_the_future_is_waited_for_by_the_client(self, kube: Client, path: str) -> None:
        await kube.create(service("web"))
        answer = await kube.get(path, resourceVersion="99")
        assert (answer.status, answer.doc["reason"]) == (504, "Timeout")
        assert answer.doc["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert answer.headers["Retry-After"] == "1"

    async def test_metadata_alone(self, kube: Client) -> None:
        created = await kube.create(service("web"))
        got = await kube.get(WEB, METADATA)
        assert got.doc == {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": created.doc["metadata"],
        }
        listed = await kube.get(SERVICES, METADATA.replace("Metadata", "MetadataList"))
        assert listed.doc["kind"] == "PartialObjectMetadataList"
        assert listed.doc["items"] == [{"metadata": created.doc["metadata"]}]

    async def test_rows_of_a_table(self, kube: Client) -> None:
        for name in ("a", "b"):
            await kube.create(service(name))
        listed = await kube.get(SERVICES, TABLE, limit="1", includeObject="Object")
        assert listed.headers["Content-Type"] == "application/json;as=Table;g=meta.k8s.io;v=v1"
        assert (listed.doc["kind"], listed.version) == ("Table", str(kube.store.version))
        assert listed.doc["metadata"]["continue"]
        assert [column["name"] for column in listed.doc["columnDefinitions"]][:2] == ["Name", "Type"]
        (row,) = listed.doc["rows"]
        assert row["cells"][:2] == ["a", "ClusterIP"]
        assert row["object"] == (await kube.get(f"{SERVICES}/a")).doc
        got = await kube.get(f"{SERVICES}/b", TABLE)
        assert got.doc["rows"][0]["cells"][0] == "b"
        assert got.doc["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    @pytest.mark.parametrize(
        "accept",
        [
            "",
            "*/*",
            "application/json",
            "application/vnd.kubernetes.protobuf,application/json",
            "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
            "application/json; charset=utf-8, */*;q=0.1",
        ],
    )
    async def test_json_for_who_takes_it(self, kube: Client, accept: str) -> None:
        answer = await kube.get(SERVICES, accept)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.doc["kind"] == "ServiceList"

    async def test_nothing_for_who_does_not(self, kube: Client) -> None:
        answer = await kube.get(SERVICES, "application/vnd.kubernetes.protobuf")
        assert (answer.status, answer.doc["reason"]) == (406, "NotAcceptable")
        assert answer.message.startswith("only the following media types are accepted: application/json")


class TestWriting:
    async def test_an_update_says_which_version_it_means(self, kube: Client) -> None:
        first = (await kube.create(service("web"))).doc
        newer = first | {"metadata": first["metadata"] | {"labels": {"v": "2"}}}
        assert (await kube.send("PUT", WEB, newer)).doc["metadata"]["labels"] == {"v": "2"}
        answer = await kube.send("PUT", WEB, newer)
        assert (answer.status, answer.doc["reason"]) == (409, "Conflict")
        assert answer.doc["details"] == {"name": "web", "kind": "services"}
        assert answer.message == (
            'Operation cannot be fulfilled on services "web": the object has been modified; please apply '
            "your changes to the latest version and try again"
        )

    async def test_a_merge_patch(self, kube: Client) -> None:
        await kube.create(service("web", labels={"a": "1", "b": "2"}))
        answer = await kube.label(WEB, a=None, c="3")
        assert answer.status == 200
        assert answer.doc["metadata"]["labels"] == {"b": "2", "c": "3"}

    async def test_a_strategic_merge_patch_knows_the_kind(self, kube: Client) -> None:
        await kube.create(deployment("web"))
        containers = [{"name": "main", "image": "example/main:2"}]
        change = {"spec": {"template": {"spec": {"containers": containers}}}}
        path = f"{DEPLOYMENTS}/web"
        answer = await kube.send("PATCH", path, change, kind="application/strategic-merge-patch+json")
        (container,) = answer.doc["spec"]["template"]["spec"]["containers"]
        assert (container["image"], container["terminationMessagePolicy"]) == ("example/main:2", "File")

    async def test_a_json_patch(self, kube: Client) -> None:
        await kube.create(service("web", labels={"v": "1"}))
        kind = "application/json-patch+json"
        test = {"op": "test", "path": "/metadata/labels/v", "value": "1"}
        replace = {"op": "replace", "path": "/metadata/labels/v", "value": "2"}
        answer = await kube.send("PATCH", WEB, [test, replace], kind=kind)
        assert answer.doc["metadata"]["labels"] == {"v": "2"}
        answer = await kube.send("PATCH", WEB, [test, replace], kind=kind)
        assert (answer.status, answer.doc["reason"]) == (422, "Invalid")

    async def test_a_status(self, kube: Client) -> None:
        await kube.create(deployment("web"))
        status = f"{DEPLOYMENTS}/web/status"
        answer = await kube.merge(status, {"status": {"readyReplicas": 1}, "spec": {"replicas": 9}})
        assert (answer.doc["status"], answer.doc["spec"]["replicas"]) == ({"readyReplicas": 1}, 1)
        assert (await kube.get(status)).doc == answer.doc

    async def test_a_scale(self, kube: Client) -> None:
        await kube.create(deployment("web"))
        scale = (await kube.get(f"{DEPLOYMENTS}/web/scale")).doc
        assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
        answer = await kube.send("PUT", f"{DEPLOYMENTS}/web/scale", scale | {"spec": {"replicas": 4}})
        assert (answer.doc["kind"], answer.doc["spec"]) == ("Scale", {"replicas": 4})
        answer = await kube.merge(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}})
        assert answer.doc["spec"] == {"replicas": 0}
        assert (await kube.get(f"{DEPLOYMENTS}/web")).doc["spec"]["replicas"] == 0

    async def test_a_deletion(self, kube: Client) -> None:
        uid = (await kube.create(deployment("web"))).doc["metadata"]["uid"]
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        answer = await kube.send("DELETE", f"{DEPLOYMENTS}/web", body)
        assert (answer.status, answer.doc["status"]) == (200, "Success")
        assert answer.doc["details"] == {"name": "web", "group": "apps", "kind": "deployments", "uid": uid}
        answer = await kube.send("DELETE", f"{DEPLOYMENTS}/web")
        assert (answer.status, answer.message) == (404, 'deployments.apps "web" not found')

    async def test_a_deletion_that_waits_answers_with_the_object(self, kube: Client) -> None:
        await kube.create(service("web", finalizers=["example.com/wait"]))
        answer = await kube.send("DELETE", WEB)
        assert answer.doc["metadata"]["deletionTimestamp"]

    async def test_a_deletion_of_many(self, kube: Client) -> None:
        for name in ("a", "b", "c"):
            await kube.create(service(name, labels={"odd": str(name != "b")}))
        answer = await kube.send("DELETE", SERVICES, labelSelector="odd=True")
        assert answer.names == ["a", "c"]
        assert (await kube.get(SERVICES)).names == ["b"]

    async def test_a_dry_run(self, kube: Client) -> None:
        answer = await kube.create(service("web"), dryRun="All")
        assert (answer.status, answer.doc["spec"]["type"]) == (201, "ClusterIP")
        assert (await kube.get(WEB)).status == 404
        await kube.create(service("web"))
        assert (await kube.send("DELETE", WEB, dryRun="All")).doc["status"] == "Success"
        assert (await kube.get(WEB)).status == 200

    async def test_yaml_and_other_ways_to_write_it(self, kube: Client) -> None:
        body = b"metadata: {name: web}\nspec:\n  ports:\n  - port: 80\n"
        answer = await kube.send("POST", SERVICES, body, kind="application/yaml")
        assert (answer.status, answer.doc["kind"]) == (201, "Service")
        body = json.dumps(service("api")).encode()
        answer = await kube.send("POST", SERVICES, body, kind="application/json; charset=utf-8")
        assert answer.status == 201

    async def test_an_apply_creates_and_then_owns(self, kube: Client) -> None:
        kind = "application/apply-patch+yaml"
        first = service("web", labels={"a": "1", "b": "1"})
        answer = await kube.send("PATCH", WEB, first, kind=kind, headers=None, fieldManager="me")
        assert (answer.status, answer.doc["metadata"]["labels"]) == (201, {"a": "1", "b": "1"})
        assert answer.doc["metadata"]["uid"]
        second = service("web", labels={"a": "2"})
        answer = await kube.send("PATCH", WEB, second, kind=kind, headers=None, fieldManager="me")
        assert (answer.status, answer.doc["metadata"]["labels"]) == (200, {"a": "2"})
        again = await kube.send("PATCH", WEB, second, kind=kind, headers=None, fieldManager="me")
        assert again.version == answer.version
        third = service("web", labels={"a": "3"})
        answer = await kube.send("PATCH", WEB, third, kind=kind, headers=None, fieldManager="you")
        assert (answer.status, answer.doc["reason"]) == (409, "Conflict")
        assert [cause["reason"] for cause in answer.doc["details"]["causes"]] == ["FieldManagerConflict"]
        query = {"fieldManager": "you", "force": "true"}
        answer = await kube.send("PATCH", WEB, third, kind=kind, headers=None, **query)
        assert answer.doc["metadata"]["labels"] == {"a": "3"}

    async def test_who_wrote_what_is_recorded(self, kube: Client) -> None:
        kube.session.headers["User-Agent"] = "tool/v1 (test)"
        created = await kube.create(deployment("web"))
        await kube.label(f"{DEPLOYMENTS}/web", v="2")
        await kube.merge(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, fieldManager="scaler")
        status = {"status": {"readyReplicas": 1}}
        changed = await kube.merge(f"{DEPLOYMENTS}/web/status", status, fieldManager="kubelet")

        def managers(doc: Doc) -> list[tuple[str, str, str]]:
            entries = doc["metadata"]["managedFields"]
            return sorted(
                (each["manager"], each["operation"], each.get("subresource", "")) for each in entries
            )

        assert managers(created.doc) == [("tool", "Update", "")]
        assert managers(changed.doc) == [
            ("kubelet", "Update", "status"),
            ("scaler", "Update", ""),
            ("tool", "Update", ""),
        ]

    async def test_a_field_manager_is_needed_to_apply(self, kube: Client) -> None:
        answer = await kube.send("PATCH", WEB, service("web"), kind="application/apply-patch+yaml")
        assert (answer.status, answer.doc["reason"]) == (422, "Invalid")
        assert "fieldManager: Required value: is required for apply patch" in answer.message

    async def test_force_is_for_apply(self, kube: Client) -> None:
        await kube.create(service("web"))
        answer = await kube.merge(WEB, {}, force="true")
        assert "force: Forbidden: may not be specified for non-apply patch" in answer.message


class TestRejected:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/api/v1/services"),
            ("POST", WEB),
            ("PUT", SERVICES),
            ("PATCH", SERVICES),
            ("DELETE", f"{DEPLOYMENTS}/web/status"),
            ("OPTIONS", SERVICES),
            ("HEAD", SERVICES),
            ("POST", "/version"),
        ],
    )
    async def test_methods_that_a_path_does_not_have(self, kube: Client, method: str, path: str) -> None:
        answer = await kube.send(method, path)
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers

    @pytest.mark.parametrize(
        "kind",
        [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            MERGE_PATCH,
        ],
    )
    async def test_bodies_that_a_form_can_send(self, kube: Client, kind: str) -> None:
        body = json.dumps(service("web")).encode()
        answer = await kube.send("POST", SERVICES, body, kind=kind)
        assert (answer.status, answer.doc["reason"]) == (415, "UnsupportedMediaType")
        assert (await kube.get(WEB)).status == 404
        await kube.create(service("web"))
        assert (await kube.send("DELETE", WEB, b"{}", kind="text/plain")).status == 415

    async def test_a_replacement_may_leave_its_type_to_the_server(self, kube: Client) -> None:
        await kube.create(service("web"))
        body = json.dumps(service("web", labels={"a": "b"})).encode()
        assert (await kube.send("PUT", WEB, body, kind="")).doc["metadata"]["labels"] == {"a": "b"}

    async def test_a_patch_of_no_known_type(self, kube: Client) -> None:
        answer = await kube.send("PATCH", WEB, {})
        assert answer.status == 415
        assert "application/strategic-merge-patch+json" in answer.message

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"{", "application/json"),
            (b"[]", "application/json"),
            (b"null", "application/json"),
            (b"a: *b", "application/yaml"),
            (b"k8s\x00\xff", "application/vnd.kubernetes.protobuf"),
        ],
    )
    async def test_bodies_that_are_no_object(self, kube: Client, body: bytes, kind: str) -> None:
        answer = await kube.send("POST", SERVICES, body, kind=kind)
        assert (answer.status, answer.doc["reason"]) == (400, "BadRequest")

    async def test_a_patch_that_is_no_list(self, kube: Client) -> None:
        await kube.create(service("web"))
        answer = await kube.send("PATCH", WEB, {}, kind="application/json-patch+json")
        assert (answer.status, answer.message) == (400, "a JSON patch is an array of operations")

    async def test_a_body_that_is_too_large(self, kube: Client) -> None:
        answer = await kube.create(config_map("c", data="x" * (3 << 20)))
        assert (answer.status, answer.doc["reason"]) == (413, "RequestEntityTooLarge")
        assert answer.message == "Request entity too large: limit is 3145728"
        assert (await kube.create(config_map("c", data="x" * (2 << 20)))).status == 201

    async def test_a_body_that_is_nested_too_deep(self, kube: Client) -> None:
        await kube.create(service("web"))
        deep = b'{"metadata":{"labels":' + b'{"a":' * 900 + b"{}" + b"}" * 902
        answer = await kube.send("POST", SERVICES, deep)
        assert (answer.status, answer.message) == (400, "the object is nested more than 100 levels deep")
        assert (await kube.send("PATCH", WEB, deep, kind=MERGE_PATCH)).status == 400

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]:80", ""]
    )
    async def test_a_name_that_somebody_bound_to_this_address(self, kube: Client, host: str) -> None:
        answer = await kube.send("GET", SERVICES, headers={"Host": host})
        assert (answer.status, answer.doc["reason"]) == (403, "Forbidden")

    @pytest.mark.parametrize("host", ["localhost", "LocalHost:1", "127.0.0.1:99", "[::1]", "[::1]:99"])
    async def test_our_own_names(self, kube: Client, host: str) -> None:
        assert (await kube.send("GET", SERVICES, headers={"Host": host})).status == 200

    async def test_a_header_that_is_too_long(self, kube: Client) -> None:
        assert (await kube.send("GET", SERVICES, headers={"X": "y" * 20_000})).status == 400

    async def test_an_error_of_the_server_is_only_in_its_log(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(_step: object) -> None:
            raise OSError("disk full")

        store = Store()
        async with client(store) as kube:
            store._persist = full
            answer = await kube.create(secret("s", stringData={"key": "hidden value"}))
            assert (answer.status, answer.doc["reason"]) == (500, "InternalError")
            assert "disk" not in answer.text
            assert (await kube.get("/api/v1/secrets")).names == []
        log = capsys.readouterr().out
        assert "disk full" in log
        assert "hidden value" not in log


async def test_any_name_for_who_means_it() -> None:
    async with client(any_host=True) as kube:
        assert (await kube.send("GET", SERVICES, headers={"Host": "kube.example"})).status == 200


async def test_calls_are_recorded_as_rbac_names_them(kube: Client) -> None:
    kube.session.headers["User-Agent"] = "test/1"
    await kube.create(deployment("web"))
    await kube.get(f"{DEPLOYMENTS}/web")
    await kube.get("/apis/apps/v1/deployments")
    async with kube.watch(DEPLOYMENTS):
        pass
    await kube.merge(f"{DEPLOYMENTS}/web/status", {})
    await kube.send("PUT", f"{DEPLOYMENTS}/web/scale", {})
    await kube.send("DELETE", f"{DEPLOYMENTS}/web")
    await kube.send("DELETE", DEPLOYMENTS)
    await kube.get("/version")

    def call(verb: str, subresource: str = "", namespace: str = "default", name: str = "web") -> Call:
        return Call("test/1", verb, "apps", "deployments", subresource, namespace, name)

    assert kube.calls == [
        call("create", name=""),
        call("get"),
        call("list", namespace="", name=""),
        call("watch", name=""),
        call("patch", "status"),
        call("update", "scale"),
        call("delete"),
        call("deletecollection", name=""),
    ]


async def test_a_store_that_was_filled_before() -> None:
    store = Store()
    store.load([namespace("shop", uid="1"), service("web", "shop", uid="2")])
    async with client(store) as kube:
        assert (await kube.get("/api/v1/services")).names == ["web"]
        assert (await kube.get("/api/v1/namespaces")).names == ["default", "kube-system", "shop"]
        assert store.list(SERVICES_RESOURCE, namespace="shop").entries[0].doc["metadata"]["uid"] == "2"


class TestFieldValidation:
    """Fields that a kind does not have are not stored, and the client says how it wants to hear of it."""

    async def test_strict_rejects(self, kube: Client) -> None:
        answer = await kube.create(service("web") | {"specs": {}}, fieldValidation="Strict")
        assert answer.status == 400
        assert answer.message.endswith('strict decoding error: unknown field "specs"')
        assert (await kube.get(WEB)).status == 404

    @pytest.mark.parametrize("how", [{}, {"fieldValidation": "Warn"}])
    async def test_a_warning_by_default(self, kube: Client, how: dict[str, str]) -> None:
        answer = await kube.create(service("web") | {"specs": {}}, **how)
        assert (answer.status, answer.headers["Warning"]) == (201, r'299 - "unknown field \"specs\""')
        assert "specs" not in (await kube.get(WEB)).doc

    async def test_ignore_says_nothing(self, kube: Client) -> None:
        answer = await kube.create(service("web") | {"specs": {}}, fieldValidation="Ignore")
        assert (answer.status, "Warning" in answer.headers) == (201, False)
        assert "specs" not in answer.doc

    @pytest.mark.parametrize(
        ("method", "kind"),
        [
            ("PUT", "application/json"),
            ("PATCH", MERGE_PATCH),
            ("PATCH", "application/strategic-merge-patch+json"),
            ("PATCH", "application/apply-patch+yaml"),
        ],
    )
    async def test_every_kind_of_write(self, kube: Client, method: str, kind: str) -> None:
        await kube.create(service("web"))
        doc = service("web") | {"specs": {}}
        query = {"fieldManager": "tests", "force": "true"} if "apply" in kind else {}
        warned = await kube.send(method, WEB, doc, kind=kind, headers=None, **query)
        assert (warned.status, warned.headers["Warning"]) == (200, r'299 - "unknown field \"specs\""')
        query |= {"fieldValidation": "Strict"}
        rejected = await kube.send(method, WEB, doc, kind=kind, headers=None, **query)
        assert (rejected.status, rejected.doc["reason"]) == (400, "BadRequest")

    async def test_a_warning_holds_whatever_a_name_holds(self, kube: Client) -> None:
        answer = await kube.create(service("web") | {"a\r\nSet-Cookie: b": 1, "é" * 1000: 1})
        assert answer.status == 201
        assert "Set-Cookie" not in answer.headers
        assert all(len(value) < 2000 for value in answer.headers.values())

    async def test_no_other_way(self, kube: Client) -> None:
        answer = await kube.create(service("web"), fieldValidation="Maybe")
        assert answer.status == 422
        assert 'supported values: "", "Ignore", "Warn", "Strict"' in answer.message


class TestApplyOverHttp:
    async def test_the_status_of_what_is_not_there_is_not_made(self, kube: Client) -> None:
        query = {"fieldManager": "tests"}
        kind = "application/apply-patch+yaml"
        answer = await kube.send("PATCH", f"{WEB}/status", service("web"), kind=kind, headers=None, **query)
        assert answer.status == 404

    async def test_the_status_is_applied_alone(self, kube: Client) -> None:
        await kube.create(service("web"))
        doc = service("web") | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        doc["spec"] = {"ports": [{"port": 99}]}
        query = {"fieldManager": "tests"}
        kind = "application/apply-patch+yaml"
        answer = await kube.send("PATCH", f"{WEB}/status", doc, kind=kind, headers=None, **query)
        assert answer.doc["status"] == doc["status"]
        assert [port["port"] for port in answer.doc["spec"]["ports"]] == [80]
        [entry] = [each for each in answer.doc["metadata"]["managedFields"] if each["manager"] == "tests"]
        assert (entry["operation"], entry["subresource"]) == ("Apply", "status")
        assert set(entry["fieldsV1"]) == {"f:status"}
