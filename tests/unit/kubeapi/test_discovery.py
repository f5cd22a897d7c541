"""What kubectl asks first."""

from tests.unit.kubeapi.client import Client
from xds_server.local.kubeapi.doc import Doc

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


def by_name(listed: list[Doc], key: str) -> dict[str, Doc]:
    return {each[key]: each for each in listed}


async def test_the_aggregated_form(kube: Client) -> None:
    core = await kube.get("/api", AGGREGATED)
    assert (
        core.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    )
    (group,) = core.doc["items"]
    assert group["metadata"] == {}
    services = by_name(group["versions"][0]["resources"], "resource")["services"]
    assert services == {
        "resource": "services",
        "responseKind": {"group": "", "version": "v1", "kind": "Service"},
        "scope": "Namespaced",
        "singularResource": "service",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["svc"],
        "categories": ["all"],
        "subresources": [
            {
                "subresource": "status",
                "responseKind": {"group": "", "version": "v1", "kind": "Service"},
                "verbs": ["get", "patch", "update"],
            }
        ],
    }
    groups = by_name(
        [each["metadata"] for each in (await kube.get("/apis", AGGREGATED)).doc["items"]], "name"
    )
    assert set(groups) == {
        "apps",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
    }


async def test_the_form_before_that(kube: Client) -> None:
    assert (await kube.get("/api")).doc["versions"] == ["v1"]
    groups = by_name((await kube.get("/apis")).doc["groups"], "name")
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await kube.get("/apis/apps")).doc == groups["apps"] | {"kind": "APIGroup", "apiVersion": "v1"}
    listed = (await kube.get("/apis/apps/v1")).doc
    assert (listed["kind"], listed["groupVersion"]) == ("APIResourceList", "apps/v1")
    resources = by_name(listed["resources"], "name")
    assert set(resources) == {
        "deployments",
        "deployments/scale",
        "deployments/status",
        "replicasets",
        "replicasets/status",
        "statefulsets",
        "statefulsets/scale",
        "statefulsets/status",
        "daemonsets",
        "daemonsets/status",
    }
    assert resources["deployments/scale"]["kind"] == "Scale"
    assert resources["deployments"]["shortNames"] == ["deploy"]
    core = by_name((await kube.get("/api/v1")).doc["resources"], "name")
    assert core["namespaces"]["namespaced"] is False


async def test_every_listed_resource_is_served(kube: Client) -> None:
    for root in ("/api/v1", *(f"/apis/{name}" for name in await group_versions(kube))):
        for resource in (await kube.get(root)).doc["resources"]:
            if "/" not in resource["name"]:
                assert (await kube.get(f"{root}/{resource['name']}")).status == 200


async def group_versions(kube: Client) -> list[str]:
    groups = (await kube.get("/apis")).doc["groups"]
    return [version["groupVersion"] for group in groups for version in group["versions"]]


async def test_schemas(kube: Client) -> None:
    index = (await kube.get("/openapi/v3")).doc["paths"]
    assert {"api/v1", "apis/apps/v1"} <= set(index)
    schemas = (await kube.get(index["apis/apps/v1"]["serverRelativeURL"])).doc["components"]["schemas"]
    assert "io.k8s.Deployment" in schemas


async def test_the_version(kube: Client) -> None:
    assert (await kube.get("/version")).doc["major"] == "1"


async def test_health(kube: Client) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await kube.get(path)
        assert (answer.status, answer.text) == (200, "ok")


async def test_what_is_only_read(kube: Client) -> None:
    for path in ("/version", "/apis/apps", "/openapi/v3"):
        assert (await kube.send("POST", path, {})).status == 405
    assert (await kube.send("POST", "/apis/batch/v1/namespaces/default/jobs", {})).status == 404


async def test_what_is_not_there(kube: Client) -> None:
    for path in (
        "/",
        "/api/v2",
        "/apis/none",
        "/apis/apps/v2",
        "/nothing",
        "/openapi/v3/apis/none/v1",
        "/apis/metrics.k8s.io/v1beta1/pods",
    ):
        answer = await kube.get(path)
        assert (answer.status, answer.doc["reason"]) == (404, "NotFound")
        assert answer.message == "the server could not find the requested resource"
