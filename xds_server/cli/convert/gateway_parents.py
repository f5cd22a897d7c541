"""Gateway API: the parents of a route, which decide where its hosts are served.

A route serves a host at the listeners of its parents that have the host. Another listener may treat the host
differently, such as with a redirect. A Service of xds-shadow cannot reproduce that, so the host is not added.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents, name_of
from xds_server.cli.convert.fields import Fate, Note, Part, Place
from xds_server.cli.convert.rules import Source, covers

_GROUP: Final = "gateway.networking.k8s.io"
_PARENTS: Final[Place] = ("spec", "parentRefs")


class ParentRef(Part, frozen=True):
    """ParentReference."""

    group: str = _GROUP
    kind: str = "Gateway"
    name: str = ""
    namespace: str = ""
    section_name: str = ""
    port: int | None = None


class Attached(NamedTuple):
    """A route with its parents and hosts."""

    source: Source
    parents: Sequence[ParentRef]
    hosts: Sequence[str]

    def keys(self) -> frozenset[tuple[str, ...]]:
        """Its parents, comparable with those of another route."""
        return frozenset(
            (each.kind, self.parent(each).namespace, each.name, each.section_name, str(each.port))
            for each in self.parents
        )

    def parent(self, ref: ParentRef) -> NamespacedName:
        return NamespacedName(ref.namespace or self.source.name.namespace, ref.name)


def note_parents(routes: Sequence[Attached], docs: Documents) -> None:
    """Note on each route why its hosts, or one of them, are not served as its rules define."""
    listeners: dict[NamespacedName, list[Any]] = {}
    for doc in docs.of(_GROUP, "Gateway"):
        spec = doc.get("spec")
        found = spec.get("listeners") if isinstance(spec, Mapping) else None
        listeners[name_of(doc)] = found if isinstance(found, list) else []
    others: dict[str, list[Attached]] = {}
    for route in routes:
        for host in route.hosts or ("*",):
            others.setdefault(host, []).append(route)
    patterns = [host for host in others if host.startswith("*")]
    keys = {route.source: route.keys() for route in routes}
    for route in routes:
        notes = [*_of_mesh(route), *_not_attached(route, listeners)]
        for host in route.hosts:
            near = {host, *(each for each in patterns if covers(each, host))}
            elsewhere = (
                other
                for each in sorted(near)
                for other in others.get(each, ())
                if keys[other.source] != keys[route.source]
            )
            notes += [
                Note(_PARENTS, Fate.NO_HOSTS, f"{other.source} also has {host}, at other listeners")
                for other in list(elsewhere)[:1]
            ]
        route.source.notes += tuple(dict.fromkeys(notes))


def _of_mesh(route: Attached) -> Iterator[Note]:
    if route.parents and all(each.kind == "Service" for each in route.parents):
        yield Note(_PARENTS, Fate.NO_HOSTS, "a route of a mesh: no gateway serves its hostnames")


def _not_attached(route: Attached, listeners: Mapping[NamespacedName, list[Any]]) -> Iterator[Note]:
    """Notes on hosts that no listener of the route has. Requires all Gateways of the route in the input."""
    if not route.parents or any(route.parent(each) not in listeners for each in route.parents):
        return
    names = [
        name
        for ref in route.parents
        for name in _hostnames(ref, route.source, route.parent(ref), listeners[route.parent(ref)])
    ]
    for number, host in enumerate(route.hosts):
        if not any(name == host or covers(name, host) or covers(host, name) for name in names):
            yield Note(("spec", "hostnames", number), Fate.NO_HOSTS, f"no listener of its Gateway has {host}")


def _hostnames(
    ref: ParentRef, source: Source, gateway: NamespacedName, listeners: Iterable[Any]
) -> Iterator[str]:
    """The hosts of the listeners that a route may be attached to; ``*`` for all."""
    near = source.name.namespace == gateway.namespace
    for each in listeners:
        if (
            isinstance(each, Mapping)
            and (near or _admits_others(each))
            and (not ref.section_name or each.get("name") == ref.section_name)
            and (ref.port is None or each.get("port") == ref.port)
        ):
            yield str(each.get("hostname") or "*").lower()


def _admits_others(listener: Mapping[str, Any]) -> bool:
    """Whether a listener admits routes of other namespaces. Selectors are not evaluated."""
    for step in ("allowedRoutes", "namespaces"):
        found = listener.get(step)
        listener = found if isinstance(found, Mapping) else {}
    return listener.get("from", "Same") not in ("Same", "None")
