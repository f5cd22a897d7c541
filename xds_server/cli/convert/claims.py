"""Hosts that a document of any other kind names, whoever reads it.

What such a document does with requests for the host is not compared: an Ingress of another controller may
take a path of it. So the host stays where it is, and the document is named.
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
"""Kubernetes' own groups whose objects route no requests, though they may name a host, as an address."""

_ROUTES_OF_CORE: Final = ("Service", "ConfigMap")
"""Of the group without a name: annotations of Services, and files of proxies, may be routes."""


def keep_named_hosts(
    plan: Plan,
    docs: Documents,
    compared: Collection[tuple[str, str]],
    unread: Collection[tuple[str, NamespacedName]],
) -> None:
    """Take from a plan the hosts that other documents name. `compared` are group and kind of those that have
    decided about the plan already, and of those that route nothing; but for the `unread`, by kind and name,
    which are not understood."""
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
    """Empty for core."""
    return group_of(doc) if "/" in str(doc.get("apiVersion", "")) else ""


def _names(doc: Doc, host: str) -> bool:
    """Whether a value in it is the host, or a pattern of hosts that has it; also within a longer text."""
    said = (value for key, value in doc.items() if key not in ("apiVersion", "kind", "status"))
    texts = (text for value in said for text in _texts(value))
    return any(_is_for(each, host) for text in texts for each in _TOKEN.findall(_bare(text)))


def _bare(text: str) -> str:
    """In small letters, and dots of a regular expression as they are matched."""
    return text.lower().replace("\\.", ".")


def _is_for(token: str, host: str) -> bool:
    """A token that begins with a dot, as what is left of ``*.`` or a regular expression, is a pattern."""
    token = token.rstrip(".")
    domain = token.lstrip(".")
    if domain != token and "." in domain:
        return f".{host}".endswith(f".{domain}")
    return token == host


def _texts(value: object) -> Iterator[str]:
    """All texts within a value, keys too, but for what the API server and kubectl keep of the object."""
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
