"""Gateway API: the filter ``RequestMirror`` of an HTTPRoute or GRPCRoute."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
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
    named,
    namespace_of,
    select,
    text,
)

GROUP = "gateway.networking.k8s.io"


def shadows(doc: Doc, docs: Documents) -> Iterator[Shadow | Nothing]:
    """The mirrors of a route."""
    if text(doc, "kind") not in ("HTTPRoute", "GRPCRoute"):
        return
    for number, rule in enumerate(items(doc, "spec", "rules"), 1):
        filters = [*items(rule, "filters")]
        filters += [each for backend in items(rule, "backendRefs") for each in items(backend, "filters")]
        for each in filters:
            if text(each, "type") == "RequestMirror":
                origin = f"{named(doc)}, rule {number}"
                found = _shadow(doc, docs, rule, at(each, "requestMirror"), origin)
                if isinstance(found, Shadow):
                    among_others(found, number, len(items(doc, "spec", "rules")))
                yield found


def _shadow(doc: Doc, docs: Documents, rule: Any, mirror: Any, origin: str) -> Shadow | Nothing:
    namespace = namespace_of(doc)
    backends = items(rule, "backendRefs")
    if len(backends) != 1:
        return Nothing(origin, "its rule has no single backend; a shadow is of one Service")
    kinds = {text(each, "kind") or "Service" for each in (backends[0], at(mirror, "backendRef"))}
    spaces = {text(each, "namespace") or namespace for each in (backends[0], at(mirror, "backendRef"))}
    if kinds != {"Service"} or spaces != {namespace}:
        return Nothing(origin, "a backend that is no Service of the route's namespace")
    target = docs.behind_service(namespace, text(mirror, "backendRef", "name"))
    found = Shadow(origin, namespace, text(backends[0], "name"), target)
    found.hosts = tuple(
        host for host in items(doc, "spec", "hostnames") if isinstance(host, str) and "*" not in host
    )
    _share(found, mirror)
    select(found, [_condition(found, match) for match in items(rule, "matches")])
    return found


def _share(found: Shadow, mirror: Any) -> None:
    if percent := text(mirror, "percent"):
        found.annotations["percent"] = percent
    elif numerator := text(mirror, "fraction", "numerator"):
        try:
            share = Decimal(numerator) * 100 / Decimal(text(mirror, "fraction", "denominator") or "100")
        except (InvalidOperation, ZeroDivisionError):
            found.differs.append(f"the fraction {numerator} of {text(mirror, 'fraction', 'denominator')}")
            return
        found.annotations["percent"] = f"{share.normalize():f}"


def _condition(found: Shadow, match: Any) -> Condition:
    condition = Condition()
    method = at(match, "method")
    if isinstance(method, str):
        condition.method = method
    elif method:  # of gRPC
        service, name = text(method, "service"), text(method, "method")
        if text(method, "type") not in ("", "Exact") or not service:
            found.differs.append("a gRPC method without its service, or by a regular expression")
        else:
            condition.path = f"/{service}/{name}"
    if path := text(match, "path", "value"):
        if text(match, "path", "type") not in ("", "PathPrefix"):
            found.differs.append(f"the path {path}, which is matched exactly or by a regular expression")
        elif path != "/":
            condition.path = path.rstrip("/")
    headers = set()
    for header in items(match, "headers"):
        if text(header, "type") in ("", "Exact"):
            headers.add(f"{text(header, 'name')}={text(header, 'value')}")
        else:
            found.differs.append(f"header {text(header, 'name')}, which is matched by a regular expression")
    condition.headers = frozenset(headers)
    if items(match, "queryParams"):
        found.differs.append("a condition on query parameters")
    return condition
