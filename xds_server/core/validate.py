"""Validates objects of files by the API server's rules.

It has only the rules whose violation would cause a wrong route, a wrong label or a configuration that Envoy
rejects. msgspec checks the schema and types (`decode`). The rules come from k8s.io/apimachinery
`util/validation` and k8s.io/kubernetes `pkg/apis/{core,apps,discovery}/validation`.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from xds_server.base.address import MAX_PORT
from xds_server.base.dns import LABEL
from xds_server.core.objects import (
    KINDS,
    WORKLOADS,
    EndpointSlice,
    Kind,
    LabelSelector,
    Namespace,
    Object,
    Pod,
    Rollout,
    RolloutSpec,
    Secret,
    Service,
    ServicePort,
    Workload,
    WorkloadRef,
)

_DNS_LABEL = re.compile(LABEL)
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SECRET_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")

_SUBDOMAIN = (_DNS_SUBDOMAIN, "at most 253 of a-z, 0-9, '-' and '.', a letter or digit first and last")
_NAMES: Mapping[type[Object], tuple[re.Pattern[str], str]] = {
    Namespace: (_DNS_LABEL, "at most 63 of a-z, 0-9 and '-', a letter or digit first and last"),
    Service: (_DNS_1035_LABEL, "at most 63 of a-z, 0-9 and '-', a letter first, a letter or digit last"),
    **dict.fromkeys(map(KINDS.__getitem__, WORKLOADS), _SUBDOMAIN),
    EndpointSlice: _SUBDOMAIN,
    Pod: _SUBDOMAIN,
    Secret: _SUBDOMAIN,
}

_PROTOCOLS = ("TCP", "UDP", "SCTP")

_SHOWN = 40
"""Characters of an invalid value that a message repeats."""


def name_mistake(cls: type[Object], name: str, namespace: str) -> str | None:
    """What is wrong with an object's name or namespace, or None."""
    pattern, rule = _NAMES[cls]
    if not pattern.fullmatch(name):
        return f"metadata.name is {_show(name)}, which is not a valid name: use {rule}"
    if namespace and not _DNS_LABEL.fullmatch(namespace):
        return (
            f"metadata.namespace is {_show(namespace)}, which is not a valid name: use {_NAMES[Namespace][1]}"
        )
    return None


def mistakes(obj: Object) -> Iterator[str]:
    """Everything in `obj` that an API server would reject, each as a sentence that begins with the field."""
    yield from _labels("metadata.labels", obj.labels)
    for key in obj.annotations:
        # The API server lowercases annotation keys before it applies the rule for label keys.
        yield from _label_key("metadata.annotations", key.lower())
    match obj:
        case Service():
            yield from _service(obj)
        case Rollout(spec=RolloutSpec(workload_ref=WorkloadRef())):
            yield from _labels("spec.selector.matchLabels", obj.spec.selector.match_labels or {})
        case Workload():
            yield from _selector("spec.selector", obj.spec.selector, obj.kind)
        case EndpointSlice():
            yield from _endpoint_slice(obj)
        case Pod():
            yield from _pod(obj)
        case Secret():
            yield from _secret(obj)
        case Namespace():
            pass


def _secret(secret: Secret) -> Iterator[str]:
    for key, value in (secret.data or {}).items():
        if not _SECRET_KEY.fullmatch(key):
            yield f"data has the key {_show(key)}: use letters, digits, '-', '_' and '.'"
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except ValueError:
            yield f"data[{key!r}] is not base64; write the value as it is under stringData"


def _service(service: Service) -> Iterator[str]:
    yield from _labels("spec.selector", service.spec.selector or {})
    seen: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(service.ports):
        at = f"spec.ports[{index}]"
        yield from _port(f"{at}.port", port.port)
        if port.protocol not in (None, "", *_PROTOCOLS):
            yield f"{at}.protocol is {_show(port.protocol)}: use TCP, UDP or SCTP, in capitals"
        number = (port.protocol or "TCP", port.port)
        if number in numbers:
            yield f"{at}.port repeats {port.port}: each port of a Service needs a number of its own"
        numbers.add(number)
        yield from _service_port_name(at, port, seen, alone=len(service.ports) == 1)
        if isinstance(port.target_port, int):
            yield from _port(f"{at}.targetPort", port.target_port)
        elif port.target_port is not None and not _PORT_NAME.fullmatch(port.target_port):
            target = _show(port.target_port)
            yield f"{at}.targetPort is {target}: use a port number or the name of a container port"


