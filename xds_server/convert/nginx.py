"""ingress-nginx: the annotation ``mirror-target`` of an Ingress."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from xds_server.convert.found import (
    Condition,
    Doc,
    Documents,
    Nothing,
    Shadow,
    items,
    labels,
    local,
    named,
    namespace_of,
    select,
    string_prefix,
    text,
)

GROUP = "networking.k8s.io"
_PREFIX = "nginx.ingress.kubernetes.io/"
_TARGET = f"{_PREFIX}mirror-target"


def shadows(doc: Doc, docs: Documents) -> Iterator[Shadow | Nothing]:
    """The mirrors of an Ingress: one for each Service behind it."""
    annotations = labels(doc, "metadata", "annotations")
    if text(doc, "kind") != "Ingress" or _TARGET not in annotations:
        return
    origin, namespace = named(doc), namespace_of(doc)
    canary = local(_host(annotations[_TARGET]), namespace)
    if canary is None or canary[1] != namespace:
        yield Nothing(
            origin,
            f"mirror-target {annotations[_TARGET]} is no Service of its namespace, where a shadow's"
            " Deployment has to be",
        )
        return
    for service, rules in _backends(doc).items():
        found = Shadow(origin, namespace, service, docs.behind_service(namespace, canary[0]))
        found.hosts = tuple(sorted({host for host, _, _ in rules if host and "*" not in host}))
        select(found, [_condition(found, path, kind) for _, path, kind in rules])
        if annotations.get(f"{_PREFIX}mirror-request-body") == "off":
            found.differs.append("copies without their bodies (mirror-request-body: off)")
        if host := annotations.get(f"{_PREFIX}mirror-host"):
            found.annotations["host"] = host
        yield found


def _host(target: str) -> str:
    """Of a URL that ends in a variable of nginx."""
    try:
        return urlsplit(target.partition("$")[0]).hostname or ""
    except ValueError:
        return ""


def _backends(doc: Doc) -> dict[str, list[tuple[str, str, str]]]:
    """Host, path and type of path of every rule, by the Service that it leads to."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    if default := text(doc, "spec", "defaultBackend", "service", "name"):
        found.setdefault(default, []).append(("", "/", "Prefix"))
    for rule in items(doc, "spec", "rules"):
        for path in items(rule, "http", "paths"):
            if service := text(path, "backend", "service", "name"):
                where = (text(rule, "host"), text(path, "path") or "/", text(path, "pathType"))
                found.setdefault(service, []).append(where)
    return found


def _condition(found: Shadow, path: str, kind: str) -> Condition:
    if kind == "Exact":
        found.differs.append(f"the path {path}, which is matched exactly")
        return Condition()
    if kind == "Prefix":
        return Condition(path=None if path == "/" else path.rstrip("/"))
    return Condition(path=string_prefix(found, path))
