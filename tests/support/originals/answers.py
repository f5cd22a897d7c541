"""A request, and what becomes of it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Doc = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A Service, or of its Pods those with these labels; or a Deployment by name. Port 0: any."""

    namespace: str
    service: str = ""
    labels: frozenset[tuple[str, str]] = frozenset()
    deployment: str = ""
    port: int = 0


@dataclass(frozen=True)
class Asked:
    """A request of a user."""

    host: str
    method: str = "GET"
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name.lower())


@dataclass(frozen=True)
class Answer:
    """`backends`: each may get the request; none: it is rejected, redirected, or answered by the proxy.
    `mirrors`: to whom it is mirrored, with the share in percent. `changed`: what arrives is another request,
    or perhaps none, as it is rewritten, authenticated or limited before. `guarded`: the host is served in a
    way that the fleet's gateway does not have, such as TLS."""

    backends: frozenset[Target] = frozenset()
    mirrors: Mapping[Target, float] = field(default_factory=dict)
    changed: bool = False
    guarded: bool = False


NO_BACKEND = Answer()


def closest(host: str, patterns: Iterable[str]) -> str | None:
    """Of patterns such as ``*.example.com`` the one that is closest to a host."""
    found = [
        each
        for each in patterns
        if each in (host, "*") or (each.startswith("*.") and host.endswith(each[1:]))
    ]
    return min(found, key=lambda each: (each != host, -len(each)), default=None)


def regex(pattern: str, text: str) -> bool:
    """Whether all of a text matches, as Envoy's ``safe_regex`` does."""
    return re.fullmatch(pattern, text) is not None


def segment(prefix: str, path: str) -> bool:
    """Whether a path is a prefix or below it."""
    whole = prefix.rstrip("/")
    return path == whole or path.startswith(whole + "/")


def documents(docs: Iterable[Any], group: str, kind: str) -> list[Doc]:
    """The documents of a kind, the oldest first."""
    found = [
        doc
        for doc in docs
        if isinstance(doc, dict) and doc.get("kind") == kind and str(doc["apiVersion"]).startswith(group)
    ]
    return sorted(found, key=lambda doc: str(doc["metadata"].get("creationTimestamp", "")))


def namespace_of(doc: Doc) -> str:
    return str(doc["metadata"].get("namespace", "default"))
