"""Contour's HTTPProxy."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.originals.answers import (
    NO_BACKEND,
    Answer,
    Asked,
    Doc,
    Target,
    closest,
    documents,
    namespace_of,
    regex,
)

_CHANGES = (
    "pathRewritePolicy",
    "requestHeadersPolicy",
    "authPolicy",
    "rateLimitPolicy",
    "jwtVerificationPolicy",
    "ipAllowPolicy",
    "ipDenyPolicy",
)


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """The closest route below the root of the request's host."""
    proxies = documents(docs, "projectcontour.io", "HTTPProxy")
    roots = {doc["spec"]["virtualhost"]["fqdn"]: doc for doc in proxies if "virtualhost" in doc["spec"]}
    best = closest(asked.host, roots)
    if best is None:
        return [NO_BACKEND]
    root = roots[best]
    found = [
        (_rank(conditions), _routed(route, doc, root))
        for doc, route, conditions in _routes(root, proxies, [])
        if _meets(conditions, asked)
    ]
    return [min(found, key=lambda each: each[0])[1]] if found else [NO_BACKEND]


def _routes(doc: Doc, proxies: Sequence[Doc], above: list[Doc]) -> Iterator[tuple[Doc, Doc, list[Doc]]]:
    for route in doc["spec"].get("routes", []):
        yield doc, route, [*above, *route.get("conditions", [])]
    for include in doc["spec"].get("includes", []):
        wanted = (include.get("namespace", namespace_of(doc)), include["name"])
        for other in proxies:
            if (namespace_of(other), other["metadata"]["name"]) == wanted:
                yield from _routes(other, proxies, [*above, *include.get("conditions", [])])


def _path(conditions: Sequence[Doc]) -> tuple[int, str]:
    """Kind (0 exact, 1 regular expression, 2 prefix) and text, prefixes put together."""
    text = ""
    for each in conditions:
        if "prefix" in each:
            text = text.rstrip("/") + "/" + each["prefix"].lstrip("/")
    for kind, name in enumerate(("exact", "regex")):
        for each in conditions:
            if name in each:
                return kind, text.rstrip("/") + "/" + each[name].lstrip("/") if text else each[name]
    return 2, text or "/"


def _rank(conditions: Sequence[Doc]) -> tuple[int, int, int]:
    kind, text = _path(conditions)
    return kind, -len(text), -sum("header" in each or "queryParameter" in each for each in conditions)


def _meets(conditions: Sequence[Doc], asked: Asked) -> bool:
    kind, text = _path(conditions)
    fits = [asked.path == text, kind == 1 and regex(text, asked.path), asked.path.startswith(text)][kind]
    query = dict(asked.query)
    return (
        fits
        and all(
            _header(each["header"], asked.header(each["header"]["name"]))
            for each in conditions
            if "header" in each
        )
        and all(
            _header(each["queryParameter"], query.get(each["queryParameter"]["name"]))
            for each in conditions
            if "queryParameter" in each
        )
    )


def _header(how: Doc, value: str | None) -> bool:
    if value is None:
        return bool(how.get("notpresent")) or "notexact" in how
    if "contains" in how:
        return how["contains"] in value
    if "regex" in how:
        return regex(how["regex"], value)
    same = {"exact": value == how.get("exact"), "notexact": value != how.get("notexact")}
    return next((same[key] for key in same if key in how), bool(how.get("present")))


def _routed(route: Doc, doc: Doc, root: Doc) -> Answer:
    host = root["spec"]["virtualhost"]
    if "requestRedirectPolicy" in route or "directResponsePolicy" in route:
        return NO_BACKEND
    serving = [each for each in route.get("services", []) if not each.get("mirror")]
    some = any(each.get("weight") for each in serving)
    backends = frozenset(_target(each, doc) for each in serving if not some or each.get("weight"))
    mirrors = {
        _target(each, doc): each.get("weight") or 100 for each in route["services"] if each.get("mirror")
    }
    changed = any(key in route for key in _CHANGES) or any("requestHeadersPolicy" in each for each in serving)
    changed |= any(key in host for key in ("authorization", "corsPolicy", *_CHANGES))
    return Answer(backends, mirrors, changed=changed, guarded="tls" in host)


def _target(service: Doc, doc: Doc) -> Target:
    return Target(namespace_of(doc), service["name"])
