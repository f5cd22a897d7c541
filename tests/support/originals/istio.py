"""Istio's VirtualService with DestinationRules, and Flagger's Canary, which writes one."""

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

_CHANGES = ("rewrite", "headers", "fault", "corsPolicy")


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """What each VirtualService for the closest host says, as nobody knows which of them counts."""
    services = documents(docs, "networking.istio.io", "VirtualService")
    services += [_of_canary(each) for each in documents(docs, "flagger.app", "Canary")]
    named = {full(host, doc): doc for doc in services for host in doc["spec"].get("hosts", [])}
    best = closest(asked.host, named)
    found = [
        _answer(doc, docs, asked)
        for doc in services
        if best is not None and best in [full(host, doc) for host in doc["spec"].get("hosts", [])]
    ]
    return found or [NO_BACKEND]


def full(host: str, doc: Doc) -> str:
    """A short name is of the document's namespace (`ResolveShortnameToFQDN`)."""
    return host if "." in host or host == "*" else f"{host}.{namespace_of(doc)}.svc.cluster.local"


def _answer(doc: Doc, docs: Sequence[Any], asked: Asked) -> Answer:
    for route in doc["spec"].get("http", []):
        matches = route.get("match") or [{}]
        if any(_meets(match, asked) for match in matches):
            return _routed(route, doc, docs)
    return NO_BACKEND


def _routed(route: Doc, doc: Doc, docs: Sequence[Any]) -> Answer:
    if any(key in route for key in ("redirect", "directResponse", "delegate")):
        return NO_BACKEND
    routes = route.get("route", [])
    used = [each for each in routes if len(routes) == 1 or each.get("weight", 0) > 0]
    mirrors = {}
    if "mirror" in route:
        share = route.get("mirrorPercentage", {"value": route.get("mirrorPercent", 100)}).get("value", 0)
        mirrors[_target(route["mirror"], doc, docs)] = share
    for each in route.get("mirrors", []):
        mirrors[_target(each["destination"], doc, docs)] = each.get("percentage", {"value": 100}).get(
            "value", 0
        )
    changed = any(key in route for key in _CHANGES) or any("headers" in each for each in routes)
    backends = frozenset(_target(each["destination"], doc, docs) for each in used)
    return Answer(backends, mirrors, changed=changed)


def _target(destination: Doc, doc: Doc, docs: Sequence[Any]) -> Target:
    if "deployment" in destination:
        return Target(namespace_of(doc), deployment=destination["deployment"])
    host = full(destination["host"], doc)
    name, _, rest = host.partition(".")
    namespace = (
        rest.removesuffix(".svc.cluster.local") if rest.endswith(".svc.cluster.local") else f"outside {host}"
    )
    subset, port = destination.get("subset"), destination.get("port", {}).get("number", 0)
    if not subset:
        return Target(namespace, name, port=port)
    for rule in documents(docs, "networking.istio.io", "DestinationRule"):
        if full(rule["spec"]["host"], rule) == host:
            for each in rule["spec"].get("subsets", []):
                if each["name"] == subset:
                    return Target(namespace, name, frozenset(each["labels"].items()))
    return Target(f"no subset {subset}", name)


def _meets(match: Doc, asked: Asked) -> bool:
    if "uri" in match and not _text(match["uri"], asked.path, fold=match.get("ignoreUriCase", False)):
        return False
    if "method" in match and not _text(match["method"], asked.method):
        return False
    if any(not _header(how, asked.header(name)) for name, how in match.get("headers", {}).items()):
        return False
    if any(_header(how, asked.header(name)) for name, how in match.get("withoutHeaders", {}).items()):
        return False
    query = dict(asked.query)
    if any(not _header(how, query.get(name)) for name, how in match.get("queryParams", {}).items()):
        return False
    # Where a request comes from, and by which port, these tests do not know: as if it did not meet it.
    return not match.keys() & {"sourceLabels", "gateways", "port", "sourceNamespace", "scheme", "authority"}


def _header(how: Doc, value: str | None) -> bool:
    return value is not None and (not how or _text(how, value))


def _text(how: Doc, value: str, *, fold: bool = False) -> bool:
    [(kind, wanted)] = how.items()
    if fold:
        value, wanted = value.lower(), wanted.lower()
    if kind == "exact":
        return bool(value == wanted)
    return value.startswith(wanted) if kind == "prefix" else regex(wanted, value)


def _of_canary(canary: Doc) -> Doc:
    """The VirtualService that Flagger writes while it analyses."""
    spec = canary["spec"]
    service = spec.get("service", {})
    name = service.get("name", spec["targetRef"]["name"])
    analysis = spec.get("analysis", {})
    route: dict[str, Any] = {
        key: service[key] for key in ("match", "rewrite", "headers", "corsPolicy") if key in service
    }
    # Its primary Pods are behind the Service of the Canary's name, whatever controls them.
    route["route"] = [{"destination": {"host": name}}]
    if analysis.get("mirror") and spec["targetRef"]["kind"] == "Deployment" and "match" not in analysis:
        route["mirror"] = {"deployment": spec["targetRef"]["name"]}
        route["mirrorPercent"] = analysis.get("mirrorWeight", 100)
    hosts = [*service.get("hosts", []), name]
    return {"metadata": canary["metadata"], "spec": {"hosts": hosts, "http": [route]}}
