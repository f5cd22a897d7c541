"""Emissary's Mapping with ``shadow: true``."""

from collections.abc import Iterator

from xds_server.convert.found import (
    Condition,
    Doc,
    Documents,
    Nothing,
    Shadow,
    at,
    labels,
    local,
    named,
    namespace_of,
    select,
    string_prefix,
    text,
)

GROUP = "getambassador.io"


def shadows(doc: Doc, docs: Documents) -> Iterator[Shadow | Nothing]:
    """The shadow of a Mapping, if it is one."""
    if text(doc, "kind") != "Mapping" or at(doc, "spec", "shadow") is not True:
        return
    origin, namespace = named(doc), namespace_of(doc)
    canary = _service(doc, namespace)
    primary = _primary(doc, docs, namespace)
    if canary is None:
        yield Nothing(origin, "its service is none of the cluster")
    elif primary is None:
        yield Nothing(origin, "the Mapping of the same prefix without shadow is not in these documents")
    elif primary[1] != canary[1]:
        yield Nothing(origin, f"a shadow in another namespace ({canary[1]}) than Service {primary[0]}'s")
    else:
        found = Shadow(origin, primary[1], primary[0], docs.behind_service(canary[1], canary[0]))
        _fill(found, doc)
        yield found


def _fill(found: Shadow, doc: Doc) -> None:
    if weight := text(doc, "spec", "weight"):
        found.annotations["percent"] = weight
    host = text(doc, "spec", "hostname") or text(doc, "spec", "host")
    if host and "*" not in host:
        found.hosts = (host,)
    condition = Condition(method=text(doc, "spec", "method") or None)
    prefix = text(doc, "spec", "prefix")
    if at(doc, "spec", "prefix_regex"):
        found.differs.append("a prefix that is a regular expression")
    else:
        condition.path = string_prefix(found, prefix)
    condition.headers = frozenset(
        name if value == "True" else f"{name}={value}"
        for name, value in labels(doc, "spec", "headers").items()
    )
    if at(doc, "spec", "regex_headers"):
        found.differs.append("headers that are matched by regular expressions")
    select(found, [condition])
    rewrite = at(doc, "spec", "rewrite")
    new = "/" if rewrite is None else str(rewrite)
    if new and new != prefix:
        found.annotations["rewrite-path-prefix"] = f"{prefix}={new}"
        found.lost.append(f"the rewrite of {prefix} for the primary: only the copy's path changes here")


def _primary(doc: Doc, docs: Documents, namespace: str) -> tuple[str, str] | None:
    for other in docs.of("Mapping", namespace):
        same = text(other, "spec", "prefix") == text(doc, "spec", "prefix")
        if same and at(other, "spec", "shadow") is not True:
            return _service(other, namespace)
    return None


def _service(doc: Doc, namespace: str) -> tuple[str, str] | None:
    address = text(doc, "spec", "service").removeprefix("http://")
    return local(address.partition(":")[0], namespace) if "/" not in address else None
