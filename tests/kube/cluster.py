"""An API server under test, the embedded one or that of a `KUBECONFIG`, and a namespace of the test's own."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.waiting import eventually
from xds_server.core.world import World
from xds_server.kube.client import Call, KubeClient
from xds_server.kube.session import Connect
from xds_server.kube.source import read_once_kube

Document = dict[str, Any]

_LIMITS = aiohttp.ClientTimeout(total=30)
_MERGE_PATCH = "application/merge-patch+json"
_ROOTS = {
    "services": "/api/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "deployments": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}
WATCHED = {"namespaces", *_ROOTS} - {"secrets"}


@dataclass
class Cluster:
    """Creates, changes and deletes objects in one namespace, past all faults."""

    connect: Connect
    namespace: str
    _client: KubeClient

    async def create_namespace(self, name: str) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self._send("POST", "/api/v1/namespaces", namespace)

    async def create(self, plural: str, document: Document) -> None:
        await self._send("POST", self._path(plural), document)

    async def patch(self, plural: str, name: str, change: Document, subresource: str = "") -> None:
        await self._send("PATCH", f"{self._path(plural)}/{name}{subresource}", change, _MERGE_PATCH)

    async def label(self, plural: str, name: str, **labels: str | None) -> None:
        await self.patch(plural, name, {"metadata": {"labels": labels}})

    async def annotate(self, plural: str, name: str, **annotations: str | None) -> None:
        await self.patch(plural, name, {"metadata": {"annotations": annotations}})

    async def delete(self, plural: str, name: str) -> None:
        await self._send("DELETE", f"{self._path(plural)}/{name}", {"gracePeriodSeconds": 0})

    async def label_namespace(self, **labels: str | None) -> None:
        change = {"metadata": {"labels": labels}}
        await self._send("PATCH", f"/api/v1/namespaces/{self.namespace}", change, _MERGE_PATCH)

    async def create_ready_pod(self, name: str, labels: Mapping[str, str]) -> None:
        """A Pod that nothing runs, and that says it is ready."""
        await self.create("pods", pod(name, labels))
        status = {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
        await self.patch("pods", name, {"status": status}, "/status")

    async def mark(self, deployment: str, service: str | None) -> None:
        """``kubectl label deployment … xds-shadow.io/shadow-of=…``."""
        labels = {"xds-shadow.io/shadow-of": service}
        await self.patch("deployments", deployment, {"metadata": {"labels": labels}})

    async def world(self) -> World:
        """What the server says now, asked directly."""
        return World().apply(await read_once_kube(self.connect, [self.namespace]))[0]

    def _path(self, plural: str) -> str:
        return f"{_ROOTS[plural]}/namespaces/{self.namespace}/{plural}"

    async def _send(self, method: str, path: str, body: Document, kind: str = "application/json") -> None:
        call = Call(method=method, path=path, body=body, content_type=kind, limits=_LIMITS)
        async with self._client.request(call) as response:
            assert response.ok, f"{method} {path}: {response.status} {await response.text()}"

    async def _gone(self) -> bool:
        call = Call(path=f"/api/v1/namespaces/{self.namespace}", limits=_LIMITS)
        async with self._client.request(call) as response:
            return response.status == 404


@asynccontextmanager
async def cluster(connect: Connect) -> AsyncIterator[Cluster]:
    """Creates a namespace, and removes it with all that is in it."""
    client = await KubeClient.open(connect)
    it = Cluster(connect, f"xds-shadow-test-{secrets.token_hex(4)}", client)
    try:
        await it.create_namespace(it.namespace)
        try:
            yield it
        finally:
            await it._send("DELETE", f"/api/v1/namespaces/{it.namespace}", {})
            await eventually(it._gone, what="the namespace gone")
    finally:
        await client.close()


def service(name: str, labels: Mapping[str, str] | None = None) -> Document:
    """Without a selector, so that no controller writes slices for it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }


def endpoint_slice(name: str, of: str, *addresses: str) -> Document:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def deployment(name: str, *, shadow_of: str | None = None) -> Document:
    """Of no replicas: its Pods are the test's."""
    labels = {} if shadow_of is None else {"xds-shadow.io/shadow-of": shadow_of}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [_CONTAINER]}},
        },
    }


def pod(name: str, labels: Mapping[str, str]) -> Document:
    """One that no scheduler of a cluster takes."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"schedulerName": "none", "containers": [_CONTAINER]},
    }


_CONTAINER = {"name": "backend", "image": "backend:none", "ports": [{"name": "http", "containerPort": 8080}]}
