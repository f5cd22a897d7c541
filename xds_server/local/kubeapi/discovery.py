"""API discovery: versions, groups and resources. Pure.

kubectl prefers the aggregated form, in which one document has all groups. In the older form, each group has
its own.
"""

from collections.abc import Sequence
from typing import Any, Final

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import RESOURCES, Resource, group_versions

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The content type of the aggregated form."""

_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCE_VERBS: Final = ("get", "patch", "update")
_SCALE: Final = {"group": "autoscaling", "version": "v1", "kind": "Scale"}

VERSION: Final[Doc] = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+xds-shadow",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The Kubernetes version that this API reports. kubectl's version-skew warning depends on it."""


def of(group: str, version: str) -> Sequence[Resource]:
    """The resources of a group and version."""
    return [each for each in RESOURCES if (each.group, each.version) == (group, version)]


def core_versions() -> Doc:
    """``/api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Doc:
    """``/apis``."""
    found = [group(name) for name, _ in group_versions()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(name: str) -> Doc | None:
    """``/apis/GROUP``; None if there is no such group."""
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for each, version in group_versions()
        if each == name
    ]
    if not versions:
        return None
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def resource_list(group_name: str, version: str) -> Doc | None:
    """``/api/v1`` and ``/apis/GROUP/VERSION``; None if there is no such group and version."""
    found = of(group_name, version)
    if not found:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": [entry for resource in found for entry in _resource_entries(resource)],
    }


def _resource_entries(resource: Resource) -> list[Doc]:
    common: Doc = {"singularName": "", "namespaced": resource.namespaced, "kind": resource.kind}
    entry = common | {
        "name": resource.plural,
        "singularName": resource.singular,
        "verbs": list(_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    if resource.scale:
        scale = {"name": f"{resource.plural}/scale", "verbs": list(_SUBRESOURCE_VERBS)}
        entries.append(common | _SCALE | scale)
    if resource.status:
        entries.append(common | {"name": f"{resource.plural}/status", "verbs": list(_SUBRESOURCE_VERBS)})
    return entries


def aggregated(*, core: bool) -> Doc:
    """``/api`` (the core group) or ``/apis`` (all others) in the aggregated form."""
    listed = [("", "v1")] if core else group_versions()
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_aggregated_group(name, version) for name, version in listed],
    }


def _aggregated_group(name: str, version: str) -> Doc:
    resources = [_aggregated_resource(each) for each in of(name, version)]
    return {
        "metadata": {"name": name} if name else {},
        "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
    }


def _aggregated_resource(resource: Resource) -> Doc:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(_VERBS),
    }
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    subresources = [
        {"subresource": name, "responseKind": answer, "verbs": list(_SUBRESOURCE_VERBS)}
        for name, answer in (("scale", _SCALE), ("status", kind))
        if (resource.scale if name == "scale" else resource.status)
    ]
    return found | ({"subresources": subresources} if subresources else {})


def document(parts: list[str]) -> Doc | None:
    """The discovery document at a path; None if there is none."""
    match parts:
        case ["apis", name]:
            return group(name)
        case ["api", version]:
            return resource_list("", version)
        case ["apis", name, version]:
            return resource_list(name, version)
        case _:
            return {"version": VERSION, "api": core_versions(), "apis": groups()}.get("/".join(parts))
