"""Parses label and field selectors into predicates on objects. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.errors import StatusError, bad_request
from xds_server.local.kubeapi.resources import (
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
    Resource,
)

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"[-A-Za-z0-9_.]*"
_REQUIREMENT: Final = re.compile(
    rf"""\s*(?:
        !\s*(?P<absent>{_NAME})
      | (?P<one>{_NAME})\s+(?P<set>in|notin)\s*\((?P<values>[-A-Za-z0-9_.,\s]*)\)
      | (?P<key>{_NAME})\s*(?P<sign>==|=|!=)\s*(?P<value>{_VALUE})
      | (?P<present>{_NAME})
    )\s*(?:,(?=.)|$)""",
    re.VERBOSE,
)

_FIELDS: Final[Mapping[Resource, tuple[str, ...]]] = {
    NAMESPACES: ("status.phase",),
    SERVICES: ("spec.clusterIP", "spec.type"),
    REPLICASETS: ("status.replicas",),
    SECRETS: ("type",),
    PODS: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    EVENTS: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}


class _Label(NamedTuple):
    """One requirement on labels. Without `values`, the key must exist, or must not. With values, its value
    must be among them, or must not; in the latter case an object without the key matches too."""

    key: str
    values: frozenset[str] | None
    positive: bool

    def holds(self, labels: Mapping[str, object]) -> bool:
        if self.values is None:
            return (self.key in labels) == self.positive
        return (self.key in labels and labels[self.key] in self.values) == self.positive


class _Field(NamedTuple):
    path: str
    value: str
    positive: bool

    def holds(self, doc: Doc) -> bool:
        return (_field(doc, self.path) == self.value) == self.positive


def parse(resource: Resource, labels: str, fields: str) -> Callable[[Doc], bool] | None:
    """The predicate for `labelSelector` and `fieldSelector`; None if both are empty. Raises 400."""
    on_labels, on_fields = parse_labels(labels), _parse_fields(resource, fields)
    if not on_labels and not on_fields:
        return None

    def matches(doc: Doc) -> bool:
        carried = metadata(doc).get("labels") or {}
        return all(each.holds(carried) for each in on_labels) and all(each.holds(doc) for each in on_fields)

    return matches


def parse_labels(text: str) -> tuple[_Label, ...]:
    """The requirements of a label selector. Raises 400."""
    found: list[_Label] = []
    at = 0
    while at < len(text):
        match = _REQUIREMENT.match(text, at)
        if match is None:
            raise bad_request(f"unable to parse requirement: found {text[at:]!r} in {text!r}")
        found.append(_requirement(match))
        at = match.end()
    return tuple(found)


def _requirement(match: re.Match[str]) -> _Label:
    if match["absent"]:
        return _Label(match["absent"], None, positive=False)
    if match["present"]:
        return _Label(match["present"], None, positive=True)
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return _Label(match["one"], values, positive=match["set"] == "in")
    return _Label(match["key"], frozenset({match["value"]}), positive=match["sign"] != "!=")


def _parse_fields(resource: Resource, text: str) -> tuple[_Field, ...]:
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource, ()))
    found: list[_Field] = []
    for term in filter(None, re.split(r"(?<!\\),", text)):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)((?:[^\\=]|\\.)*)", term)
        if match is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        path, sign, value = match.groups()
        if path not in known:
            raise _unknown_field(resource, path)
        found.append(_Field(path, re.sub(r"\\(.)", r"\1", value), positive=sign != "!="))
    return tuple(found)


def _unknown_field(resource: Resource, path: str) -> StatusError:
    if resource in _FIELDS:
        return bad_request(f"field label not supported: {path}")
    return bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _field(doc: Doc, path: str) -> str:
    """The value of a field as a string; empty if it is not set."""
    if path == "source":  # selects an Event's component, whichever field has it
        return _field(doc, "source.component") or _field(doc, "reportingComponent")
    at: object = doc
    for name in path.split("."):
        at = at.get(name) if isinstance(at, dict) else None
    if isinstance(at, bool):
        return str(at).lower()
    return "" if at is None else str(at)
