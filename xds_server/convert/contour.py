"""Contour's HTTPProxy: services of a route with ``mirror: true``."""

from collections.abc import Iterator
from typing import Any

from xds_server.convert.found import (
    Condition,
    Doc,
    Documents,
    Nothing,
    Shadow,
    among_others,
    at,
    items,
    mapping,
    named,
    namespace_of,
    select,
    string_prefix,
    text,
)

GROUP = "projectcontour.io"


def shadows(doc: Doc, docs: Documents) -> Iterator[Shadow | Nothing]:
    """The mirrors of an HTTPProxy."""
    if text(doc, "kind") != "HTTPProxy":
        return
    namespace = namespace_of(doc)
    for number, route in enumerate(items(doc, "spec", "routes"), 1):
        services = items(route, "services")
        primaries = [each for each in services if at(each, "mirror") is not True]
        for each in services:
            if at(each, "mirror") is not True:
                continue
            origin = f"{named(doc)}, route {number}"
            if len(primaries) != 1:
                yield Nothing(origin, "its route has no single Service; a shadow is of one Service")
                continue
            target = docs.behind_service(namespace, text(each, "name"))
            found = Shadow(origin, namespace, text(primaries[0], "name"), target)
            if (weight := text(each, "weight")) and weight != "100":
                found.annotations["percent"] = weight
            if host := text(doc, "spec", "virtualhost", "fqdn"):
                found.hosts = (host,)
            conditions = items(route, "conditions")
            if conditions:
                select(found, [_condition(found, conditions)])
            among_others(found, number, len(items(doc, "spec", "routes")))
            if at(doc, "spec", "virtualhost", "tls"):
                found.lost.append("TLS of the virtual host: the gateway's listener is plain HTTP")
            yield found


def _condition(found: Shadow, conditions: list[Any]) -> Condition:
    """All of a route's conditions have to hold."""
    condition = Condition()
    headers = set()
    for each in conditions:
        if prefix := text(each, "prefix"):
            condition.path = string_prefix(found, prefix)
            continue
        header = mapping(each, "header")
        name = text(header, "name")
        if name and at(header, "present") is True:
            headers.add(name)
        elif name and (value := text(header, "exact")):
            headers.add(f"{name}={value}")
        else:
            found.differs.append(f"a condition on {', '.join(sorted(header or mapping(each)))}")
    condition.headers = frozenset(headers)
    return condition
