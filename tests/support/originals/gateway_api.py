"""Gateway API's HTTPRoute and GRPCRoute."""

from collections.abc import Sequence
from typing import Any

from tests.support.originals.answers import (
    NO_BACKEND,
    Answer,
    Asked,
    Doc,
    Target,
    documents,
    namespace_of,
    regex,
    segment,
)

_GROUP = "gateway.networking.k8s.io"
_CHANGES = ("requestHeaderModifier", "urlRewrite", "extensionRef", "cors", "externalAuth")


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """The match of the highest precedence, of all routes whose hostnames admit the request."""
    found = []
    for doc in [*documents(docs, _GROUP, "HTTPRoute"), *documents(docs, _GROUP, "GRPCRoute")]:
        for host in doc["spec"].get("hostnames") or ["*"]:
            if not _admits(host, asked.host):
                continue
            for rule in doc["spec"].get("rules", []):
                for match in rule.get("matches") or [{}]:
                    found += [(_rank(host, match), _routed(rule, doc))] if _meets(match, asked) else []
    found.sort(key=lambda each: each[0])
    return [found[0][1]] if found else [NO_BACKEND]


def _admits(pattern: str, host: str) -> bool:
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _rank(host: str, match: Doc) -> tuple[Any, ...]:
    path = match.get("path", {})
    value = path.get("value", "/")
    exact = path.get("type") == "Exact"
    method = match.get("method")
    if isinstance(method, dict):
        value, exact, method = (
            f"/{method.get('service', '')}/{method.get('method', '')}",
            "method" in method,
            None,
        )
    return (
        host.startswith("*"),
        -len(host),
        not exact,
        -len(value),
        method is None,
        -len(match.get("headers", [])),
        -len(match.get("queryParams", [])),
    )


def _meets(match: Doc, asked: Asked) -> bool:
    path = match.get("path", {})
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "PathPrefix" and not segment(value, asked.path):
        return False
    if kind == "Exact" and asked.path != value:
        return False
    if kind == "RegularExpression" and not regex(value, asked.path):
        return False
    if not _meets_method(match.get("method"), asked):
        return False
    query = dict(asked.query)
    return all(_value(each, asked.header(each["name"])) for each in match.get("headers", [])) and all(
        _value(each, query.get(each["name"])) for each in match.get("queryParams", [])
    )


def _meets_method(method: Any, asked: Asked) -> bool:
    if not isinstance(method, dict):
        return method in (None, asked.method)
    service, _, name = asked.path.removeprefix("/").partition("/")
    if method.get("type", "Exact") == "Exact":
        return bool(method.get("service", service) == service and method.get("method", name) == name)
    return regex(method.get("service", ".*"), service) and regex(method.get("method", ".*"), name)


def _value(each: Doc, value: str | None) -> bool:
    if value is None:
        return False
    return (
        bool(value == each["value"]) if each.get("type", "Exact") == "Exact" else regex(each["value"], value)
    )


def _routed(rule: Doc, doc: Doc) -> Answer:
    filters = list(rule.get("filters", []))
    filters += [each for backend in rule.get("backendRefs", []) for each in backend.get("filters", [])]
    if any("requestRedirect" in each for each in filters):
        return NO_BACKEND
    mirrors = {
        _target(each["requestMirror"]["backendRef"], doc): _share(each["requestMirror"])
        for each in filters
        if "requestMirror" in each
    }
    backends = frozenset(
        _target(each, doc) for each in rule.get("backendRefs", []) if each.get("weight", 1) > 0
    )
    return Answer(backends, mirrors, changed=any(key in each for each in filters for key in _CHANGES))


def _share(mirror: Doc) -> float:
    if "fraction" in mirror:
        return float(
            100 * mirror["fraction"]["numerator"] / (mirror["fraction"].get("denominator", 100) or 1)
        )
    return float(mirror.get("percent", 100))


def _target(ref: Doc, doc: Doc) -> Target:
    if ref.get("kind", "Service") != "Service":
        return Target(f"no Service: {ref['kind']}", ref["name"])
    return Target(ref.get("namespace", namespace_of(doc)), ref["name"])
