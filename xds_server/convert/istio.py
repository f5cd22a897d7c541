"""Istio's VirtualService: ``mirror`` and ``mirrors`` of its HTTP routes."""

from collections.abc import Iterator
from typing import Any

from xds_server.convert.found import (
    Condition,
    Doc,
    Documents,
    Nothing,
    Shadow,
    Target,
    among_others,
    at,
    items,
    labels,
    local,
    mapping,
    named,
    namespace_of,
    select,
    string_prefix,
    text,
)

GROUP = "networking.istio.io"


def shadows(doc: Doc, docs: Documents) -> Iterator[Shadow | Nothing]:
    """The mirrors of a VirtualService."""
    if text(doc, "kind") != "VirtualService":
        return
    for number, route in enumerate(items(doc, "spec", "http"), 1):
        origin = f"{named(doc)}, HTTP route {number}"
        mirrors = [(at(route, "mirror"), _percent(route))] if at(route, "mirror") else []
        mirrors += [
            (at(each, "destination"), text(each, "percentage", "value") or "100")
            for each in items(route, "mirrors")
        ]
        for destination, percent in mirrors:
            found = _shadow(doc, docs, route, destination, origin)
            if isinstance(found, Shadow):
                if percent != "100":
                    found.annotations["percent"] = percent
                among_others(found, number, len(items(doc, "spec", "http")))
            yield found


def _percent(route: Any) -> str:
    for name in ("mirrorPercentage", "mirror_percentage"):
        if at(route, name) is not None:
            return text(route, name, "value") or "0"
    return text(route, "mirrorPercent") or text(route, "mirror_percent") or "100"


def _shadow(doc: Doc, docs: Documents, route: Any, destination: Any, origin: str) -> Shadow | Nothing:
    namespace = namespace_of(doc)
    primaries = {text(each, "destination", "host") for each in items(route, "route")}
    if len(primaries) != 1:
        return Nothing(origin, "its route has no single Service; a shadow is of one Service")
    primary = local(primaries.pop(), namespace)
    canary = local(text(destination, "host"), namespace)
    if primary is None or canary is None:
        return Nothing(origin, "a host that is no Service of the cluster")
    if primary[1] != canary[1]:
        return Nothing(origin, f"a mirror to another namespace ({canary[1]}): a shadow stays in its own")
    target = _target(docs, canary, text(destination, "subset"))
    found = Shadow(origin, primary[1], primary[0], target)
    hosts = [host for host in items(doc, "spec", "hosts") if isinstance(host, str) and host != "*"]
    found.hosts = tuple(host for host in hosts if local(host, namespace) is None)
    select(found, [_condition(found, match) for match in items(route, "match")])
    if text(route, "timeout"):
        found.lost.append(f"timeout {text(route, 'timeout')} of the route: the primary has none here")
    if at(route, "fault"):
        found.lost.append("fault injection")
    found.lost.append(
        '"-shadow" at the end of the Host: add xds-shadow.io/host=shadow-suffix if it is needed'
    )
    return found


def _target(docs: Documents, canary: tuple[str, str], subset: str) -> Target:
    name, namespace = canary
    if not subset:
        return docs.behind_service(namespace, name)
    guess = Target(
        f"{name}-{subset}",
        f"the Deployment of subset {subset} is not in these documents; a guess",
        sure=False,
    )
    for rule in docs.of("DestinationRule", namespace):
        if local(text(rule, "spec", "host"), namespace) == canary:
            for each in items(rule, "spec", "subsets"):
                if text(each, "name") == subset:
                    return docs.behind_labels(namespace, labels(each, "labels"), guess)
    return guess


def _condition(found: Shadow, match: Any) -> Condition:
    condition = Condition()
    uri = mapping(match, "uri")
    if prefix := text(uri, "prefix"):
        condition.path = string_prefix(found, prefix)
    elif uri:
        found.differs.append("a path that is matched exactly or by a regular expression")
    method = mapping(match, "method")
    if exact := text(method, "exact"):
        condition.method = exact
    elif method:
        found.differs.append("a method that is not matched exactly")
    headers = set()
    for name, how in mapping(match, "headers").items():
        if value := text(how, "exact"):
            headers.add(f"{name}={value}")
        elif not how:
            headers.add(name)
        else:
            found.differs.append(f"header {name}, which is not matched exactly")
    condition.headers = frozenset(headers)
    known = {"uri", "method", "headers", "name", "ignoreUriCase"}
    for other in sorted(mapping(match).keys() - known):
        found.differs.append(f"a condition on {other}")
    return condition
