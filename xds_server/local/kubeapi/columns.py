"""The columns that `kubectl get` shows for each kind. They are those of the API server's printers
(`pkg/printers/internalversion`), as far as objects without a running cluster have values for them.

A missing part, or one of another type than expected, is shown as empty, so that one odd object does not make
a list fail.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NamedTuple

from xds_server.local.kubeapi.doc import Doc, mapping, metadata
from xds_server.local.kubeapi.resources import Resource

Cell = Callable[[Doc, datetime], str | int]

_UNKNOWN: Final = "<unknown>"
_NONE: Final = "<none>"
_UNSET: Final = "<unset>"
_MOST_LISTED: Final = 3
_WIDE: Final = 1


class Column(NamedTuple):
    """One column. Columns with a `priority` above 0 are shown with ``-o wide`` only."""

    name: str
    cell: Cell
    priority: int = 0
    kind: str = "string"


def columns(resource: Resource) -> tuple[Column, ...]:
    """The columns of each kind, in order."""
    return _COLUMNS[resource.plural]


# --- parts of objects ----------------------------------------------------------------------------------


def _items(doc: Doc, *path: str) -> list[Doc]:
    """The objects in the list at `path`."""
    found = mapping(doc, *path[:-1]).get(path[-1])
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _texts(doc: Doc, *path: str) -> list[str]:
    """The strings in the list at `path`."""
    found = mapping(doc, *path[:-1]).get(path[-1])
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _number(doc: Doc, *path: str, default: int = 0) -> int:
    found = mapping(doc, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) else default


def _text(doc: Doc, *path: str) -> str:
    """The value at `path`; empty if it does not fit into a cell."""
    found = mapping(doc, *path[:-1]).get(path[-1])
    return str(found) if isinstance(found, str | int) else ""


def _joined(parts: Iterable[str], by: str = ",") -> str:
    return by.join(part for part in parts if part)


def _shortened(parts: list[str]) -> str:
    if not parts:
        return _UNSET
    more = len(parts) - _MOST_LISTED
    return ",".join(parts[:_MOST_LISTED]) + (f" + {more} more..." if more > 0 else "")


# --- cells of many kinds -------------------------------------------------------------------------------


def age(stamp: object, now: datetime) -> str:
    """An age as kubectl writes it: ``45s``, ``5m10s``, ``3h``, ``12d``."""
    try:
        seconds = int((now - datetime.fromisoformat(str(stamp))).total_seconds())
    except (ValueError, TypeError):
        return _UNKNOWN
    if seconds < 0:
        return "0s" if seconds == -1 else "<invalid>"  # clocks may differ slightly
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for below, value, unit, rest, unit_of_rest in (
        (120, seconds, "s", 0, ""),
        (600, minutes, "m", seconds % 60, "s"),
        (3 * 3600, minutes, "m", 0, ""),
        (8 * 3600, hours, "h", minutes % 60, "m"),
        (48 * 3600, hours, "h", 0, ""),
        (8 * 86400, days, "d", hours % 24, "h"),
        (2 * 365 * 86400, days, "d", 0, ""),
        (8 * 365 * 86400, days // 365, "y", days % 365, "d"),
    ):
        if seconds < below:
            return f"{value}{unit}{rest}{unit_of_rest}" if rest else f"{value}{unit}"
    return f"{days // 365}y"


def _at(*path: str, default: str = _NONE) -> Cell:
    return lambda doc, _now: _text(doc, *path) or default


def _count(*path: str) -> Cell:
    return lambda doc, _now: _number(doc, *path)


def _selector(field: str = "selector") -> Cell:
    return lambda doc, _now: _selection(mapping(doc, "spec", field)) or _NONE


def _selection(selector: Doc) -> str:
    """A map of labels, or a label selector."""
    exact = (
        mapping(selector, "matchLabels")
        if {"matchLabels", "matchExpressions"} & selector.keys()
        else selector
    )
    terms = [f"{key}={value}" for key, value in sorted(exact.items())]
    return _joined([*terms, *map(_expression, _items(selector, "matchExpressions"))])


def _expression(each: Doc) -> str:
    key, operator = _text(each, "key"), _text(each, "operator")
    match operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
    return f"{key} {operator.lower()} ({','.join(_texts(each, 'values'))})"


def _containers(field: str) -> Cell:
    return lambda doc, _now: ",".join(
        _text(each, field) for each in _items(doc, "spec", "template", "spec", "containers")
    )


_NAME: Final = Column("Name", _at("metadata", "name", default=""))
_AGE: Final = Column("Age", lambda doc, now: age(metadata(doc).get("creationTimestamp"), now))
_TEMPLATE: Final = (
    Column("Containers", _containers("name"), _WIDE),
    Column("Images", _containers("image"), _WIDE),
    Column("Selector", _selector(), _WIDE),
)


# --- Services and EndpointSlices -----------------------------------------------------------------------


def _external_ip(doc: Doc, _now: datetime) -> str:
    kind = _text(doc, "spec", "type")
    if kind == "ExternalName":
        return _text(doc, "spec", "externalName")
    ingress = _items(doc, "status", "loadBalancer", "ingress")
    addresses = [_text(each, "ip") or _text(each, "hostname") for each in ingress]
    return _joined([*addresses, *_texts(doc, "spec", "externalIPs")]) or (
        "<pending>" if kind == "LoadBalancer" else _NONE
    )


def _service_ports(doc: Doc, _now: datetime) -> str:
    def text(port: Doc) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return _joined(map(text, _items(doc, "spec", "ports"))) or _NONE


def _slice_ports(doc: Doc, _now: datetime) -> str:
    return _shortened([_text(port, "port") or "*" for port in _items(doc, "ports")])


def _slice_endpoints(doc: Doc, _now: datetime) -> str:
    return _shortened([each for item in _items(doc, "endpoints") for each in _texts(item, "addresses")])


# --- Pods ----------------------------------------------------------------------------------------------


def _statuses(doc: Doc) -> list[Doc]:
    return _items(doc, "status", "containerStatuses")


def _pod_ready(doc: Doc, _now: datetime) -> str:
    ready = sum(each.get("ready") is True for each in _statuses(doc))
    return f"{ready}/{len(_items(doc, 'spec', 'containers'))}"


def _pod_status(doc: Doc, _now: datetime) -> str:
    if metadata(doc).get("deletionTimestamp"):
        return "Terminating"
    states = [mapping(each, "state", name) for each in _statuses(doc) for name in ("waiting", "terminated")]
    reasons = [_text(state, "reason") for state in states if state.get("reason")]
    found = [*reasons, _text(doc, "status", "reason"), _text(doc, "status", "phase"), _UNKNOWN]
    return next(filter(None, found))


def _pod_restarts(doc: Doc, _now: datetime) -> str:
    return str(sum(_number(each, "restartCount") for each in _statuses(doc)))


def _pod_gates(doc: Doc, _now: datetime) -> str:
    gates = [_text(each, "conditionType") for each in _items(doc, "spec", "readinessGates")]
    conditions = _items(doc, "status", "conditions")
    passed = {_text(each, "type") for each in conditions if each.get("status") == "True"}
    return f"{sum(gate in passed for gate in gates)}/{len(gates)}" if gates else _NONE


# --- Events, Secrets, budgets, bindings ----------------------------------------------------------------


def _last_seen(doc: Doc, now: datetime) -> str:
    stamps = (
        _text(doc, "series", "lastObservedTime"),
        _text(doc, "lastTimestamp"),
        _text(doc, "eventTime"),
        _text(doc, "firstTimestamp"),
    )
    return age(next(filter(None, stamps), ""), now)


def _event_count(doc: Doc, _now: datetime) -> int:
    return _number(doc, "series", "count") or _number(doc, "count", default=1)


def _event_object(doc: Doc, _now: datetime) -> str:
    return f"{_text(doc, 'involvedObject', 'kind').lower()}/{_text(doc, 'involvedObject', 'name')}"


def _event_source(doc: Doc, _now: datetime) -> str:
    component = _text(doc, "source", "component") or _text(doc, "reportingComponent")
    return _joined((component, _text(doc, "source", "host")), ", ")


def _entries(doc: Doc, _now: datetime) -> int:
    """The number of data entries, never their content."""
    return len(mapping(doc, "data")) + len(mapping(doc, "binaryData"))


def _role(doc: Doc, _now: datetime) -> str:
    return f"{_text(doc, 'roleRef', 'kind')}/{_text(doc, 'roleRef', 'name')}"


def _subjects(kind: str) -> Cell:
    def cell(doc: Doc, _now: datetime) -> str:
        found = [each for each in _items(doc, "subjects") if each.get("kind") == kind]
        return ", ".join(_joined((_text(each, "namespace"), _text(each, "name")), "/") for each in found)

    return cell


_ROLE: Final = (
    _NAME,
    Column("Created At", _at("metadata", "creationTimestamp", default=_UNKNOWN), kind="date"),
)
_BINDING: Final = (
    _NAME,
    Column("Role", _role),
    _AGE,
    *(Column(f"{kind}s", _subjects(kind), _WIDE) for kind in ("User", "Group", "ServiceAccount")),
)

_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "namespaces": (_NAME, Column("Status", _at("status", "phase", default="")), _AGE),
    "services": (
        _NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("External-IP", _external_ip),
        Column("Port(s)", _service_ports),
        _AGE,
        Column("Selector", _selector(), _WIDE),
    ),
    "deployments": (
        _NAME,
        Column(
            "Ready",
            lambda doc, _now: f"{_number(doc, 'status', 'readyReplicas')}/{_number(doc, 'spec', 'replicas')}",
        ),
        Column("Up-to-date", _count("status", "updatedReplicas"), kind="integer"),
        Column("Available", _count("status", "availableReplicas"), kind="integer"),
        _AGE,
        *_TEMPLATE,
    ),
    "replicasets": (
        _NAME,
        Column("Desired", _count("spec", "replicas"), kind="integer"),
        Column("Current", _count("status", "replicas"), kind="integer"),
        Column("Ready", _count("status", "readyReplicas"), kind="integer"),
        _AGE,
        *_TEMPLATE,
    ),
    "statefulsets": (
        _NAME,
        Column(
            "Ready",
            lambda doc, _now: f"{_number(doc, 'status', 'readyReplicas')}/{_number(doc, 'spec', 'replicas')}",
        ),
        _AGE,
        *_TEMPLATE,
    ),
    "daemonsets": (
        _NAME,
        Column("Desired", _count("status", "desiredNumberScheduled"), kind="integer"),
        Column("Current", _count("status", "currentNumberScheduled"), kind="integer"),
        Column("Ready", _count("status", "numberReady"), kind="integer"),
        _AGE,
        *_TEMPLATE,
    ),
    "pods": (
        _NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        _AGE,
        Column("IP", _at("status", "podIP"), _WIDE),
        Column("Node", _at("spec", "nodeName"), _WIDE),
        Column("Nominated Node", _at("status", "nominatedNodeName"), _WIDE),
        Column("Readiness Gates", _pod_gates, _WIDE),
    ),
    "endpointslices": (
        _NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        _AGE,
    ),
    "events": (
        Column("Last Seen", _last_seen),
        Column("Type", _at("type", default="")),
        Column("Reason", _at("reason", default="")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject", "fieldPath", default=""), _WIDE),
        Column("Source", _event_source, _WIDE),
        Column("Message", lambda doc, _now: _text(doc, "message").strip()),
        Column("First Seen", lambda doc, now: age(doc.get("firstTimestamp"), now), _WIDE),
        Column("Count", _event_count, _WIDE, "integer"),
        _NAME._replace(priority=_WIDE),
    ),
    "secrets": (_NAME, Column("Type", _at("type")), Column("Data", _entries, kind="integer"), _AGE),
    "configmaps": (_NAME, Column("Data", _entries, kind="integer"), _AGE),
    "serviceaccounts": (
        _NAME,
        Column("Secrets", lambda doc, _now: len(_items(doc, "secrets")), kind="integer"),
        _AGE,
    ),
    "leases": (_NAME, Column("Holder", _at("spec", "holderIdentity", default="")), _AGE),
    "poddisruptionbudgets": (
        _NAME,
        Column("Min Available", _at("spec", "minAvailable", default="N/A")),
        Column("Max Unavailable", _at("spec", "maxUnavailable", default="N/A")),
        Column("Allowed Disruptions", _count("status", "disruptionsAllowed"), kind="integer"),
        _AGE,
    ),
    "networkpolicies": (_NAME, Column("Pod-Selector", _selector("podSelector")), _AGE),
    "roles": _ROLE,
    "clusterroles": _ROLE,
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
}
