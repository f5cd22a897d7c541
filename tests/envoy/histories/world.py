"""What the tenants of a history have, and the Kubernetes objects that say so."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name."""

PREFIX = "xds-shadow.io/"


@dataclass
class Port:
    """Of a Service: its name, its number, and on which of the backends' ports it ends."""

    name: str
    number: int
    target: int


@dataclass
class Endpoint:
    """`pod` names a canary's Pod, else it is one of the stable version."""

    address: str
    ready: bool = True
    pod: str = ""


@dataclass
class Service:
    """`born` orders Services by age. `bad` are addresses that are none, `bad_port` adds a slice whose port no
    port can be. `slices` is how many EndpointSlices the endpoints are spread over."""

    namespace: str
    name: str
    born: int
    ports: list[Port]
    endpoints: list[Endpoint]
    claims: list[str] = field(default_factory=list)
    expose: str | None = None
    slices: int = 1
    bad: list[str] = field(default_factory=list)
    bad_port: int | None = None

    @property
    def key(self) -> Name:
        return self.namespace, self.name


@dataclass
class Canary:
    """A Deployment with one Pod. It is in the slices of the Service `joined` as if it had its labels."""

    namespace: str
    name: str
    address: str
    shadow_of: str | None = None
    ready: bool = True
    joined: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def pod(self) -> str:
        return f"{self.name}-1"


@dataclass
class World:
    """`ports` are the backends' ports; `births` counts Services that were ever made."""

    ports: tuple[int, ...]
    namespaces: list[str]
    services: dict[Name, Service] = field(default_factory=dict)
    canaries: dict[Name, Canary] = field(default_factory=dict)
    births: int = 0

    def copy(self) -> "World":
        return copy.deepcopy(self)

    def documents(self) -> Iterator[Document]:
        """Every object."""
        for namespace in self.namespaces:
            labels = {f"{PREFIX}expose": "true"}
            yield _object("v1", "Namespace", "", namespace, labels=labels)
        for service in self.services.values():
            yield self._service(service)
            yield from self._slices(service)
        for canary in self.canaries.values():
            yield from self._canary(canary)

    def _service(self, service: Service) -> Document:
        ports = [
            {
                "name": port.name,
                "port": port.number,
                "targetPort": self.ports[port.target],
                "appProtocol": "http",
                "protocol": "TCP",
            }
            for port in service.ports
        ]
        found = _object(
            "v1",
            "Service",
            service.namespace,
            service.name,
            labels={} if service.expose is None else {f"{PREFIX}expose": service.expose},
            annotations={f"{PREFIX}hosts": ",".join(service.claims)} if service.claims else {},
            born=service.born,
        )
        return {**found, "spec": {"selector": {"app": service.name}, "ports": ports}}

    def _slices(self, service: Service) -> Iterator[Document]:
        ports = [
            {"name": port.name, "port": self.ports[port.target], "protocol": "TCP"} for port in service.ports
        ]
        listed = [_endpoint(each) for each in service.endpoints]
        listed += [
            _endpoint(Endpoint(canary.address, canary.ready, canary.pod))
            for canary in self.canaries.values()
            if (canary.namespace, canary.joined) == service.key
        ]
        listed += [{"addresses": [address], "conditions": {"ready": True}} for address in service.bad]
        for number in range(service.slices):
            yield _slice(service, str(number), listed[number :: service.slices], ports)
        if service.bad_port is not None and service.endpoints:
            wrong = [{**port, "port": service.bad_port} for port in ports]
            yield _slice(service, "port", [_endpoint(service.endpoints[0])], wrong)

    def _canary(self, canary: Canary) -> Iterator[Document]:
        labels = {"app": canary.name}
        marks = {} if canary.shadow_of is None else {f"{PREFIX}shadow-of": canary.shadow_of}
        policy = {f"{PREFIX}{key}": value for key, value in canary.annotations.items()}
        namespace, name = canary.namespace, canary.name
        deployment = _object("apps/v1", "Deployment", namespace, name, labels=marks, annotations=policy)
        yield {**deployment, "spec": {"selector": {"matchLabels": labels}}}
        ready = {"type": "Ready", "status": str(canary.ready)}
        yield {
            **_object("v1", "Pod", namespace, canary.pod, labels=labels),
            "spec": {"containers": [{"name": "main", "ports": []}]},
            "status": {"podIP": canary.address, "conditions": [ready]},
        }


def _slice(service: Service, suffix: str, endpoints: list[Document], ports: list[Document]) -> Document:
    labels = {"kubernetes.io/service-name": service.name}
    name = f"{service.name}-{suffix}"
    found = _object("discovery.k8s.io/v1", "EndpointSlice", service.namespace, name, labels=labels)
    return {**found, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}


def _endpoint(endpoint: Endpoint) -> Document:
    pod = endpoint.pod or f"stable-{endpoint.address.replace('.', '-')}"
    return {
        "addresses": [endpoint.address],
        "conditions": {"ready": endpoint.ready, "serving": endpoint.ready, "terminating": False},
        "targetRef": {"kind": "Pod", "name": pod},
    }


def _object(
    version: str,
    kind: str,
    namespace: str,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    born: int = 0,
) -> Document:
    metadata: Document = {
        "name": name,
        "uid": f"{kind}-{namespace}-{name}-{born}",
        "creationTimestamp": f"2026-01-01T{born // 3600:02}:{born // 60 % 60:02}:{born % 60:02}Z",
        "labels": labels or {},
        "annotations": annotations or {},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
