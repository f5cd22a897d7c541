"""Every generated name, in one place. A name says what the thing is and never where it stands in a list, so
that nothing is renamed because a neighbour came or went.
"""

import re
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.snapshot.resource import ResourceKey
from xds_server.snapshot.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

GATEWAY: Final = "gateway"
LISTENER_KEY: Final = ResourceKey(LISTENER, GATEWAY)
ROUTES_KEY: Final = ResourceKey(ROUTE, GATEWAY)

# The whole form: a Service may itself be called "shadow".
_SHADOW_CLUSTER = re.compile(r"[^/]+/[^/]+/[0-9]+/shadow/(.+)")

SHADOW_HEADER: Final = "x-xds-shadow"
"""On every copy: NAMESPACE/DEPLOYMENT of the canary. A request that has it is not mirrored again."""


def cluster(service: NamespacedName, port: int) -> str:
    """The cluster of one port of a Service."""
    return f"{service}/{port}"


def virtual_host_key(service: NamespacedName, port: int) -> ResourceKey:
    """The virtual host of one port of a Service, as a resource of its own: its name begins with that of its
    route configuration, and is also the name in the message (line 25)."""
    # Measured: Envoy takes all before the last slash for the route configuration.
    return ResourceKey(VIRTUAL_HOST, f"{GATEWAY}/{service.name}.{service.namespace}:{port}")


def shadow_cluster(service: NamespacedName, port: int, deployment: str) -> str:
    """The cluster of a canary's copies of that port."""
    return f"{service}/{port}/shadow/{deployment}"


def shadowing_deployment(cluster_name: str) -> str | None:
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
