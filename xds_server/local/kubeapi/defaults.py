"""The default values that the API server sets, as far as kubectl shows them. Pure.

Nothing is allocated: a Service gets no cluster IP, because there is no network.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Final

from xds_server.local.kubeapi.doc import Doc, mapping, metadata, with_metadata
from xds_server.local.kubeapi.resources import Resource

_RBAC: Final = "rbac.authorization.k8s.io"
_QUARTER: Final = "25%"


def filled(resource: Resource, doc: Doc) -> Doc:
    """`doc` with default values. Values that are set are kept, except that a Secret's `stringData` becomes
    data. The types of the fields that are read here were checked before."""
    fill = _FILL.get(resource.kind)
    return fill(doc) if fill else doc


def _namespace(doc: Doc) -> Doc:
    found = metadata(doc)
    labels = mapping(found, "labels") | {"kubernetes.io/metadata.name": found["name"]}
    spec: Doc = {"finalizers": ["kubernetes"]}
    status: Doc = {"phase": "Active"}
    return with_metadata(doc, labels=labels) | {
        "spec": spec | mapping(doc, "spec"),
        "status": status | mapping(doc, "status"),
    }


def _service(doc: Doc) -> Doc:
    open_fields: Doc = {"type": "ClusterIP", "sessionAffinity": "None"}
    spec = open_fields | mapping(doc, "spec")
    if spec["type"] != "ExternalName":
        spec = {"internalTrafficPolicy": "Cluster"} | spec
    if "ports" in spec:
        spec = spec | {"ports": [_service_port(port) for port in spec["ports"]]}
    return doc | {"spec": spec}


def _service_port(port: Doc) -> Doc:
    target = {"targetPort": port["port"]} if "port" in port else {}
    return {"protocol": "TCP"} | target | port


def _deployment(doc: Doc) -> Doc:
    spec: Doc = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
    spec = spec | mapping(doc, "spec")
    strategy: Doc = {"type": "RollingUpdate"}
    strategy = strategy | mapping(spec, "strategy")
    if strategy["type"] == "RollingUpdate":
        rolling = {"maxUnavailable": _QUARTER, "maxSurge": _QUARTER} | mapping(strategy, "rollingUpdate")
        strategy = strategy | {"rollingUpdate": rolling}
    return doc | {"spec": _with_template(spec | {"strategy": strategy})}


def _replica_set(doc: Doc) -> Doc:
    return doc | {"spec": _with_template({"replicas": 1} | mapping(doc, "spec"))}


def _stateful_set(doc: Doc) -> Doc:
    spec: Doc = {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"}
    spec = spec | mapping(doc, "spec")
    strategy: Doc = {"type": "RollingUpdate"}
    strategy = strategy | mapping(spec, "updateStrategy")
    if strategy["type"] == "RollingUpdate":
        rolling = {"partition": 0} | mapping(strategy, "rollingUpdate")
        strategy = strategy | {"rollingUpdate": rolling}
    return doc | {"spec": _with_template(spec | {"updateStrategy": strategy})}


def _daemon_set(doc: Doc) -> Doc:
    spec: Doc = {"revisionHistoryLimit": 10} | mapping(doc, "spec")
    strategy: Doc = {"type": "RollingUpdate"}
    strategy = strategy | mapping(spec, "updateStrategy")
    if strategy["type"] == "RollingUpdate":
        rolling = {"maxUnavailable": 1, "maxSurge": 0} | mapping(strategy, "rollingUpdate")
        strategy = strategy | {"rollingUpdate": rolling}
    return doc | {"spec": _with_template(spec | {"updateStrategy": strategy})}


def _pod(doc: Doc) -> Doc:
    status = {"phase": "Pending"} | mapping(doc, "status")
    return doc | {"spec": _pod_spec(mapping(doc, "spec")), "status": status}


def _with_template(spec: Doc) -> Doc:
    template = mapping(spec, "template")
    return spec | {"template": template | {"spec": _pod_spec(mapping(template, "spec"))}}


def _pod_spec(spec: Doc) -> Doc:
    open_fields: Doc = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }
    spec = open_fields | spec
    kinds = [name for name in ("initContainers", "containers") if spec.get(name)]
    return spec | {name: [_container(each) for each in spec[name]] for name in kinds}


def _container(container: Doc) -> Doc:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    open_fields: Doc = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
    }
    container = open_fields | container
    if "ports" in container:
        container["ports"] = [{"protocol": "TCP"} | port for port in container["ports"]]
    return container


def _secret(doc: Doc) -> Doc:
    written = mapping(doc, "stringData")
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in written.items()}
    data = mapping(doc, "data") | encoded
    rest = {part: value for part, value in doc.items() if part != "stringData"}
    return {"type": "Opaque"} | rest | ({"data": data} if data else {})


def _endpoint_slice(doc: Doc) -> Doc:
    return doc | {"ports": [{"name": "", "protocol": "TCP"} | port for port in doc.get("ports", ())]}


def _network_policy(doc: Doc) -> Doc:
    spec = mapping(doc, "spec")
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        if direction in spec:
            spec = spec | {direction: [_policy_rule(rule) for rule in spec[direction]]}
    return doc | {"spec": {"policyTypes": types} | spec}


def _policy_rule(rule: Doc) -> Doc:
    if "ports" not in rule:
        return rule
    return rule | {"ports": [{"protocol": "TCP"} | port for port in rule["ports"]]}


def _binding(doc: Doc) -> Doc:
    """The API group of a subject follows from its kind."""
    subjects = [
        ({"apiGroup": _RBAC} | each if each.get("kind") in ("User", "Group") else each)
        for each in doc.get("subjects", ())
    ]
    role = {"apiGroup": _RBAC} | mapping(doc, "roleRef")
    return doc | {"roleRef": role} | ({"subjects": subjects} if subjects else {})


_FILL: Final[Mapping[str, Callable[[Doc], Doc]]] = {
    "Namespace": _namespace,
    "Service": _service,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Pod": _pod,
    "Secret": _secret,
    "EndpointSlice": _endpoint_slice,
    "NetworkPolicy": _network_policy,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}
