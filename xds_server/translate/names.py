"""Every generated name, in one place. A name says what the thing is and never where it stands in a list, so
that nothing is renamed because a neighbour came or went. A port is called by its name, not by its number: a
Service that is renumbered keeps its virtual host and its clusters.
"""

import re
from collections.abc import Iterable
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core import plan
from xds_server.xds.resource import ResourceKey
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

GATEWAY: Final = plan.GATEWAY
"""The listener that there is without a gateway file, and its route configuration."""

LISTENER_KEY: Final = ResourceKey(LISTENER, GATEWAY)


def routes_key(gateway: str) -> ResourceKey:
    """The route configuration of a gateway."""
    return ResourceKey(ROUTE, gateway)


def no_host_key(gateway: str) -> ResourceKey:
    """A virtual host that no request has."""
    return ResourceKey(VIRTUAL_HOST, f"{gateway}/none")


KINDS_BEFORE_NAMES: Final = "(?:(?:statefulset|daemonset|replicaset|rollout)/)?"
"""What a regular expression has where a key of `model.objects.workload_key` may say the kind."""

# NAMESPACE/SERVICE[/PORT]/shadow/[KIND/]NAME, whole: a Service or a port may itself be called "shadow".
_SHADOW_CLUSTER = re.compile(rf"[^/]+/[^/]+(?:/[^/]+)?/shadow/({KINDS_BEFORE_NAMES}[^/]+)")

SHADOW_HEADER: Final = "x-xds-shadow"
"""On every mirrored request: NAMESPACE/NAME of the canary, whatever its kind. A request that has it is not
mirrored again."""


def listener_key(name: str) -> ResourceKey:
    return ResourceKey(LISTENER, name)


def cluster(service: NamespacedName, port: str) -> str:
    """The cluster of one port of a Service, by the port's name; the only port of a Service may have none."""
    return f"{service}/{port}" if port else str(service)


def virtual_host_key(service: NamespacedName, port: str, gateway: str = GATEWAY) -> ResourceKey:
    """The virtual host of one port of a Service, as a resource of its own: its name begins with that of its
    route configuration, and is also the name in the message (rule 25)."""
    # Measured: Envoy takes all before the last slash for the route configuration.
    named = f"{service.name}.{service.namespace}" + (f".{service.cluster}" if service.cluster else "")
    return ResourceKey(VIRTUAL_HOST, f"{gateway}/{named}:{port}" if port else f"{gateway}/{named}")


def domains(plain: Iterable[str]) -> tuple[str, ...]:
    """The domains of a virtual host, sorted: each without and with a dot behind the host, which is how a
    resolver writes a complete name. Envoy could strip the dot, but then the backend would not see it."""
    found = (domain.partition(":") for domain in plain)
    return tuple(sorted(f"{host}{dot}{colon}{port}" for host, colon, port in found for dot in ("", ".")))


def closed_ports_key(service: NamespacedName, gateway: str = GATEWAY) -> ResourceKey:
    """The virtual host of a Service's ports that are not routed. All ports of a Service that has several have
    names, so no port has this one."""
    return virtual_host_key(service, "", gateway)


def shadow_cluster(service: NamespacedName, port: str, canary: str) -> str:
    """The cluster of a canary's mirrored requests of that port."""
    return f"{cluster(service, port)}/shadow/{canary}"


def shadowing_canary(cluster_name: str) -> str | None:
    """The canary that a shadow cluster belongs to; None for any other cluster."""
    match = _SHADOW_CLUSTER.fullmatch(cluster_name)
    return match.group(1) if match else None


def cluster_key(name: str) -> ResourceKey:
    return ResourceKey(CLUSTER, name)


def secret_key(cluster_name: str) -> ResourceKey:
    """A shadow cluster's credential is named as the cluster."""
    return ResourceKey(SECRET, cluster_name)


def endpoints_key(cluster_name: str) -> ResourceKey:
    """A cluster's assignment is named as the cluster."""
    return ResourceKey(ENDPOINT, cluster_name)
