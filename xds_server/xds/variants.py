"""Adapts a snapshot to how a client can receive virtual hosts.

A route configuration with VHDS has its virtual hosts as separate resources. A delta client is configured to
fetch them (rule 25), so that one changed virtual host is one resource on the wire. State of the world has no
VHDS, and older Envoys reject VHDS over ADS. Such clients get the virtual hosts inlined in the route
configuration, which is then sent as a whole.
"""

from collections.abc import Iterable
from enum import Enum, auto
from functools import cache, cached_property
from hashlib import blake2b
from typing import Final, NamedTuple

from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.base.dns import UNREACHABLE
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
"""The encoded field ``vhds``, to append to the other fields."""

_MOST_OTHERS: Final = 16

_FIRST_RELEASE: Final = (1, 37)
"""Measured: 1.37 accepts VHDS over ADS; 1.36 rejects it ("only 'DELTA_GRPC' is supported as an api_type")."""


class HostsMode(Enum):
    """How a client receives virtual hosts: inlined in the route configuration, or as resources of their
    own."""

    INLINE = auto()
    VHDS = auto()


def hosts_mode_of(node: Node, variant: Variant) -> HostsMode:
    """The mode that the client supports. A client that does not report its Envoy version gets inlined virtual
    hosts."""
    supported = variant is Variant.DELTA and node.release >= _FIRST_RELEASE
    return HostsMode.VHDS if supported else HostsMode.INLINE


class InlinedRoutes(Resource):
    """A route configuration with its virtual hosts inlined. Its body is joined at first use."""

    def __init__(self, routes: Resource, hosts: TypeSnapshot) -> None:
        self.hosts = hosts
        self.key = routes.key
        self.refs = routes.refs
        self.scope = routes.scope
        self.claims = routes.claims
        self.vhds = False
        together = f"{routes.fingerprint:x}+{hosts.fingerprint:x}".encode()
        self.fingerprint = int.from_bytes(blake2b(together, digest_size=8).digest(), "big")
        self.version = Version(f"{self.fingerprint:016x}")
        self._sotw_frame = self._delta_frame = self._host_frame = b""
        self._routes = routes
        self._others: dict[Version, InlinedRoutes] = {}

    @cached_property
    def body(self) -> bytes:  # type: ignore[override]  # made when needed, rather than given
        hosts = self.hosts.everything.resources
        return b"".join([self._routes.body, *[host.host_frame for host in hosts]])

    @property
    def too_large(self) -> bool:
        return False  # cannot be split; bounded by gRPC's limit only

    def with_hosts(self, hosts: TypeSnapshot) -> "InlinedRoutes":
        """The same with other virtual hosts, for a client that rejects some. Only the latest few are kept."""
        return remembered(
            self._others, hosts.version, lambda: InlinedRoutes(self._routes, hosts), most=_MOST_OTHERS
        )


def versions(base: Snapshot) -> dict[TypeUrl, Version]:
    """The version of every type as clients see it. For routes it is the version with inlined virtual hosts;
    delta clients have the virtual hosts' versions instead."""
    return {**base.versions(), **SnapshotAdapter(HostsMode.INLINE).of(base).versions()}


class _Inlined(NamedTuple):
    """All virtual hosts `of` one moment, and those of them that belong to one route configuration."""

    of: TypeSnapshot
    hosts: TypeSnapshot


_NOTHING_INLINED: Final = _Inlined(EMPTY, EMPTY)


class SnapshotAdapter:
    """Adapts the successive snapshots of one view to one mode."""

    def __init__(self, hosts: HostsMode) -> None:
        self._hosts = hosts
        self._base = Snapshot()
        self._routes = EMPTY
        self._inlined: dict[str, _Inlined] = {}

    def of(self, base: Snapshot) -> Snapshot:
        """`base` in this mode. Types that did not change since the last call are the same objects."""
        if not any(routes.vhds for routes in base.of(ROUTE).resources.values()):
            return base
        if self._hosts is HostsMode.VHDS:
            if base.of(ROUTE) is not self._base.of(ROUTE):
                self._replace(_with_vhds(routes) for routes in base.of(ROUTE).resources.values())
            types = {ROUTE: self._routes}
            if not base.of(VIRTUAL_HOST).resources:
                types[VIRTUAL_HOST] = _placeholder_hosts(names=tuple(self._routes.resources))
        else:
            hosts = base.of(VIRTUAL_HOST)
            if base.of(ROUTE) is not self._base.of(ROUTE) or hosts is not self._base.of(VIRTUAL_HOST):
                self._replace(
                    InlinedRoutes(routes, self._hosts_of(routes, base)) if routes.vhds else routes
                    for routes in base.of(ROUTE).resources.values()
                )
            types = {ROUTE: self._routes, VIRTUAL_HOST: EMPTY}
        self._base = base
        return base.with_types(types)

    def _hosts_of(self, routes: Resource, base: Snapshot) -> TypeSnapshot:
        """The virtual hosts of one route configuration, at the cost of what changed. If there is only one
        route configuration, all virtual hosts."""
        hosts = base.of(VIRTUAL_HOST)
        if len(base.of(ROUTE).resources) == 1:
            self._inlined.clear()
            return hosts
        known = self._inlined.get(routes.name, _NOTHING_INLINED)
        changes = hosts.changes_since(known.of)
        own = [host for host in changes.upserts.resources if _belongs(host, routes)]
        found = known.hosts.updated(own, [host.name for host in changes.gone])
        self._inlined[routes.name] = _Inlined(hosts, found)
        return found

    def _replace(self, routes: Iterable[Resource]) -> None:
        found = list(routes)
        names = {each.name for each in found}
        gone = [name for name in self._routes.resources if name not in names]
        self._routes = self._routes.updated(found, gone)
        for name in gone:
            self._inlined.pop(name, None)


@cache
def _placeholder_hosts(names: tuple[str, ...]) -> TypeSnapshot:
    """A virtual host that matches no request, for each of these route configurations. Envoy's listener waits
    for a first virtual host, and an empty response does not count (measured)."""
    keys = [ResourceKey(VIRTUAL_HOST, f"{name}/none") for name in names]
    hosts = [route_components_pb2.VirtualHost(name=key.name, domains=[UNREACHABLE]) for key in keys]
    return TypeSnapshot().updated(
        Resource(key, host.SerializeToString(deterministic=True))
        for key, host in zip(keys, hosts, strict=True)
    )


def _with_vhds(routes: Resource) -> Resource:
    if not routes.vhds:
        return routes
    return Resource(routes.key, routes.body + _VHDS, routes.refs, scope=routes.scope)


def _belongs(host: Resource, routes: Resource) -> bool:
    return host.name.startswith(f"{routes.name}/")
