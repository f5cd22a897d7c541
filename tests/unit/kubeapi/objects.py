"""Objects to store, as small as the API server lets them be."""

from xds_server.local.kubeapi.doc import Doc


def namespace(name: str, **metadata: object) -> Doc:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


def service(name: str, in_: str = "default", **metadata: object) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": in_, **metadata},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }


def deployment(name: str, in_: str = "default", **metadata: object) -> Doc:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": in_, **metadata},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example/main:1"}]},
            },
        },
    }


def pod(name: str, in_: str = "default", **metadata: object) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": in_, **metadata},
        "spec": {"containers": [{"name": "main", "image": "example/main:1"}]},
    }


def config_map(name: str, in_: str = "default", **data: str) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": in_},
        "data": data,
    }


def secret(name: str, in_: str = "default", **rest: object) -> Doc:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": in_}, **rest}


def lease(name: str, in_: str = "default", **spec: object) -> Doc:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": in_},
        "spec": spec,
    }


def event(name: str, in_: str = "default", **rest: object) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": in_},
        "involvedObject": {"kind": "Service", "namespace": in_, "name": "web"},
        **rest,
    }
