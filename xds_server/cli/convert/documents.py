"""Looks up the Services, Deployments and ports that rules name in the input."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.fields import Doc
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.keys import HOSTS, HTTP_PORTS, PREFIX
from xds_server.core.objects import Service
from xds_server.core.plan import Protocol
from xds_server.core.ports import no_http_port, ports_of


class Target(NamedTuple):
    """A Deployment, and the assumption by which it was selected."""

    deployment: str
    assumed: str = ""


class Documents:
    """All documents of the input. They are of a cluster with these DNS domains."""

    def __init__(self, docs: Sequence[Doc], cluster_domains: Sequence[str] = CLUSTER_DOMAINS) -> None:
        self.all = docs
        self._suffixes = (*(f".svc.{domain}" for domain in cluster_domains), ".svc")
        self.services: dict[NamespacedName, Service] = {}
        self.pod_labels: dict[NamespacedName, dict[str, str]] = {}
        self.marked: dict[NamespacedName, dict[str, str]] = {}
        for doc in docs:
            name = name_of(doc)
            if doc.get("kind") == "Service" and doc.get("apiVersion") == "v1":
                try:
                    self.services[name] = msgspec.convert(doc, Service)
                except msgspec.ValidationError:
                    continue  # as if it did not exist
            elif doc.get("kind") == "Deployment" and doc.get("apiVersion") == "apps/v1":
                self.pod_labels[name] = _labels(doc, "spec", "template", "metadata", "labels")
                said = {**_labels(doc, "metadata", "labels"), **_labels(doc, "metadata", "annotations")}
                self.marked[name] = {key: value for key, value in said.items() if key.startswith(PREFIX)}

    def of(self, group: str, kind: str) -> Iterator[Doc]:
        """The documents of a kind in all versions."""
        return (doc for doc in self.all if group_of(doc) == group and doc.get("kind") == kind)

    def behind(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """The Deployments whose Pods have all of these labels."""
        return [
            name.name
            for name, its in self.pod_labels.items()
            if labels and name.namespace == namespace and labels.items() <= its.items()
        ]

    def selector(self, service: NamespacedName) -> Mapping[str, str] | None:
        """The selector of a Service, or None if the Service is not in the input."""
        found = self.services.get(service)
        return found.spec.selector or {} if found else None

    def canary(self, service: NamespacedName) -> Target:
        """The Deployment to label for a mirror to a Service. The shadow uses the endpoints of that Service,
        so a wrong Deployment changes only the name of the shadow."""
        found = self.behind(service.namespace, self.selector(service) or {})
        if found:
            also = f"Deployments {', '.join(found)} are behind Service {service.name}; the first is marked"
            return Target(found[0], also if len(found) > 1 else "")
        return Target(
            service.name,
            f"the Deployment behind Service {service.name} is not in the input; it is assumed to have"
            " the same name",
        )

    def first_port(self, service: NamespacedName, port: int | str | None) -> str:
        """Why additional hosts of a Service would not be routed to this port; empty if they would be. A
        Service of the input has a routed port."""
        found = self.services.get(service)
        if found is None:
            return (
                ""
                if port is None
                else f"its first HTTP port is not known to be {port}; add the Service to the input"
            )
        ports = ports_of(found).routed
        if port is None and len(found.ports) > 1:
            return "it has several ports, and the rule names none"
        if port is not None and port not in (ports[0].port.port, ports[0].port.name):
            return f"its first HTTP port is {ports[0].port.port}, but the rule routes to {port}"
        return ""

    def not_routed(self, service: NamespacedName, port: int | str | None) -> str:
        """Why this port of a Service is not routed; empty if it is routed, or if that is not known."""
        found = self.services.get(service)
        routed = [each.port for each in ports_of(found).routed] if found else []
        if found is None or any(port in (None, each.port, each.name) for each in routed):
            return ""
        if not routed:
            return f"Service {service.name} has no routed port. {no_http_port(found)}"
        if all(port not in (each.port, each.name) for each in found.ports):
            return ""
        return f"port {port} of Service {service.name} is not routed; add it to {HTTP_PORTS}"

    def not_http2(self, service: NamespacedName, port: int | str | None) -> str:
        """Why gRPC calls to this port of a Service would fail, with the command that corrects it; empty if
        they would not, or if that is not known."""
        found = self.services.get(service)
        for each in ports_of(found).routed if found else ():
            if port in (None, each.port.port, each.port.name) and each.protocol is not Protocol.HTTP2:
                said = {"port": each.port.port, "appProtocol": "kubernetes.io/h2c"}
                patch = msgspec.json.encode({"spec": {"ports": [said]}}).decode()
                line = ("kubectl", "-n", service.namespace, "patch", "service", service.name, "-p", patch)
                return (
                    f"gRPC needs HTTP/2, but port {each.port.port} of Service {service.name} is HTTP/1;"
                    f" change it and convert again: {shlex.join(line)}"
                )
        return ""

    def has_hosts(self, service: NamespacedName) -> str:
        """Why hosts cannot be added to a Service; empty if they can."""
        found = self.services.get(service)
        said = found.annotations.get(HOSTS) if found else None
        return f"it already has {HOSTS}={said}; add the host to it" if said else ""

    def further_ports(self, service: NamespacedName, port: int | str | None) -> str:
        """The HTTP ports of a Service other than the one that a rule names; empty if there are none."""
        found = self.services.get(service)
        ports = [each.port for each in ports_of(found).routed] if found and port is not None else []
        return ", ".join(str(each.port) for each in ports if port not in (each.port, each.name))

    def mirror_port(self, primary: NamespacedName, port: int | str | None, mirror: Any) -> str:
        """Why mirrored requests would reach another port than the `mirror` backend names; empty if they would
        not. Ports correspond by name, else by number, else if there is only one."""
        name, wanted = mirror.service, mirror.port
        source = self.services.get(name)
        if source is not None and source.spec.type == "ExternalName":
            return f"Service {name.name} is an ExternalName"
        if wanted is None or (source is not None and len(source.ports) == 1):
            return ""
        stable = self.services.get(primary)
        if source is None:
            return (
                ""
                if wanted == port
                else f"port {wanted} of Service {name.name} is not known; add the Service to the input"
            )
        its = [each for each in stable.ports if port in (each.port, each.name)] if stable else []
        by_name = [each for each in source.ports if its and its[0].name and each.name == its[0].name]
        by_number = [each for each in source.ports if its and each.port == its[0].port]
        found = next(iter((*by_name, *by_number)), None)
        if found is not None and wanted in (found.port, found.name):
            return ""
        return f"port {wanted} of Service {name.name} is not the counterpart of {primary.name}'s {port}"

    def local(self, host: str, namespace: str) -> NamespacedName | None:
        """The Service of a cluster-internal host name, or None. A host with two labels is a Service only if
        its second label is this namespace, or if the input has that Service."""
        for suffix in self._suffixes:
            if host.endswith(suffix):
                name, dot, other = host.removesuffix(suffix).partition(".")
                return NamespacedName(other, name) if dot and name and "." not in other else None
        name, dot, other = host.partition(".")
        if not dot:
            return NamespacedName(namespace, name) if name and name != "*" else None
        found = NamespacedName(other, name)
        return found if name and (other == namespace or found in self.services) else None

    def own_name(self, service: NamespacedName) -> str:
        """The fully qualified DNS name of a Service in the first cluster domain."""
        return f"{service.name}.{service.namespace}{self._suffixes[0]}"

    def is_own_name(self, host: str) -> bool:
        """Whether a host has the form of a DNS name of a Service."""
        return host.endswith(self._suffixes[0])


def group_of(doc: Doc) -> str:
    """The API group of a document."""
    return str(doc.get("apiVersion", "")).partition("/")[0]


def name_of(doc: Doc) -> NamespacedName:
    """Namespace and name of a document of any shape."""
    metadata = doc.get("metadata")
    found = metadata if isinstance(metadata, Mapping) else {}
    return NamespacedName(str(found.get("namespace") or "default"), str(found.get("name") or ""))


def _labels(doc: object, *path: str) -> dict[str, str]:
    for step in path:
        doc = doc.get(step) if isinstance(doc, Mapping) else None
    return {str(key): str(value) for key, value in doc.items()} if isinstance(doc, Mapping) else {}
