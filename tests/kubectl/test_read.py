"""What kubectl shows of what is there."""

from datetime import UTC, datetime

import pytest

from tests.kubectl.client import Kubectl
from tests.unit.kubeapi.objects import config_map, deployment, event, lease, pod, secret, service
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import RESOURCES


def slice_of(name: str) -> Doc:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }


def here(*docs: Doc) -> list[Doc]:
    """Objects without a namespace: kubectl puts them into that of the test."""
    for doc in docs:
        doc["metadata"].pop("namespace", None)
    return list(docs)


async def create(kube: Kubectl, *docs: Doc) -> None:
    await kube("create", "-f", "-", stdin=here(*docs))


class TestGet:
    async def test_a_deployment(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        [heading, row] = await kube.rows("deployments", "-o", "wide")
        assert " ".join(heading) == "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR"
        assert row[:4] + row[5:] == ["web", "0/1", "0", "0", "main", "example/main:1", "app=web"]

    async def test_all_of_a_namespace(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"), service("web"), pod("p"))
        names = (await kube("get", "all", "-o", "name")).split()
        assert sorted(names) == ["deployment.apps/web", "pod/p", "service/web"]

    async def test_every_kind_can_be_listed(self, kube: Kubectl) -> None:
        kinds = ",".join(each.qualified for each in RESOURCES)
        found = await kube.run("get", kinds, "--all-namespaces")
        assert (found.code, found.err) == (0, "")
        assert "NAMESPACE" in found.out

    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            ("name", "service/web\n"),
            ("jsonpath={.spec.ports[0].port}", "80"),
            ("go-template={{.metadata.name}}", "web"),
            ("custom-columns=KIND:.kind,TYPE:.spec.type", "KIND      TYPE\nService   ClusterIP\n"),
        ],
    )
    async def test_other_forms(self, kube: Kubectl, how: str, expected: str) -> None:
        await create(kube, service("web"))
        assert await kube("get", "svc", "web", "-o", how) == expected

    async def test_yaml_is_what_was_stored(self, kube: Kubectl) -> None:
        await create(kube, config_map("c", key="value"))
        text = await kube("get", "cm", "c", "-o", "yaml")
        assert "kind: ConfigMap" in text
        assert "key: value" in text
        assert "managedFields" not in text
        assert "manager: kubectl-create" in await kube(
            "get", "cm", "c", "-o", "yaml", "--show-managed-fields"
        )

    async def test_of_all_namespaces(self, kube: Kubectl) -> None:
        await create(kube, lease("everywhere", holderIdentity="me"))
        rows = await kube.rows("leases", "--all-namespaces")
        assert [kube.namespace, "everywhere", "me"] in [row[:3] for row in rows]

    @pytest.mark.parametrize(
        ("selector", "names"),
        [
            ("tier=front", ["a"]),
            ("tier!=front", ["b", "c"]),
            ("tier in (front, back)", ["a", "b"]),
            ("!tier", ["c"]),
        ],
    )
    async def test_by_label(self, kube: Kubectl, selector: str, names: list[str]) -> None:
        tiers: list[tuple[str, dict[str, str]]] = [
            ("a", {"tier": "front"}),
            ("b", {"tier": "back"}),
            ("c", {}),
        ]
        await create(kube, *(service(name, labels=labels) for name, labels in tiers))
        found = await kube("get", "svc", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}")
        assert found.split() == names

    async def test_by_field(self, kube: Kubectl) -> None:
        await create(kube, pod("waiting"), pod("running") | {"status": {"phase": "Running"}})
        [_, row] = await kube.rows("pods", "--field-selector=status.phase=Running")
        assert row[:3] == ["running", "0/1", "Running"]
        rejected = await kube.fails("get", "pods", "--field-selector=spec.image=x")
        assert "field label not supported: spec.image" in rejected

    async def test_in_pages(self, kube: Kubectl) -> None:
        await create(kube, *(config_map(f"c-{number}") for number in range(5)))
        rows = await kube.rows("configmaps", "--chunk-size=2")
        assert [row[0] for row in rows[1:]] == [f"c-{number}" for number in range(5)]

    async def test_a_secret_is_counted_and_not_shown(self, kube: Kubectl) -> None:
        await create(kube, secret("s", stringData={"password": "hunter2"}))
        [_, row] = await kube.rows("secrets")
        assert row[:3] == ["s", "Opaque", "1"]
        assert "aHVudGVyMg==" not in await kube("describe", "secret", "s")
        assert await kube("get", "secret", "s", "-o", "jsonpath={.data.password}") == "aHVudGVyMg=="

    async def test_what_is_not_there(self, kube: Kubectl) -> None:
        missing = await kube.fails("get", "deployment", "web")
        assert missing == 'Error from server (NotFound): deployments.apps "web" not found\n'
        assert "doesn't have a resource type" in await kube.fails("get", "nodes")
        empty = await kube.run("get", "pods")
        assert empty.err == f"No resources found in {kube.namespace} namespace.\n"


