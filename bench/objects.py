"""A large cluster, made of nothing: the same objects in every run.

Each namespace has Services with a named HTTP port and one EndpointSlice of ten endpoints; each namespace is
exposed; one Service in fifty has a marked canary with one Pod. Objects have the fields and the bulk that a
real API server's have.
"""

from collections.abc import Iterator
from typing import Any, Final

Document = dict[str, Any]

ENDPOINTS_EACH: Final = 10
CANARY_EVERY: Final = 50
_CREATED: Final = "2026-01-01T00:00:00Z"
_UID: Final = "6d2a5d3e-0000-4000-8000-{:012d}"


def documents(namespaces: int, services: int) -> Iterator[Document]:
    """All objects: `services` spread evenly over `namespaces`."""
    for number in range(namespaces):
        yield _object("v1", "Namespace", "", namespace_name(number), {"xds-shadow.io/expose": "true"})
    for number in range(services):
        namespace, name = service_of(number, namespaces)
        yield service(namespace, name)
        yield endpoint_slice(number, namespaces)
        if number % CANARY_EVERY == 0:
            yield _deployment(namespace, f"{name}-canary", {"xds-shadow.io/shadow-of": name})
            yield _pod(namespace, f"{name}-canary", number)


def namespace_name(number: int) -> str:
    return f"team-{number:05d}"


def service_of(number: int, namespaces: int) -> tuple[str, str]:
    """The namespace and name of the Service with this number."""
    return namespace_name(number % namespaces), f"service-{number:06d}"


def service(namespace: str, name: str) -> Document:
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.1",
        "clusterIPs": ["10.96.0.1"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "selector": {"app.kubernetes.io/name": name},
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
    }
    return {**_object("v1", "Service", namespace, name, {"app.kubernetes.io/name": name}), "spec": spec}


def endpoint_slice(number: int, namespaces: int, first: str | None = None) -> Document:
    """The slice of a Service; `first` is the address of its first endpoint, if not the usual."""
    namespace, name = service_of(number, namespaces)
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    addresses = [_address(number * ENDPOINTS_EACH + each) for each in range(ENDPOINTS_EACH)]
    endpoints = [
        _endpoint(namespace, name, each, address)
        for each, address in enumerate([first or addresses[0], *addresses[1:]])
    ]
    return {
        **_object("discovery.k8s.io/v1", "EndpointSlice", namespace, f"{name}-x7k2p", labels),
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _endpoint(namespace: str, name: str, number: int, address: str) -> Document:
    pod = {
        "kind": "Pod",
        "namespace": namespace,
        "name": f"{name}-5d8f9c7b6-{number:05d}",
        "uid": _UID.format(0),
    }
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-{number}",
        "zone": "zone-a",
        "targetRef": pod,
    }


def _address(number: int) -> str:
    return f"10.{(number >> 16) & 255}.{(number >> 8) & 255}.{number & 255}"


def _deployment(namespace: str, name: str, labels: dict[str, str]) -> Document:
    selector = {"app.kubernetes.io/name": name}
    template = {
        "metadata": {"labels": selector},
        "spec": {"containers": [{"name": "main", "image": "backend"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": selector}, "template": template}
    return {**_object("apps/v1", "Deployment", namespace, name, labels), "spec": spec}


def _pod(namespace: str, name: str, number: int) -> Document:
    container = {"name": "main", "image": "backend", "ports": [{"name": "http", "containerPort": 8080}]}
    status = {"phase": "Running", "podIP": f"10.200.{number >> 8 & 255}.{number & 255}"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"app.kubernetes.io/name": name}
    return {
        **_object("v1", "Pod", namespace, name, labels),
        "spec": {"containers": [container]},
        "status": status | ready,
    }


def _object(version: str, kind: str, namespace: str, name: str, labels: dict[str, str]) -> Document:
    metadata = {
        "name": name,
        "uid": _UID.format(1),
        "creationTimestamp": _CREATED,
        "labels": labels,
        "managedFields": [
            {"manager": "bench", "operation": "Update", "fieldsV1": {"f:spec": {"f:ports": {}}}}
        ],
    }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
    }
