"""Documents of a project that are not read, and the documents that they may affect.

A policy rejects, limits or changes requests before they are mirrored, so the mirrors that it affects do not
run. TLS settings decide on which listener a host is served, so the host is not added to a Service.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from xds_server.cli.convert.documents import Documents, group_of, name_of
from xds_server.cli.convert.fields import Doc, Fate, Note
from xds_server.cli.convert.rules import Routing, Source

_ROOT_NAMESPACES: Final = ("istio-system",)
"""The namespace whose policies apply to all namespaces."""

_EVERYWHERE: Final = (
    *("ApisixClusterConfig", "ApisixGlobalRule", "AuthService", "Module", "RateLimitService"),
    "Mesh",
)
"""Kinds that apply to all namespaces."""

OF_LISTENERS: Final = ("ApisixTls", "Gateway", "Host", "IngressGateway", "TLSContext")
"""Kinds that configure TLS and listeners."""

_ABOVE_ROUTES: Final = ("Gateway", "GatewayClass", "ListenerSet", "XListenerSet")
"""Targets of policies that apply to routes of all namespaces."""


def note_unread(
    routing: Routing, docs: Documents, *, groups: Collection[str], passed: Collection[str]
) -> None:
    """Note on each document of a project which others of its `groups` may affect it. Kinds that are read or
    `passed` do not."""
    for doc in docs.all:
        kind = str(doc.get("kind"))
        if group_of(doc) not in groups or kind in passed or _admits_plain_text(doc):
            continue
        unread = Source(routing.project, kind, name_of(doc))
        for source in routing.sources:
            source.notes += tuple(_notes(doc, unread, source))


def _notes(doc: Doc, unread: Source, source: Source) -> Iterator[Note]:
    if unread.kind in OF_LISTENERS:
        if _has_tls(doc) or unread.kind != "Gateway":
            yield Note((), Fate.NO_HOSTS, f"{unread} is not read: it configures TLS")
    elif _decides(doc, unread, source):
        strict = unread.kind == "PeerAuthentication"
        why = (
            "has mode STRICT: xds-shadow connects in plain text"
            if strict
            else "is not read, and may affect it"
        )
        yield Note((), Fate.STOPS, f"{unread} {why}")


def _admits_plain_text(doc: Doc) -> bool:
    """Whether it is a PeerAuthentication of Istio that requires mutual TLS at no port."""
    return doc.get("kind") == "PeerAuthentication" and not _has_value(doc.get("spec"), "STRICT")


def _has_value(value: object, wanted: str) -> bool:
    if isinstance(value, Mapping):
        return any(_has_value(each, wanted) for each in value.values())
    return value == wanted


def _has_tls(value: object) -> bool:
    match value:
        case Mapping():
            return "tls" in value or any(map(_has_tls, value.values()))
        case list():
            return any(map(_has_tls, value))
        case _:
            return False


def _decides(doc: Doc, unread: Source, source: Source) -> bool:
    """Whether a policy may affect a document: by ``targetRefs`` or ``targetSelectors``, else by its
    namespace. The labels of selectors are not evaluated: they may select any object of their kind."""
    spec = doc.get("spec")
    found = spec if isinstance(spec, Mapping) else {}
    named = [(each.get("kind"), each.get("name")) for each in _targets(found, "targetRefs", "targetRef")]
    named += [(each.get("kind"), None) for each in _targets(found, "targetSelectors")]
    if unread.kind in _EVERYWHERE or (not named and unread.name.namespace in _ROOT_NAMESPACES):
        return True
    if any(kind in _ABOVE_ROUTES for kind, _ in named):
        return True
    here = unread.name.namespace == source.name.namespace
    return here and (not named or any((source.kind, its) in named for its in (source.name.name, None)))


def _targets(spec: Mapping[str, object], *keys: str) -> list[Mapping[str, object]]:
    """The items of these fields, which are lists or single values."""
    values = [spec.get(key) for key in keys]
    lists = [each if isinstance(each, list) else [each] for each in values]
    return [each for its in lists for each in its if isinstance(each, Mapping)]
