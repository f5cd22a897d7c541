"""Objects as the rows that `kubectl get` prints (meta.k8s.io/v1 Table). Pure; the time is an argument."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from xds_server.embedded.doc import Doc, mapping, metadata
from xds_server.embedded.resources import Resource

_UNKNOWN: Final = "<unknown>"
_NONE: Final = "<none>"
_UNSET: Final = "<unset>"
_MOST_ENDPOINTS: Final = 3
_WIDE: Final = 1


class _Column(NamedTuple):
    """One column. With `priority` above 0 it is for ``-o wide``."""

    name: str
    cell: Callable[[Doc, datetime], Any]
    priority: int = 0
    kind: str = "string"


def table(
    resource: Resource,
    docs: Sequence[Doc],
    *,
    now: datetime,
    include: str,
    version: str,
    continue_: str = "",
    remaining: int | None = None,
) -> Doc:
    """A Table of objects of one kind. `include` says what a row has beside its cells: the "Object", its
    "Metadata", or "None"; `continue_` and `remaining` are of a list that goes on."""
    columns = _columns(resource)
    meta: Doc = {"resourceVersion": version}
    if continue_:
        meta["continue"] = continue_
    if remaining is not None:
        meta["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(columns, doc, include, now) for doc in docs],
    }


def _definition(column: _Column) -> Doc:
    form = "name" if column.name == "Name" else ""
    return {
        "name": column.name,
        "type": column.kind,
        "format": form,
        "description": "",
        "priority": column.priority,
    }


def _row(columns: Sequence[_Column], doc: Doc, include: str, now: datetime) -> Doc:
    row: Doc = {"cells": [column.cell(doc, now) for column in columns]}
    match include:
        case "Object":
            row["object"] = doc
        case "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata(doc),
            }
    return row


def age(stamp: object, now: datetime) -> str:
    """How long ago, as kubectl writes it: ``45s``, ``5m10s``, ``3h``, ``12d``."""
    if not isinstance(stamp, str):
        return _UNKNOWN
    try:
        seconds = int((now - datetime.fromisoformat(stamp)).total_seconds())
    except (ValueError, TypeError):
        return _UNKNOWN
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for below, text in (
        (0, "0s"),
        (120, f"{seconds}s"),
        (600, f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"),
        (3 * 3600, f"{minutes}m"),
        (8 * 3600, f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"),
        (48 * 3600, f"{hours}h"),
        (8 * 86400, f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"),
        (2 * 365 * 86400, f"{days}d"),
    ):
        if seconds < below:
            return text
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if rest and years < 8 else f"{years}y"  # noqa: PLR2004 - kubectl's steps


def _name(doc: Doc, _now: datetime) -> Any:
    return metadata(doc).get("name", "")


def _age(doc: Doc, now: datetime) -> Any:
    return age(metadata(doc).get("creationTimestamp"), now)


def _path(*path: str, default: Any = _NONE) -> Callable[[Doc, datetime], Any]:
    def cell(doc: Doc, _now: datetime) -> Any:
        found = mapping(doc, *path[:-1]).get(path[-1])
        return default if found in (None, "") else found

    return cell


def _count(*path: str) -> Callable[[Doc, datetime], Any]:
    return lambda doc, _now: len(mapping(doc, *path[:-1]).get(path[-1]) or ())


_NAME: Final = _Column("Name", _name)
_AGE: Final = _Column("Age", _age)


def labels_text(selector: object) -> str:
    """A map of labels, or a label selector, in one line."""
    if not isinstance(selector, dict) or not selector:
        return _NONE
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or ():
        key, operator, values = each.get("key"), each.get("operator"), ",".join(each.get("values") or ())
        match operator:
            case "Exists":
                terms.append(f"{key}")
            case "DoesNotExist":
                terms.append(f"!{key}")
            case _:
                terms.append(f"{key} {str(operator).lower()} ({values})")
    return ",".join(terms) or _NONE


def _containers(key: str) -> Callable[[Doc, datetime], Any]:
    def cell(doc: Doc, _now: datetime) -> Any:
        found = mapping(doc, "spec", "template", "spec").get("containers") or ()
        return ",".join(str(each.get(key, "")) for each in found)

    return cell


def _deployment_ready(doc: Doc, _now: datetime) -> Any:
    ready, wanted = mapping(doc, "status").get("readyReplicas", 0), mapping(doc, "spec").get("replicas", 1)
    return f"{ready}/{wanted}"


def _external_ip(doc: Doc, _now: datetime) -> Any:
    spec = mapping(doc, "spec")
    ingress = mapping(doc, "status", "loadBalancer").get("ingress") or ()
    addresses = [each.get("ip") or each.get("hostname") or "" for each in ingress]
    addresses += spec.get("externalIPs") or ()
    match spec.get("type"):
        case "ExternalName":
            return spec.get("externalName", "")
        case "LoadBalancer":
            return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or _NONE


def _service_ports(doc: Doc, _now: datetime) -> Any:
    def text(port: Doc) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(map(text, mapping(doc, "spec").get("ports") or ())) or _NONE


def _pod_ready(doc: Doc, _now: datetime) -> Any:
    statuses = mapping(doc, "status").get("containerStatuses") or ()
    total = len(mapping(doc, "spec").get("containers") or ())
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{total}"


def _pod_status(doc: Doc, _now: datetime) -> Any:
    if metadata(doc).get("deletionTimestamp"):
        return "Terminating"
    status = mapping(doc, "status")
    for each in status.get("containerStatuses") or ():
        state = each.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return reason
    return status.get("reason") or status.get("phase") or "Pending"


def _pod_restarts(doc: Doc, _now: datetime) -> Any:
    return str(
        sum(each.get("restartCount", 0) for each in mapping(doc, "status").get("containerStatuses") or ())
    )


def _pod_gates(doc: Doc, _now: datetime) -> Any:
    gates = mapping(doc, "spec").get("readinessGates") or ()
    true = {
        each.get("type")
        for each in mapping(doc, "status").get("conditions") or ()
        if each.get("status") == "True"
    }
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}" if gates else _NONE


def _slice_ports(doc: Doc, _now: datetime) -> Any:
    ports = doc.get("ports") or ()
    if not ports:
        return _UNSET
    shown = [str(port.get("port", "*")) for port in ports[:_MOST_ENDPOINTS]]
    more = len(ports) - _MOST_ENDPOINTS
    return ",".join(shown) + (f" + {more} more..." if more > 0 else "")


def _slice_endpoints(doc: Doc, _now: datetime) -> Any:
    addresses = [address for each in doc.get("endpoints") or () for address in each.get("addresses") or ()]
    if not addresses:
        return _UNSET
    more = len(addresses) - _MOST_ENDPOINTS
    return ",".join(addresses[:_MOST_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")


def _last_seen(doc: Doc, now: datetime) -> Any:
    stamp = doc.get("lastTimestamp") or doc.get("eventTime") or doc.get("firstTimestamp")
    return age(stamp or metadata(doc).get("creationTimestamp"), now)


def _event_object(doc: Doc, _now: datetime) -> Any:
    about = mapping(doc, "involvedObject")
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(doc: Doc, _now: datetime) -> Any:
    source = mapping(doc, "source")
    parts = (source.get("component") or doc.get("reportingComponent"), source.get("host"))
    return ", ".join(part for part in parts if part)


def _data(doc: Doc, _now: datetime) -> Any:
    return len(doc.get("data") or ()) + len(doc.get("binaryData") or ())


def _budget(key: str) -> Callable[[Doc, datetime], Any]:
    return lambda doc, _now: str(mapping(doc, "spec").get(key, "N/A"))


def _role(doc: Doc, _now: datetime) -> Any:
    return f"{mapping(doc, 'roleRef').get('kind')}/{mapping(doc, 'roleRef').get('name')}"


def _subjects(kind: str) -> Callable[[Doc, datetime], Any]:
    def cell(doc: Doc, _now: datetime) -> Any:
        found = [each for each in doc.get("subjects") or () if each.get("kind") == kind]
        return ", ".join("/".join(filter(None, (each.get("namespace"), each.get("name")))) for each in found)

    return cell


_DATE: Final = _Column(
    "Created At", lambda doc, _now: metadata(doc).get("creationTimestamp", _UNKNOWN), kind="date"
)
_BINDING: Final = (
    _NAME,
    _Column("Role", _role),
    _AGE,
    *(_Column(f"{kind}s", _subjects(kind), _WIDE) for kind in ("User", "Group", "ServiceAccount")),
)

_COLUMNS: Final[dict[str, tuple[_Column, ...]]] = {
    "namespaces": (_NAME, _Column("Status", _path("status", "phase", default="Active")), _AGE),
    "services": (
        _NAME,
        _Column("Type", _path("spec", "type")),
        _Column("Cluster-IP", _path("spec", "clusterIP")),
        _Column("External-IP", _external_ip),
        _Column("Port(s)", _service_ports),
        _AGE,
        _Column("Selector", lambda doc, _now: labels_text(mapping(doc, "spec").get("selector")), _WIDE),
    ),
    "deployments": (
        _NAME,
        _Column("Ready", _deployment_ready),
        _Column("Up-to-date", _path("status", "updatedReplicas", default=0), kind="integer"),
        _Column("Available", _path("status", "availableReplicas", default=0), kind="integer"),
        _AGE,
        _Column("Containers", _containers("name"), _WIDE),
        _Column("Images", _containers("image"), _WIDE),
        _Column("Selector", lambda doc, _now: labels_text(mapping(doc, "spec").get("selector")), _WIDE),
    ),
    "replicasets": (
        _NAME,
        _Column("Desired", _path("spec", "replicas", default=0), kind="integer"),
        _Column("Current", _path("status", "replicas", default=0), kind="integer"),
        _Column("Ready", _path("status", "readyReplicas", default=0), kind="integer"),
        _AGE,
    ),
    "pods": (
        _NAME,
        _Column("Ready", _pod_ready),
        _Column("Status", _pod_status),
        _Column("Restarts", _pod_restarts),
        _AGE,
        _Column("IP", _path("status", "podIP"), _WIDE),
        _Column("Node", _path("spec", "nodeName"), _WIDE),
        _Column("Nominated Node", _path("status", "nominatedNodeName"), _WIDE),
        _Column("Readiness Gates", _pod_gates, _WIDE),
    ),
    "endpointslices": (
        _NAME,
        _Column("AddressType", _path("addressType")),
        _Column("Ports", _slice_ports),
        _Column("Endpoints", _slice_endpoints),
        _AGE,
    ),
    "events": (
        _Column("Last Seen", _last_seen),
        _Column("Type", _path("type", default="")),
        _Column("Reason", _path("reason", default="")),
        _Column("Object", _event_object),
        _Column("Subobject", _path("involvedObject", "fieldPath", default=""), _WIDE),
        _Column("Source", _event_source, _WIDE),
        _Column("Message", lambda doc, _now: str(doc.get("message", "")).strip()),
        _Column("First Seen", lambda doc, now: age(doc.get("firstTimestamp"), now), _WIDE),
        _Column("Count", _path("count", default=1), _WIDE),
        _Column("Name", _name, _WIDE),
    ),
    "secrets": (_NAME, _Column("Type", _path("type")), _Column("Data", _data, kind="integer"), _AGE),
    "configmaps": (_NAME, _Column("Data", _data, kind="integer"), _AGE),
    "serviceaccounts": (_NAME, _Column("Secrets", _count("secrets"), kind="integer"), _AGE),
    "leases": (_NAME, _Column("Holder", _path("spec", "holderIdentity", default="")), _AGE),
    "poddisruptionbudgets": (
        _NAME,
        _Column("Min Available", _budget("minAvailable")),
        _Column("Max Unavailable", _budget("maxUnavailable")),
        _Column("Allowed Disruptions", _path("status", "disruptionsAllowed", default=0), kind="integer"),
        _AGE,
    ),
    "roles": (_NAME, _DATE),
    "clusterroles": (_NAME, _DATE),
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
}


def _columns(resource: Resource) -> tuple[_Column, ...]:
    return _COLUMNS.get(resource.plural, (_NAME, _AGE))
