"""Checks the types of fields that later code relies on. Pure.

The API server's decoder knows the type of every field. This one checks the fields that are read here, so that
rules and defaults need not. Other fields may have any type.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import bad_request
from xds_server.local.kubeapi.resources import Resource


class _MapOf(NamedTuple):
    values: object


class _ListOf(NamedTuple):
    items: object


_TEXTS: Final = _MapOf(str)
_OBJECT: Final[Mapping[str, object]] = {}
_OBJECTS: Final = _ListOf(_OBJECT)

_METADATA: Final = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "finalizers": _ListOf(str),
    "ownerReferences": _OBJECTS,
    "managedFields": _OBJECTS,
}

_CONTAINER: Final = {
    "name": str,
    "image": str,
    "command": _ListOf(str),
    "args": _ListOf(str),
    "env": _ListOf({"name": str, "value": str}),
    "ports": _ListOf({"name": str, "containerPort": int, "protocol": str}),
    "resources": {"limits": _OBJECT, "requests": _OBJECT},
}
_POD_SPEC: Final = {
    "containers": _ListOf(_CONTAINER),
    "initContainers": _ListOf(_CONTAINER),
    "volumes": _OBJECTS,
    "readinessGates": _OBJECTS,
    "nodeName": str,
    "serviceAccountName": str,
}
_SELECTOR: Final = {
    "matchLabels": _TEXTS,
    "matchExpressions": _ListOf({"key": str, "operator": str, "values": _ListOf(str)}),
}
_CONDITIONS: Final = {"conditions": _OBJECTS}
_WORKLOAD: Final = {
    "spec": {
        "replicas": int,
        "selector": _SELECTOR,
        "strategy": {"type": str, "rollingUpdate": _OBJECT},
        "template": {"metadata": {"labels": _TEXTS, "annotations": _TEXTS}, "spec": _POD_SPEC},
    },
    "status": _CONDITIONS,
}
_PORT: Final = {"name": str, "port": int, "protocol": str, "nodePort": int}
_POLICY_PORTS: Final = _ListOf({"protocol": str, "endPort": int})
_PEERS: Final = _ListOf(
    {
        "podSelector": _SELECTOR,
        "namespaceSelector": _SELECTOR,
        "ipBlock": {"cidr": str, "except": _ListOf(str)},
    }
)
_BINDING: Final = {
    "roleRef": {"apiGroup": str, "kind": str, "name": str},
    "subjects": _ListOf({"kind": str, "name": str, "namespace": str}),
}
_ROLE: Final = {
    "rules": _ListOf({"verbs": _ListOf(str), "apiGroups": _ListOf(str), "resources": _ListOf(str)})
}

_SHAPES: Final[Mapping[str, Mapping[str, object]]] = {
    "Namespace": {"spec": {"finalizers": _ListOf(str)}, "status": {"phase": str}},
    "Service": {
        "spec": {
            "type": str,
            "clusterIP": str,
            "externalName": str,
            "externalIPs": _ListOf(str),
            "sessionAffinity": str,
            "selector": _TEXTS,
            "ports": _ListOf(_PORT),
        },
        "status": {"loadBalancer": {"ingress": _OBJECTS}},
    },
    "Deployment": _WORKLOAD,
    "ReplicaSet": _WORKLOAD,
    "StatefulSet": _WORKLOAD,
    "DaemonSet": _WORKLOAD,
    "Pod": {
        "spec": _POD_SPEC,
        "status": _CONDITIONS | {"phase": str, "containerStatuses": _OBJECTS, "podIP": str},
    },
    "EndpointSlice": {
        "addressType": str,
        "endpoints": _ListOf({"addresses": _ListOf(str), "conditions": _OBJECT, "targetRef": _OBJECT}),
        "ports": _ListOf({"name": str, "port": int, "protocol": str}),
    },
    "Secret": {"type": str, "data": _TEXTS, "stringData": _TEXTS, "immutable": bool},
    "ConfigMap": {"data": _TEXTS, "binaryData": _TEXTS, "immutable": bool},
    "ServiceAccount": {"secrets": _OBJECTS, "imagePullSecrets": _OBJECTS},
    "Event": {
        "involvedObject": {"kind": str, "namespace": str, "name": str},
        "source": {"component": str},
        "series": {"count": int},
        "reason": str,
        "message": str,
        "type": str,
        "count": int,
        "firstTimestamp": str,
        "lastTimestamp": str,
        "eventTime": str,
    },
    "Lease": {
        "spec": {"holderIdentity": str, "leaseDurationSeconds": int, "leaseTransitions": int},
    },
    "PodDisruptionBudget": {"spec": {"selector": _SELECTOR}, "status": _CONDITIONS},
    "NetworkPolicy": {
        "spec": {
            "podSelector": _SELECTOR,
            "policyTypes": _ListOf(str),
            "ingress": _ListOf({"ports": _POLICY_PORTS, "from": _PEERS}),
            "egress": _ListOf({"ports": _POLICY_PORTS, "to": _PEERS}),
        },
    },
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
}

_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number with a fraction",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def check(resource: Resource, doc: Doc) -> None:
    """Raises 400 for the first field with a wrong type."""
    shape = {"metadata": _METADATA, **_SHAPES[resource.kind]}
    problem = next(_problems(doc, shape, ""), None)
    if problem:
        kind, version = resource.kind, resource.version
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {problem}')


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    wanted, given = _type_of(shape), type(value)
    if wanted is not given:
        yield f"{path.removeprefix('.')}: expected {_NAMES[wanted]}, got {_NAMES[given]}"
        return
    match shape:
        case _MapOf(values):
            for key, each in value.items():
                yield from _problems(each, values, f"{path}.{key}")
        case _ListOf(items):
            for index, each in enumerate(value):
                yield from _problems(each, items, f"{path}[{index}]")
        case dict():
            for key in shape.keys() & value.keys():
                yield from _problems(value[key], shape[key], f"{path}.{key}")


def _type_of(shape: Any) -> type:
    """The Python type for JSON of this shape."""
    match shape:
        case _ListOf():
            return list
        case type():
            return shape
        case _:
            return dict
