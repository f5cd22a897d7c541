"""Hosts that a document of another kind or project names.

The effect of such a document is not compared: an Ingress of another controller may route a path of the host.
So the host is not added to the Service, and the document is reported.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.base.text import plain
from xds_server.cli.convert.documents import Documents, group_of, name_of
from xds_server.cli.convert.fields import Doc
from xds_server.cli.convert.plans import Plan

_TOKEN: Final = re.compile(r"[a-z0-9.-]+")
_SHOWN: Final = 200

_NO_ROUTES: Final = (
    *("apps", "autoscaling", "batch", "policy", "events.k8s.io", "discovery.k8s.io", "storage.k8s.io"),
    *("rbac.authorization.k8s.io", "apiextensions.k8s.io", "coordination.k8s.io"),
)
"""API groups of Kubernetes whose objects route no requests, although they may contain a host name."""

_ROUTES_OF_CORE: Final = ("Service", "ConfigMap")
"""Kinds of the core group that may define routes: in annotations of Services and in files of proxies."""


def keep_named_hosts(
    plan: Plan,
    docs: Documents,
    compared: Collection[tuple[str, str]],
    unread: Collection[tuple[str, NamespacedName]],
) -> None:
    """Remove the hosts of a plan that other documents name. `compared` are group and kind of documents that
    were compared with the plan or route nothing. `unread` are exceptions, by kind and name: they are
    invalid."""
    others = [
        doc
        for doc in docs.all
        if (str(doc.get("kind")), name_of(doc)) in unread or _may_route(doc, plan, compared)
    ]
    for host in list(plan.hosts):
        named = next((doc for doc in others if _names(doc, host)), None)
        if named is not None:
            plan.hosts.remove(host)
            plan.not_hosts.append(f"{host}: {_called(named)} also names it, and is not compared with it")


def _may_route(doc: Doc, plan: Plan, compared: Collection[tuple[str, str]]) -> bool:
    group, kind = _group(doc), str(doc.get("kind"))
    if group:
        return (group, kind) not in compared and group not in _NO_ROUTES
    return kind in _ROUTES_OF_CORE and (kind, name_of(doc)) != ("Service", plan.service)


def _group(doc: Doc) -> str:
    """The API group; empty for the core group."""
    return group_of(doc) if "/" in str(doc.get("apiVersion", "")) else ""


def _names(doc: Doc, host: str) -> bool:
    """Whether a value is the host, or a host pattern that matches it. It may be a part of a longer text."""
    said = (value for key, value in doc.items() if key not in ("apiVersion", "kind", "status"))
    texts = (text for value in said for text in _texts(value))
    return any(_is_for(each, host) for text in texts for each in _TOKEN.findall(_bare(text)))


def _bare(text: str) -> str:
    """In lowercase, with the escaped dots of regular expressions as dots."""
    return text.lower().replace("\\.", ".")


def _is_for(token: str, host: str) -> bool:
    """A token with a leading dot, the rest of ``*.`` or of a regular expression, is a pattern."""
    token = token.rstrip(".")
    domain = token.lstrip(".")
    if domain != token and "." in domain:
        return f".{host}".endswith(f".{domain}")
    return token == host


def _texts(value: object) -> Iterator[str]:
    """All strings in a value including keys, except those that the API server and kubectl write."""
    match value:
        case str():
            yield value
        case dict():
            for key, each in value.items():
                if key not in ("managedFields", "kubectl.kubernetes.io/last-applied-configuration"):
                    yield str(key)
                    yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)


def _called(doc: Doc) -> str:
    name = name_of(doc)
    return plain(f"{doc.get('kind')} {name.namespace}/{name.name}", _SHOWN)
