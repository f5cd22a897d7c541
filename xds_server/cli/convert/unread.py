"""Documents of a project that are not read: which of those that are read they may decide about.

A policy refuses, limits or changes requests before they are mirrored, so what it is about does not run. Where
TLS ends says on which door a host is served, so a host is left where it is.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from xds_server.cli.convert.documents import Documents, group_of, name_of
from xds_server.cli.convert.fields import Doc, Fate, Note
from xds_server.cli.convert.rules import Routing, Source

_ROOT_NAMESPACES: Final = ("istio-system",)
"""Whose policies hold in every namespace."""

_EVERYWHERE: Final = (
    *("ApisixClusterConfig", "ApisixGlobalRule", "AuthService", "Module", "RateLimitService"),
    "Mesh",
)
"""Kinds that hold in every namespace, whichever theirs is."""

OF_LISTENERS: Final = ("ApisixTls", "Gateway", "Host", "IngressGateway", "TLSContext")
"""Kinds that say where TLS ends, and by what door requests come in."""

_ABOVE_ROUTES: Final = ("Gateway", "GatewayClass", "ListenerSet", "XListenerSet")
"""Targets of policies that hold for routes of any namespace."""


def note_unread(
    routing: Routing, docs: Documents, *, groups: Collection[str], passed: Collection[str]
) -> None:
    """Note with each document of a project which others of its `groups` may decide about it; those of kinds
    that are read, or are `passed`, do not."""
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
    """Whether it is a PeerAuthentication, Istio's, that asks for mutual TLS at no port."""
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
    """By ``targetRefs`` or ``targetSelectors``, if it has any; else by its namespace. Which objects have the
    labels of a selector is not looked up: it may be any of its kind."""
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
    """What these fields list, or are, of the shape that they have."""
    values = [spec.get(key) for key in keys]
    lists = [each if isinstance(each, list) else [each] for each in values]
    return [each for its in lists for each in its if isinstance(each, Mapping)]
