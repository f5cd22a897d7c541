"""Kubernetes objects as YAML data, with what most tests want as defaults."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xds_server.base.address import Address

NAMESPACE = "staging"
Document = dict[str, Any]


def namespace(name: str = NAMESPACE, *, expose: str | None = "true") -> Document:
    labels = {} if expose is None else {"xds-shadow.io/expose": expose}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(
    name: str = "myapp",
    *,
    ports: Sequence[Mapping[str, Any]] = ({"name": "http", "port": 8181, "targetPort": "http"},),
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, labels, annotations),
        "spec": {"selector": {"app": name}, "ports": [dict(port) for port in ports]},
    }


def canary(
    name: str = "myapp-canary",
    *,
    shadow_of: str | None = "myapp",
    selects: Mapping[str, str] | None = None,
    **annotations: str,
) -> Document:
    """A Deployment, marked unless `shadow_of` is None; policy annotations by their short names."""
    labels = {} if shadow_of is None else {"xds-shadow.io/shadow-of": shadow_of}
    policy = {f"xds-shadow.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name, labels, policy),
        "spec": {"selector": {"matchLabels": dict(selects or {"app": name})}},
    }


def secret(name: str, *, allow: str | None = "true", **values: str) -> Document:
    """A Secret; `values` as they are."""
    labels = {} if allow is None else {"xds-shadow.io/allow": allow}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(name, labels, None),
        "stringData": dict(values),
    }


def endpoint_slice(
    of: str, endpoints: Sequence[tuple[str, Address]], *, port_name: str = "http"
) -> list[Document]:
    """The slices of a Service whose Pods, given by name, listen on different ports of one address."""
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": _metadata(f"{of}-{pod_name}", {"kubernetes.io/service-name": of}, None),
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [address.host],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": pod_name},
                }
            ],
            "ports": [{"name": port_name, "port": address.port}],
        }
        for pod_name, address in endpoints
    ]


def pod(
    name: str, address: Address, *, labels: Mapping[str, str] | None = None, port_name: str = "http"
) -> Document:
    ports = [{"name": port_name, "containerPort": address.port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, labels or {"app": "myapp-canary"}, None),
        "spec": {"containers": [{"name": "backend", "ports": ports}]},
        "status": {"podIP": address.host, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _metadata(
    name: str, labels: Mapping[str, str] | None, annotations: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": dict(labels or {}),
        "annotations": dict(annotations or {}),
    }


def write_documents(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    """Replace a YAML file in one step, so that no reader sees half of it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    part.replace(path)