class TestWatch:
    async def test_changes_are_shown_as_they_happen(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        async with kube.watching("deployments") as watching:
            assert (await watching.line())[:2] == ["NAME", "READY"]
            assert (await watching.line())[:2] == ["web", "0/1"]
            await kube("scale", "deployment", "web", "--replicas=4")
            assert (await watching.line())[:2] == ["web", "0/4"]
            await create(kube, deployment("other"))
            assert (await watching.line())[:2] == ["other", "0/1"]

    async def test_events_say_what_happened(self, kube: Kubectl) -> None:
        async with kube.watching("services", "--output-watch-events") as watching:
            await create(kube, service("web"))
            assert (await watching.line())[:2] == ["EVENT", "NAME"]
            assert (await watching.line())[:2] == ["ADDED", "web"]
            await kube("label", "service", "web", "a=b")
            assert (await watching.line())[:2] == ["MODIFIED", "web"]
            await kube("delete", "service", "web")
            assert (await watching.line())[:2] == ["DELETED", "web"]


class TestDescribe:
    @pytest.mark.parametrize(
        ("doc", "said"),
        [
            (deployment("it"), "RollingUpdateStrategy:  25% max unavailable, 25% max surge"),
            (service("it"), "TargetPort:               80/TCP"),
            (pod("it"), "QoS Class:        BestEffort"),
            (secret("it", stringData={"a": "bc"}), "a:  2 bytes"),
            (config_map("it", key="value"), "key:\n----\nvalue"),
            (lease("it", holderIdentity="me"), "Holder Identity:  me"),
            (slice_of("it"), "Addresses:  10.0.0.1"),
        ],
        ids=lambda each: each["kind"] if isinstance(each, dict) else "",
    )
    async def test_a_kind(self, kube: Kubectl, doc: Doc, said: str) -> None:
        await create(kube, doc)
        text = await kube("describe", doc["kind"], doc["metadata"]["name"])
        assert said in text
        assert f"Namespace:    {kube.namespace}".split() in [line.split() for line in text.splitlines()]

    async def test_a_namespace(self, kube: Kubectl) -> None:
        text = await kube("describe", "namespace", kube.namespace)
        assert f"kubernetes.io/metadata.name={kube.namespace}" in text

    async def test_events_are_listed_with_what_they_are_about(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"), deployment("other"))
        await create(kube, about(await kube.get("deployment", "web"), reason="ShadowRejected"))
        text = await kube("describe", "deployment", "web")
        [reported] = [line.split() for line in text.splitlines() if "ShadowRejected" in line]
        assert reported[:2] == ["Warning", "ShadowRejected"]
        assert "(x3 over" in " ".join(reported)
        assert reported[-6:] == ["xds-shadow", "there", "is", "no", "such", "Service"]
        assert "ShadowRejected" not in await kube("describe", "deployment", "other")

    async def test_an_event_of_an_object_that_had_the_name_before_is_not(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        before = await kube.get("deployment", "web")
        await create(kube, about(before, reason="OfThePast"))
        await kube("delete", "deployment", "web")
        await create(kube, deployment("web"))
        assert "OfThePast" not in await kube("describe", "deployment", "web")


def about(doc: Doc, *, reason: str) -> Doc:
    """An Event about an object, told three times."""
    meta = doc["metadata"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reported = event(
        f"{meta['name']}.1",
        type="Warning",
        message="there is no such Service",
        source={"component": "xds-shadow"},
        count=3,
        firstTimestamp=now,
        lastTimestamp=now,
        reason=reason,
    )
    reported["involvedObject"] = {
        "apiVersion": doc["apiVersion"],
        "kind": doc["kind"],
        **{field: meta[field] for field in ("namespace", "name", "uid")},
    }
    return reported


class TestEvents:
    async def test_both_commands_list_them(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        await create(kube, about(await kube.get("deployment", "web"), reason="ShadowRejected"))
        [heading, row] = await kube.rows("events")
        assert heading == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
        assert row[1:4] == ["Warning", "ShadowRejected", "deployment/web"]
        for arguments in ([], ["--for", "deployment/web"], ["--types=Warning"]):
            assert "Deployment/web" in await kube("events", *arguments)
        assert "No events found" in (await kube.run("events", "--for", "deployment/other")).err

    async def test_by_field(self, kube: Kubectl) -> None:
        await create(kube, deployment("web"))
        await create(kube, about(await kube.get("deployment", "web"), reason="ShadowRejected"))
        fields = "involvedObject.kind=Deployment,involvedObject.name=web,reason=ShadowRejected,type=Warning"
        assert len(await kube.rows("events", "--field-selector", fields)) == 2
        assert await kube.rows("events", "--field-selector", "type=Normal") == []


class TestAboutTheServer:
    async def test_it_is_reached(self, kube: Kubectl) -> None:
        assert "Kubernetes control plane is running at" in await kube("cluster-info")
        assert "Server Version: v1." in await kube("version")
        assert await kube("get", "--raw", "/readyz") == "ok"

    async def test_what_it_serves(self, kube: Kubectl) -> None:
        listed = await kube("api-resources", "--output=name", "--verbs=list,watch,patch")
        assert sorted(listed.split()) == sorted(each.qualified for each in RESOURCES)
        versions = (await kube("api-versions")).split()
        assert {"v1", "apps/v1", "discovery.k8s.io/v1"} <= set(versions)

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("deployment.spec", "replicas\t<integer>"),
            ("svc.spec.ports", "FIELD: ports <[]ServicePort>"),
            ("pods.spec.containers.env", "valueFrom\t<EnvVarSource>"),
            ("leases.spec.holderIdentity", "FIELD: holderIdentity <string>"),
        ],
    )
    async def test_fields_are_explained(self, kube: Kubectl, path: str, said: str) -> None:
        assert said in await kube("explain", path)

    async def test_a_field_that_is_not_there(self, kube: Kubectl) -> None:
        assert 'field "replica" does not exist' in await kube.fails("explain", "deployment.spec.replica")
