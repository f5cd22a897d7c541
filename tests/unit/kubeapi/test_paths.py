"""What the path of a URL means."""

import pytest

from xds_server.local.kubeapi.paths import Target, parse, segments
from xds_server.local.kubeapi.resources import CLUSTERROLES, DEPLOYMENTS, NAMESPACES, PODS, SERVICES

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/services", Target(resource=SERVICES)),
        ("/api/v1/namespaces/x/services/", Target(resource=SERVICES, namespace="x")),
        ("/api/v1/namespaces/x/services/web", Target(resource=SERVICES, namespace="x", name="web")),
        ("/api/v1/namespaces", Target(resource=NAMESPACES)),
        ("/api/v1/namespaces/x", Target(resource=NAMESPACES, name="x")),
        ("/api/v1/namespaces/x/status", Target(resource=NAMESPACES, name="x", subresource="status")),
        (
            "/apis/apps/v1/namespaces/x/deployments/web/scale",
            Target(resource=DEPLOYMENTS, namespace="x", name="web", subresource="scale"),
        ),
        (
            "/api/v1/namespaces/x/pods/p/status",
            Target(resource=PODS, namespace="x", name="p", subresource="status"),
        ),
        (f"{RBAC}/clusterroles/system%3Areader", Target(resource=CLUSTERROLES, name="system:reader")),
        ("/api/v1/namespaces/x%2Fservices", Target(resource=NAMESPACES, name="x/services")),
    ],
)
def test_resources(path: str, target: Target) -> None:
    assert parse(segments(path)) == target


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1",
        "/api/v2/services",
        "/api/v1/deployments",
        "/apis/apps/v1",
        "/apis/apps/v1beta1/deployments",
        "/apis//v1/services",
        "/api/v1/services/web",
        "/api/v1/namespaces/x/services/web/scale",
        "/api/v1/namespaces/x/services/web/namespaced",
        "/api/v1/namespaces/x/services/web/status/more",
        "/api/v1/namespaces/x/pods/p/log",
        f"{RBAC}/namespaces/x/clusterroles",
        "/metrics",
    ],
)
def test_everything_else(path: str) -> None:
    assert parse(segments(path)) is None


def test_a_namespaced_object_is_created_in_its_namespace() -> None:
    assert Target(resource=SERVICES, namespace="x").creatable
    assert Target(resource=NAMESPACES).creatable
    assert not Target(resource=SERVICES).creatable
    assert not Target(resource=SERVICES, namespace="x", name="web").creatable
