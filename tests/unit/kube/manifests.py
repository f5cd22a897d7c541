"""Small Kubernetes objects as the API and manifests spell them, for the tests of the sources."""

import base64
from typing import Any

Doc = dict[str, Any]


def doc(api_version: str, kind: str, name: str, namespace: str | None = "staging", **rest: Any) -> Doc:
    """Any object; `labels` and `annotations` go to its metadata, everything else beside it."""
    metadata: Doc = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    for key in ("labels", "annotations"):
        if key in rest:
            metadata[key] = rest.pop(key)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def namespace(name: str, **rest: Any) -> Doc:
    return doc("v1", "Namespace", name, None, **rest)


def service(name: str, namespace: str = "staging", port: object = 80, **rest: Any) -> Doc:
    return doc("v1", "Service", name, namespace, spec={"ports": [{"port": port}]}, **rest)


def deployment(name: str, namespace: str = "staging", app: str = "", **rest: Any) -> Doc:
    """A Deployment whose Pods have the label ``app``, by default its own name."""
    selector = {"matchLabels": {"app": app or name}}
    return doc("apps/v1", "Deployment", name, namespace, spec={"selector": selector}, **rest)


def canary(name: str, of: str = "web", namespace: str = "staging", app: str = "") -> Doc:
    return deployment(name, namespace, app, labels={"xds-shadow.io/shadow-of": of})


def secret(name: str, namespace: str = "staging", allow: str | None = "true", **values: str) -> Doc:
    """A Secret whose `values` are as they are; `allow` is its label."""
    labels = {} if allow is None else {"xds-shadow.io/allow": allow}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return doc("v1", "Secret", name, namespace, labels=labels, data=data)


def pod(name: str, namespace: str = "staging", *, ip: str = "10.0.0.1", **labels: str) -> Doc:
    return doc("v1", "Pod", name, namespace, labels=labels, status={"podIP": ip})


def endpoint_slice(name: str, namespace: str = "staging", address: str = "10.0.0.1") -> Doc:
    return doc(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        name,
        namespace,
        addressType="IPv4",
        endpoints=[{"addresses": [address]}],
        ports=[{"port": 8080}],
    )


EVERYTHING = [
    namespace("staging"),
    service("web"),
    canary("web-canary"),
    deployment("web"),
    endpoint_slice("web-x"),
    pod("canary-1", app="web-canary"),
    pod("web-1", app="web"),
]
"""A canary and what it shadows, with Pods of both; only the canary's Pods are of interest."""
