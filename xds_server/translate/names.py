"""All generated names. A name identifies a thing and never its position in a list, so a change of one thing
renames no other. A port is identified by its name, not its number, so a Service that is renumbered keeps its
virtual host and its clusters."""

import re
from collections.abc import Iterable
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core import plan
from xds_server.core.objects import WORKLOADS, Kind
from xds_server.xds.resource import ResourceKey
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

GATEWAY: Final = plan.GATEWAY
"""The listener without a gateway file, and its route configuration."""

LISTENER_KEY: Final = ResourceKey(LISTENER, GATEWAY)


def routes_key(gateway: str) -> ResourceKey:
    """The route configuration of a gateway."""
    return ResourceKey(ROUTE, gateway)


def no_host_key(gateway: str) -> ResourceKey:
    """A virtual host that matches no request."""
    return ResourceKey(VIRTUAL_HOST, f"{gateway}/none")


_OTHER_KINDS: Final = (kind.lower() for kind in WORKLOADS if kind is not Kind.DEPLOYMENT)
KINDS_BEFORE_NAMES: Final = f"(?:(?:{'|'.join(_OTHER_KINDS)})/)?"
"""Matches the kind and the slash that a key of `objects.workload_key` can begin with."""

# NAMESPACE/SERVICE[/PORT]/shadow/[KIND/]NAME as a whole, because a Service or a port may be named "shadow".
_SHADOW_CLUSTER = re.compile(rf"[^/]+/[^/]+(?:/[^/]+)?/(?:shadow|baseline)/({KINDS_BEFORE_NAMES}[^/]+)")

SHADOW_HEADER: Final = "x-xds-shadow"
"""The header of every mirrored request: NAMESPACE/NAME of the canary, whatever its kind. A request with this
header is not mirrored again."""


def listener_key(name: str) -> ResourceKey:
    return ResourceKey(LISTENER, name)


def cluster(service: NamespacedName, port: str) -> str:
    """The cluster of a Service port, by the port's name, which is empty for an unnamed only port."""
    return f"{service}/{port}" if port else str(service)


def virtual_host_key(service: NamespacedName, port: str, gateway: str = GATEWAY) -> ResourceKey:
    """The virtual host of a Service port as a resource: the name begins with that of its route configuration,
    and the message has the same name (rule 25)."""
    # Envoy takes everything before the last slash for the route configuration (measured).
    named = f"{service.name}.{service.namespace}" + (f".{service.cluster}" if service.cluster else "")
    return ResourceKey(VIRTUAL_HOST, f"{gateway}/{named}:{port}" if port else f"{gateway}/{named}")


def domains(plain: Iterable[str]) -> tuple[str, ...]:
    """The domains of a virtual host, sorted: each without and with a trailing dot, with which resolvers write
    complete names. Envoy could strip the dot, but then the backend would get a different Host."""
    return tuple(sorted([spelling for domain in plain for spelling in (domain, _complete(domain))]))


def _complete(domain: str) -> str:
    """The domain with a trailing dot behind its host."""
    host, colon, port = domain.partition(":")
    return f"{host}.{colon}{port}"


def closed_ports_key(service: NamespacedName, gateway: str = GATEWAY) -> ResourceKey:
    """The virtual host for the ports of a Service that are not routed. The name is free, because all ports of
    a Service with several ports have names."""
    return virtual_host_key(service, "", gateway)


def shadow_cluster(service: NamespacedName, port: str, canary: str) -> str:
    """The cluster of a canary's mirrored requests of that port."""
    return f"{cluster(service, port)}/shadow/{canary}"


def baseline_cluster(service: NamespacedName, port: str, canary: str) -> str:
    """The cluster of the requests of that port that are mirrored to the stable Pods because of a canary."""
    return f"{cluster(service, port)}/baseline/{canary}"


def baselines(service: NamespacedName, port: str) -> str:
    """The limit of the requests of that port that are mirrored to baselines."""
    return f"{cluster(service, port)}/baselines"


def shadowing_canary(cluster_name: str) -> str | None:
    """The canary of a shadow cluster, or of a baseline's; None for any other cluster."""
    match = _SHADOW_CLUSTER.fullmatch(cluster_name)
    return match.group(1) if match else None


def cluster_key(name: str) -> ResourceKey:
    return ResourceKey(CLUSTER, name)


def secret_key(cluster_name: str) -> ResourceKey:
    """The name of a shadow cluster's credential: the cluster's name."""
    return ResourceKey(SECRET, cluster_name)


def endpoints_key(cluster_name: str) -> ResourceKey:
    """The name of a cluster's ClusterLoadAssignment: the cluster's name."""
    return ResourceKey(ENDPOINT, cluster_name)
