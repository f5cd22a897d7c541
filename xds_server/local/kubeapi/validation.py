"""The API server's validation of each kind, for the mistakes that users of kubectl make. Pure.

Rules return causes for `errors.invalid` with the server's texts. The documents have passed `shapes` and
`defaults`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from xds_server.local.kubeapi import names
from xds_server.local.kubeapi.doc import Doc, mapping, metadata
from xds_server.local.kubeapi.names import Cause
from xds_server.local.kubeapi.resources import Resource

_PORTS: Final = range(1, 65536)
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_IMMUTABLE: Final = "field is immutable"


def problems(resource: Resource, doc: Doc) -> list[Cause]:
    """Problems of an object, whatever its previous state."""
    found = [*names.labels(doc), *names.annotations(doc), *names.finalizers(doc)]
    rule = _RULES.get(resource.kind)
    return [*found, *rule(doc)] if rule else found


def changes(resource: Resource, before: Doc, after: Doc) -> list[Cause]:
    """Immutable fields that were changed."""
    fixed = _FIXED.get(resource.kind, ())
    found = []
    for path in fixed:
        *to, last = path.split(".")
        now = mapping(after, *to).get(last)
        if now != mapping(before, *to).get(last):
            found.append((path, f"Invalid value: {_shown(now)}: {_IMMUTABLE}"))
    if resource.kind == "Pod" and _fixed_part(before) != _fixed_part(after):
        allowed = "`spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`"
        text = f"Forbidden: pod updates may not change fields other than {allowed}, `spec.tolerations`"
        found.append(("spec", text))
    if before.get("immutable") is True and any(
        before.get(part) != after.get(part) for part in ("data", "binaryData", "immutable")
    ):
        found.append(("data", "Forbidden: field is immutable when `immutable` is set"))
    return found


_FIXED: Final[Mapping[str, Sequence[str]]] = {
    "Deployment": ("spec.selector",),
    "ReplicaSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName"),
    "DaemonSet": ("spec.selector",),
    "EndpointSlice": ("addressType",),
    "Secret": ("type",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
}


def _fixed_part(pod: Doc) -> Doc:
    spec = {
        name: value
        for name, value in mapping(pod, "spec").items()
        if name not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    }
    for name in ("containers", "initContainers"):
        spec[name] = [each | {"image": ""} for each in spec.get(name, ())]
    return spec


# --- one function for each kind ------------------------------------------------------------------------


def _service(doc: Doc) -> Iterator[Cause]:
    spec = mapping(doc, "spec")
    yield from _one_of("spec.type", spec["type"], ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    yield from _one_of("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
    yield from names.labels(doc, "spec.selector")
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        yield "spec.externalName", "Required value"
    ports: list[Doc] = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield "spec.ports", "Required value"
    used: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from _port(path, port)
        if len(ports) > 1 and not port.get("name"):
            yield f"{path}.name", "Required value"
        taken = (port["protocol"], port.get("port", 0))
        if taken in used:
            shown = {"port": taken[1], "protocol": taken[0]}
            yield path, f"Duplicate value: {_shown(shown)}"
        used.add(taken)
    yield from _distinct("spec.ports", ports)


def _port(path: str, port: Doc) -> Iterator[Cause]:
    number = port.get("port", 0)
    if number not in _PORTS:
        yield f"{path}.port", f"Invalid value: {number}: must be between 1 and 65535, inclusive"
    yield from _one_of(f"{path}.protocol", port["protocol"], _PROTOCOLS)
    name = port.get("name")
    if name and (wrong := names.label(name)):
        yield f"{path}.name", f'Invalid value: "{name}": {wrong}'
    yield from _target(f"{path}.targetPort", port.get("targetPort", number))


def _target(path: str, target: Any) -> Iterator[Cause]:
    """A port of a Pod, by number or by name."""
    if isinstance(target, str):
        if not re.fullmatch(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", target):
            text = "must be at most 15 lower case letters, digits and single '-', with at least one letter"
            yield path, f'Invalid value: "{target}": {text}'
    elif target not in _PORTS:
        yield path, f"Invalid value: {target}: must be between 1 and 65535, inclusive"


def _workload(doc: Doc) -> Iterator[Cause]:
    spec = mapping(doc, "spec")
    yield from _not_negative("spec.replicas", spec.get("replicas"))
    labels = mapping(doc, "spec", "template", "metadata", "labels")
    selector = spec.get("selector")
    if selector is None:
        yield "spec.selector", "Required value"
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield "spec.selector", f"Invalid value: {{}}: empty selector is invalid for {doc['kind'].lower()}"
    else:
        yield from names.labels(doc, "spec.selector.matchLabels")
        yield from _expressions("spec.selector.matchExpressions", selector)
        if not selects(selector, labels):
            text = "`selector` does not match template `labels`"
            yield "spec.template.metadata.labels", f"Invalid value: {_shown(labels)}: {text}"
    if doc["kind"] == "Deployment":
        kind = mapping(spec, "strategy").get("type")
        yield from _one_of("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))
    yield from names.labels(doc, "spec.template.metadata.labels")
    yield from _pod_spec("spec.template.spec", mapping(spec, "template", "spec"))


def selects(selector: Doc, labels: Doc) -> bool:
    """Whether the LabelSelector in a kind's `spec.selector` matches labels."""
    exact: Doc = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in exact.items()) and all(
        _expression_holds(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _expression_holds(expression: Doc, labels: Doc) -> bool:
    value, values = labels.get(expression.get("key", "")), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False


def _expressions(path: str, selector: Doc) -> Iterator[Cause]:
    operators = ("In", "NotIn", "Exists", "DoesNotExist")
    for index, each in enumerate(selector.get("matchExpressions") or ()):
        operator = each.get("operator")
        if operator not in operators:
            yield f"{path}[{index}].operator", f'Invalid value: "{operator}": not a valid selector operator'
        elif operator in operators[:2] and not each.get("values"):
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            yield f"{path}[{index}].values", f"Required value: {text}"


def _pod(doc: Doc) -> Iterator[Cause]:
    return _pod_spec("spec", mapping(doc, "spec"))


def _pod_spec(path: str, spec: Doc) -> Iterator[Cause]:
    containers: list[Doc] = spec.get("containers") or []
    if not containers:
        yield f"{path}.containers", "Required value"
    for index, container in enumerate(containers):
        at = f"{path}.containers[{index}]"
        name = container.get("name")
        if not name:
            yield f"{at}.name", "Required value"
        elif wrong := names.label(name):
            yield f"{at}.name", f'Invalid value: "{name}": {wrong}'
        if not container.get("image"):
            yield f"{at}.image", "Required value"
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("containerPort") not in _PORTS:
                given = port.get("containerPort", 0)
                text = f"Invalid value: {given}: must be between 1 and 65535, inclusive"
                yield f"{at}.ports[{number}].containerPort", text
    yield from _distinct(f"{path}.containers", containers)


def _endpoint_slice(doc: Doc) -> Iterator[Cause]:
    if not doc.get("addressType"):
        yield "addressType", "Required value"
    else:
        yield from _one_of("addressType", doc["addressType"], ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(doc.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            yield f"endpoints[{index}].addresses", "Required value: must contain at least 1 address"
    for index, port in enumerate(doc.get("ports") or ()):
        yield from _one_of(f"ports[{index}].protocol", port["protocol"], _PROTOCOLS)
    yield from _distinct("ports", doc.get("ports") or [])


def _secret(doc: Doc) -> Iterator[Cause]:
    yield from _keys("data", mapping(doc, "data"))


def _config_map(doc: Doc) -> Iterator[Cause]:
    yield from _keys("data", mapping(doc, "data"))
    yield from _keys("binaryData", mapping(doc, "binaryData"))


def _keys(path: str, data: Doc) -> Iterator[Cause]:
    for key in data:
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) or key in (".", ".."):
            text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            yield f"{path}[{key}]", f'Invalid value: "{key}": {text}'


def _event(doc: Doc) -> Iterator[Cause]:
    regarding = mapping(doc, "involvedObject").get("namespace", "")
    here = metadata(doc)["namespace"]
    if regarding != here and (regarding or here != "default"):
        text = "does not match event.namespace"
        yield "involvedObject.namespace", f'Invalid value: "{regarding}": {text}'


def _lease(doc: Doc) -> Iterator[Cause]:
    spec = mapping(doc, "spec")
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield "spec.leaseDurationSeconds", f"Invalid value: {duration}: must be greater than 0"
    yield from _not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


def _disruption_budget(doc: Doc) -> Iterator[Cause]:
    spec = mapping(doc, "spec")
    if "minAvailable" in spec and "maxUnavailable" in spec:
        text = "minAvailable and maxUnavailable cannot be both set"
        yield "spec", f"Invalid value: {_shown(spec)}: {text}"


def _network_policy(doc: Doc) -> Iterator[Cause]:
    spec = mapping(doc, "spec")
    for index, each in enumerate(spec.get("policyTypes") or ()):
        yield from _one_of(f"spec.policyTypes[{index}]", each, ("Egress", "Ingress"))
    yield from _expressions("spec.podSelector.matchExpressions", mapping(spec, "podSelector"))
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _policy_port(f"{path}.ports[{number}]", port)
            for number, peer in enumerate(rule.get(side) or ()):
                yield from _peer(f"{path}.{side}[{number}]", peer)


def _policy_port(path: str, port: Doc) -> Iterator[Cause]:
    yield from _one_of(f"{path}.protocol", port["protocol"], _PROTOCOLS)
    if "port" in port:
        yield from _target(f"{path}.port", port["port"])


def _peer(path: str, peer: Doc) -> Iterator[Cause]:
    selectors = [name for name in ("podSelector", "namespaceSelector") if name in peer]
    if "ipBlock" in peer and selectors:
        yield path, "Forbidden: may not specify both ipBlock and another peer"
    elif "ipBlock" not in peer and not selectors:
        yield path, "Required value: must specify a peer"
    for name in selectors:
        yield from _expressions(f"{path}.{name}.matchExpressions", peer[name])


def _role(doc: Doc) -> Iterator[Cause]:
    for index, rule in enumerate(doc.get("rules") or ()):
        if not rule.get("verbs"):
            yield f"rules[{index}].verbs", "Required value: verbs must contain at least one value"


def _binding(doc: Doc) -> Iterator[Cause]:
    role = mapping(doc, "roleRef")
    yield from _one_of("roleRef.kind", role.get("kind", ""), ("ClusterRole", "Role"))
    if not role.get("name"):
        yield "roleRef.name", "Required value"
    for index, subject in enumerate(doc.get("subjects") or ()):
        kind = subject.get("kind", "")
        yield from _one_of(f"subjects[{index}].kind", kind, ("Group", "ServiceAccount", "User"))
        for field in ("name", *(("namespace",) if kind == "ServiceAccount" else ())):
            if not subject.get(field):
                yield f"subjects[{index}].{field}", "Required value"


_RULES: Final[Mapping[str, Callable[[Doc], Iterator[Cause]]]] = {
    "Service": _service,
    "Deployment": _workload,
    "ReplicaSet": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Pod": _pod,
    "EndpointSlice": _endpoint_slice,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "Event": _event,
    "Lease": _lease,
    "PodDisruptionBudget": _disruption_budget,
    "NetworkPolicy": _network_policy,
    "Role": _role,
    "ClusterRole": _role,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}


# --- what several kinds need ---------------------------------------------------------------------------


def _one_of(path: str, value: Any, allowed: Sequence[str]) -> Iterator[Cause]:
    if value not in allowed:
        listed = ", ".join(f'"{each}"' for each in allowed)
        yield path, f"Unsupported value: {_shown(value)}: supported values: {listed}"


def _not_negative(path: str, value: Any) -> Iterator[Cause]:
    if value is not None and value < 0:
        yield path, f"Invalid value: {value}: must be greater than or equal to 0"


def _distinct(path: str, items: Sequence[Doc]) -> Iterator[Cause]:
    """Names must be unique; they are optional."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name")
        if name and name in seen:
            yield f"{path}[{index}].name", f'Duplicate value: "{name}"'
        seen.add(name or "")


def _shown(value: object) -> str:
    """A value as the server prints it: JSON."""
    return msgspec.json.encode(value).decode()