def _service_port_name(at: str, port: ServicePort, seen: set[str], *, alone: bool) -> Iterator[str]:
    if not port.name:
        if not alone:
            yield f"{at}.name is missing: a Service with several ports needs a name for each"
        return
    if not _DNS_LABEL.fullmatch(port.name):
        yield f"{at}.name is {_show(port.name)}, which is not a valid name: use {_NAMES[Namespace][1]}"
    if port.name in seen:
        yield f"{at}.name repeats {_show(port.name)}: each port of a Service needs its own name"
    seen.add(port.name)


def _endpoint_slice(piece: EndpointSlice) -> Iterator[str]:
    for index, port in enumerate(piece.ports or ()):
        if port.port is not None:
            yield from _port(f"ports[{index}].port", port.port)
    if piece.address_type not in {"IPv4", "IPv6", "FQDN"}:
        yield f"addressType is {_show(piece.address_type)}: use IPv4, IPv6 or FQDN"
    else:
        for index, endpoint in enumerate(piece.endpoints or ()):
            for address in endpoint.addresses:
                if not _is_address(piece.address_type, address):
                    wrong = f"{_show(address)}, which is not an {piece.address_type} address"
                    yield f"endpoints[{index}].addresses has {wrong}"


def _pod(pod: Pod) -> Iterator[str]:
    for kind, containers in (
        ("containers", pod.spec.containers or ()),
        ("initContainers", pod.spec.init_containers or ()),
    ):
        for index, container in enumerate(containers):
            for number, port in enumerate(container.ports or ()):
                yield from _port(f"spec.{kind}[{index}].ports[{number}].containerPort", port.container_port)
    for address in (pod.status.pod_ip, *(entry.ip for entry in pod.status.pod_ips or ())):
        if address and not (_is_address("IPv4", address) or _is_address("IPv6", address)):
            yield f"status.podIP is {_show(address)}, which is not an IP address"


def _selector(field: str, selector: LabelSelector, kind: Kind) -> Iterator[str]:
    if not selector.match_labels and not selector.match_expressions:
        yield f"{field} is missing or empty: select the Pods of the {kind} with matchLabels"
    yield from _labels(f"{field}.matchLabels", selector.match_labels or {})
    for index, term in enumerate(selector.match_expressions or ()):
        at = f"{field}.matchExpressions[{index}]"
        yield from _label_key(at, term.key)
        match term.operator:
            case "In" | "NotIn":
                if not term.values:
                    yield f"{at}.values is empty: {term.operator} needs at least one value"
                yield from _label_values(f"{at}.values", ((term.key, value) for value in term.values or ()))
            case "Exists" | "DoesNotExist":
                if term.values:
                    yield f"{at}.values is given: {term.operator} takes none"
            case _:
                yield f"{at}.operator is {_show(term.operator)}: use In, NotIn, Exists or DoesNotExist"


def _labels(field: str, labels: Mapping[str, str]) -> Iterator[str]:
    for key in labels:
        yield from _label_key(field, key)
    yield from _label_values(field, labels.items())


def _label_key(field: str, key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    if not _QUALIFIED.fullmatch(name) or (slash and not _DNS_SUBDOMAIN.fullmatch(prefix)):
        yield (
            f"{field} has the key {_show(key)}, which is not a valid key: use at most 63 letters, digits, "
            "'-', '_' and '.', a letter or digit first and last, optionally after a DNS name and '/'"
        )


def _label_values(field: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for key, value in pairs:
        if value and not _QUALIFIED.fullmatch(value):
            yield (
                f"{field}[{key!r}] is {_show(value)}, which is not a valid label value: use at most 63"
                " letters, digits, '-', '_' and '.', a letter or digit first and last"
            )


def _port(field: str, port: int) -> Iterator[str]:
    if not 1 <= port <= MAX_PORT:
        yield f"{field} is {port}: a port is a number from 1 to {MAX_PORT}"


def _is_address(kind: str, address: str) -> bool:
    if kind == "FQDN":
        return _DNS_SUBDOMAIN.fullmatch(address) is not None
    if "%" in address:  # a zone has a meaning on its own machine only, and Envoy rejects it
        return False
    try:
        _ = IPv4Address(address) if kind == "IPv4" else IPv6Address(address)
    except ValueError:
        return False
    return True


def _show(value: str) -> str:
    if len(value) <= _SHOWN:
        return repr(value)
    return f"{value[:_SHOWN]!r}… ({len(value)} characters)"
