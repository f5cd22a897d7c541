"""A snapshot in the form that a client can have it.

An open route configuration leaves its virtual hosts to resources of their own. A delta client is told to
fetch them as such (VHDS, rule 25), so that one changed host is one resource on the wire. VHDS does not exist
in state of the world, and older Envoys refuse it over ADS: there the hosts are put into the route
configuration, and it goes out whole.
"""

from collections.abc import Iterable
from enum import Enum, auto
from functools import cache, cached_property
from hashlib import blake2b
from typing import Final, NamedTuple

from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.base.dns import NOBODYS
from xds_server.base.ids import TypeUrl, Version
from xds_server.base.recent import remembered
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import EMPTY, Snapshot, TypeSnapshot
from xds_server.xds.stream_events import Node, Variant
from xds_server.xds.types import ROUTE, VIRTUAL_HOST

_VHDS: Final = route_pb2.RouteConfiguration(
    vhds=route_pb2.Vhds(
        config_source=config_source_pb2.ConfigSource(
            ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
        )
    )
).SerializeToString(deterministic=True)
"""Field ``vhds``, to be put after the other fields."""

_MOST_OTHERS: Final = 16

_FIRST_RELEASE: Final = (1, 37)
"""Measured: 1.37 takes such routes; 1.36 refuses them ("only 'DELTA_GRPC' is supported as an api_type")."""


class HostsMode(Enum):
    """Where a client has the virtual hosts."""

    INLINE = auto()
    VHDS = auto()


def hosts_mode_of(node: Node, variant: Variant) -> HostsMode:
    """What the client can do; who does not say which Envoy it is gets what all can."""
    apart = variant is Variant.DELTA and node.release >= _FIRST_RELEASE
    return HostsMode.VHDS if apart else HostsMode.INLINE


class InlinedRoutes(Resource):
    """An open route configuration with its virtual hosts in it; joined when it is asked for."""

    def __init__(self, routes: Resource, hosts: TypeSnapshot) -> None:
        self.hosts = hosts
        self.key = routes.key
        self.refs = routes.refs
        self.scope = routes.scope
        self.claims = routes.claims
        self.open = False
        together = f"{routes.fingerprint:x}+{hosts.fingerprint:x}".encode()
        self.fingerprint = int.from_bytes(blake2b(together, digest_size=8).digest(), "big")
        self.version = Version(f"{self.fingerprint:016x}")
        self._routes = routes
        self._others: dict[Version, InlinedRoutes] = {}

    @cached_property
    def body(self) -> bytes:  # type: ignore[override]  # made when needed, rather than given
        hosts = self.hosts.everything.resources
        return b"".join([self._routes.body, *[host.host_frame for host in hosts]])

    @property
    def too_large(self) -> bool:
        return False  # it cannot be split, and is bounded by what gRPC sends

    def with_hosts(self, hosts: TypeSnapshot) -> "InlinedRoutes":
        """The same with other virtual hosts, for who refuses some; only the last few are kept."""
        return remembered(
            self._others, hosts.version, lambda: InlinedRoutes(self._routes, hosts), most=_MOST_OTHERS
        )


def versions(base: Snapshot) -> dict[TypeUrl, Version]:
    """The version of every type, as clients are told it: of routes, what state of the world is; a delta
    client has the virtual hosts instead."""
    return {**base.versions(), **SnapshotAdapter(HostsMode.INLINE).of(base).versions()}


class _Inside(NamedTuple):
    """The virtual hosts `of` a moment, and those of them that one route configuration has."""

    of: TypeSnapshot
    hosts: TypeSnapshot


_NOTHING_INSIDE: Final = _Inside(EMPTY, EMPTY)


class SnapshotAdapter:
    """The latest snapshots of one view in one form."""

    def __init__(self, hosts: HostsMode) -> None:
        self._hosts = hosts
        self._base = Snapshot()
        self._routes = EMPTY
        self._inside: dict[str, _Inside] = {}

    def of(self, base: Snapshot) -> Snapshot:
        """`base` in this form; what did not change since the last is the same object."""
        if not any(routes.open for routes in base.of(ROUTE).resources.values()):
            return base
        if self._hosts is HostsMode.VHDS:
            if base.of(ROUTE) is not self._base.of(ROUTE):
                self._replace(_opened(routes) for routes in base.of(ROUTE).resources.values())
            types = {ROUTE: self._routes}
            if not base.of(VIRTUAL_HOST).resources:
                types[VIRTUAL_HOST] = _no_hosts(names=tuple(self._routes.resources))
        else:
            hosts = base.of(VIRTUAL_HOST)
            if base.of(ROUTE) is not self._base.of(ROUTE) or hosts is not self._base.of(VIRTUAL_HOST):
                self._replace(
                    InlinedRoutes(routes, self._hosts_of(routes, base)) if routes.open else routes
                    for routes in base.of(ROUTE).resources.values()
                )
            types = {ROUTE: self._routes, VIRTUAL_HOST: EMPTY}
        self._base = base
        return base.with_types(types)

    def _hosts_of(self, routes: Resource, base: Snapshot) -> TypeSnapshot:
        """The virtual hosts of one route configuration, at the cost of what changed; all, where there is
        one."""
        hosts = base.of(VIRTUAL_HOST)
        if len(base.of(ROUTE).resources) == 1:
            self._inside.clear()
            return hosts
        known = self._inside.get(routes.name, _NOTHING_INSIDE)
        changes = hosts.changes_since(known.of)
        own = [host for host in changes.upserts.resources if _belongs(host, routes)]
        found = known.hosts.updated(own, [host.name for host in changes.gone])
        self._inside[routes.name] = _Inside(hosts, found)
        return found

    def _replace(self, routes: Iterable[Resource]) -> None:
        found = list(routes)
        names = {each.name for each in found}
        gone = [name for name in self._routes.resources if name not in names]
        self._routes = self._routes.updated(found, gone)
        for name in gone:
            self._inside.pop(name, None)


@cache
def _no_hosts(names: tuple[str, ...]) -> TypeSnapshot:
    """A virtual host that no request has, for each of these route configurations. Measured: Envoy's listener
    waits for a first one, and a response without any does not count."""
    keys = [ResourceKey(VIRTUAL_HOST, f"{name}/none") for name in names]
    hosts = [route_components_pb2.VirtualHost(name=key.name, domains=[NOBODYS]) for key in keys]
    return TypeSnapshot().updated(
        Resource(key, host.SerializeToString(deterministic=True))
        for key, host in zip(keys, hosts, strict=True)
    )


def _opened(routes: Resource) -> Resource:
    if not routes.open:
        return routes
    return Resource(routes.key, routes.body + _VHDS, routes.refs, scope=routes.scope)


def _belongs(host: Resource, routes: Resource) -> bool:
    return host.name.startswith(f"{routes.name}/")
