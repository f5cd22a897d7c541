"""ingress-nginx: an Ingress with its annotations."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.support.originals.answers import (
    NO_BACKEND,
    Answer,
    Asked,
    Doc,
    Target,
    closest,
    documents,
    namespace_of,
    segment,
)

_PREFIX = "nginx.ingress.kubernetes.io/"
_CHANGES = (
    "rewrite-target", "auth-url", "auth-type", "whitelist-source-range", "limit-rps", "enable-cors",
    "configuration-snippet", "upstream-vhost",
)  # fmt: skip
_TLS = ("ssl-redirect", "force-ssl-redirect", "backend-protocol", "server-alias")


def answers(docs: Sequence[Any], asked: Asked) -> list[Answer]:
    """The closest location of the request's server; where a canary shares it, it may be the canary's, too."""
    ingresses = documents(docs, "networking.k8s.io", "Ingress")
    servers = [rule.get("host") or "*" for doc in ingresses for rule in doc["spec"].get("rules", [])]
    best = closest(asked.host, [*servers, "*"])
    locations = [each for doc in ingresses for each in _locations(doc) if each[0] == best]
    by_regex = any(
        _said(doc, "use-regex") == "true" or _said(doc, "rewrite-target") for _, _, _, _, doc in locations
    )
    found = [each for each in locations if _meets(each[1], each[2], asked.path, by_regex=by_regex)]
    # A canary without a main Ingress for its path is passed over.
    mains = [each for each in found if _said(each[4], "canary") != "true"]
    if not mains:
        return [NO_BACKEND]
    first = min(mains, key=lambda each: _rank(each[1], each[2]))
    same = [each for each in found if each[1:3] == first[1:3]]
    canaries = [each for each in same if _said(each[4], "canary") == "true"]
    return [_answer(backend, first[4]) for _, _, _, backend, _ in [first, *canaries]]


def _locations(doc: Doc) -> list[tuple[str, str, str, Doc, Doc]]:
    found = []
    if "defaultBackend" in doc["spec"]:
        found.append(("*", "/", "ImplementationSpecific", doc["spec"]["defaultBackend"], doc))
    for rule in doc["spec"].get("rules", []):
        for path in rule.get("http", {}).get("paths", []):
            kind = path.get("pathType", "ImplementationSpecific")
            found.append((rule.get("host") or "*", path.get("path", "/"), kind, path["backend"], doc))
    return found


def _rank(path: str, kind: str) -> tuple[bool, int]:
    return kind != "Exact", -len(path)


def _meets(wanted: str, kind: str, path: str, *, by_regex: bool) -> bool:
    if by_regex:
        return re.match(wanted, path, re.IGNORECASE) is not None
    if kind == "Exact":
        return path == wanted
    return segment(wanted, path) if kind == "Prefix" else path.startswith(wanted)


def _answer(backend: Doc, doc: Doc) -> Answer:
    namespace = namespace_of(doc)
    backends = (
        frozenset({Target(namespace, backend["service"]["name"])}) if "service" in backend else frozenset()
    )
    mirrors = {}
    if target := _said(doc, "mirror-target"):
        url = urlsplit(target.partition("$")[0])
        name, _, rest = (url.hostname or "").partition(".")
        where = rest.removesuffix(".svc.cluster.local").removesuffix(".svc") or namespace
        mirrors[Target(where if url.scheme == "http" else f"outside {target}", name)] = 100.0
    changed = any(_said(doc, each) for each in _CHANGES)
    return Answer(
        backends,
        mirrors,
        changed=changed,
        guarded="tls" in doc["spec"] or any(_said(doc, each) for each in _TLS),
    )


def _said(doc: Doc, name: str) -> str:
    return str(doc["metadata"].get("annotations", {}).get(_PREFIX + name, ""))
