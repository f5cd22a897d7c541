"""Emissary's Mapping."""

from collections.abc import Sequence
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

_SAME = (
    *(
        "hostname",
        "host",
        "host_regex",
        "prefix",
        "prefix_regex",
        "prefix_exact",
        "precedence",
        "case_sensitive",
    ),
    *("method", "method_regex", "headers", "regex_headers", "query_parameters", "regex_query_parameters"),
)
_CHANGES = (
    "regex_rewrite",
    "add_request_headers",
    "remove_request_headers",
    "host_rewrite",
    "cors",
    "labels",
)


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """The group of Mappings of the highest precedence that the request meets."""
    groups: dict[str, list[Doc]] = {}
    for doc in documents(docs, "getambassador.io", "Mapping"):
        groups.setdefault(repr({key: doc["spec"].get(key) for key in _SAME}), []).append(doc)
    hosts = {_host(group[0]["spec"]) for group in groups.values()}
    best = closest(asked.host, hosts)
    found = [
        (_rank(group[0]["spec"]), _routed(group))
        for group in groups.values()
        if _host(group[0]["spec"]) == best and _meets(group[0]["spec"], asked)
    ]
    return [min(found, key=lambda each: each[0])[1]] if found else [NO_BACKEND]


def _host(spec: Doc) -> str:
    return str(spec.get("hostname") or spec.get("host") or "*")


def _rank(spec: Doc) -> tuple[int, int, int]:
    conditions = sum(len(spec.get(key, {})) for key in ("headers", "regex_headers", "query_parameters"))
    return -spec.get("precedence", 0), -len(spec["prefix"]), -conditions - ("method" in spec)


def _meets(spec: Doc, asked: Asked) -> bool:
    prefix, path = spec["prefix"], asked.path
    if not spec.get("case_sensitive", True):
        prefix, path = prefix.lower(), path.lower()
    if spec.get("prefix_regex"):
        fits = regex(prefix, path)
    else:
        fits = path == prefix if spec.get("prefix_exact") else path.startswith(prefix)
    method = spec.get("method")
    if method and not (regex(method, asked.method) if spec.get("method_regex") else method == asked.method):
        return False
    query = dict(asked.query)
    return (
        fits
        and all(_value(how, asked.header(name)) for name, how in spec.get("headers", {}).items())
        and all(regex(how, asked.header(name) or "") for name, how in spec.get("regex_headers", {}).items())
        and all(_value(how, query.get(name)) for name, how in spec.get("query_parameters", {}).items())
    )


def _value(how: Any, value: str | None) -> bool:
    return (value is not None) is how if isinstance(how, bool) else value == how


def _routed(group: Sequence[Doc]) -> Answer:
    serving = [doc for doc in group if not doc["spec"].get("shadow")]
    if not serving or any(doc["spec"].get("host_redirect") for doc in serving):
        return NO_BACKEND
    shares = [doc["spec"].get("weight", 100) for doc in serving]
    backends = frozenset(_target(doc) for doc, share in zip(serving, shares, strict=True) if share)
    mirrors: dict[Target, float] = {}
    for doc in group:
        if doc["spec"].get("shadow"):
            target = _target(doc)
            mirrors[target] = max(doc["spec"].get("weight", 100), mirrors.get(target, 0))
    first = serving[0]["spec"]
    new = first.get("rewrite", "/")
    rewritten = not first.get("prefix_regex") and new not in ("", first["prefix"])
    return Answer(
        backends, mirrors, changed=rewritten or any(key in doc["spec"] for doc in group for key in _CHANGES)
    )


def _target(doc: Doc) -> Target:
    address = doc["spec"]["service"].removeprefix("http://")
    if "://" in address or "/" in address:
        return Target(f"outside {address}")
    name, _, rest = address.partition(":")[0].partition(".")
    return Target(rest.removesuffix(".svc.cluster.local") or namespace_of(doc), name)
