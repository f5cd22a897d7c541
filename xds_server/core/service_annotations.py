"""The rows of the annotation table that are not about a shadow: the annotations of a Service, the limits of a
Service or a namespace, and the hosts that a Service may have."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from xds_server.base.sizes import MIB
from xds_server.core import bounds, keys, quantities, values
from xds_server.core.rows import Allowed, Limit, ServiceAnnotation, by_name


def _listed(key: str, meaning: str, default: str, example: str) -> ServiceAnnotation:
    return ServiceAnnotation(key.removeprefix(keys.PREFIX), values.listed, meaning, default, example)


HOSTS: Final = _listed(
    keys.HOSTS,
    "Further hosts, comma-separated. If two Services have the same host, the older one gets it.",
    "none",
    "app.example.com",
)
GATEWAYS: Final = _listed(
    keys.GATEWAYS, "The gateways that route the Service, comma-separated.", "all", "internal"
)
HTTP_PORTS: Final = _listed(
    keys.HTTP_PORTS, "Further ports that speak HTTP, by name or number, comma-separated.", "none", "web,9001"
)
OF_SERVICE: Final = (GATEWAYS, HOSTS, HTTP_PORTS)

# Of a Service or a namespace. One port and one shadow take the least memory: less is a forgotten unit.
_MAX_MEMORY: Final = 64 * 1024 * MIB


def _count(most: int) -> tuple[Callable[[str], int], int]:
    return partial(quantities.number, most=most), most


def _memory(least: int) -> tuple[Callable[[str], int], int]:
    return partial(quantities.size, most=_MAX_MEMORY, least=least), 128 * MIB


SHADOWS: Final = Limit("shadows-max", *_count(16), "the shadows of a Service; the oldest stay", "4")
PORTS: Final = Limit("ports-max", *_count(16), "the HTTP ports of a Service", "2")
HOSTS_MAX: Final = Limit("hosts-max", *_count(64), "the hosts of a Service", "8")
ENDPOINTS: Final = Limit("endpoints-max", *_count(5_000), "the endpoints of a port", "500")
VIRTUAL_HOST: Final = Limit(
    "virtual-host-bytes-max",
    partial(quantities.size, most=MIB // 2, least=8 * 1024),
    MIB // 2,
    "the routes of a port, in bytes of configuration",
    "256Ki",
)
MIRROR_MEMORY: Final = Limit(
    "mirror-memory-max",
    *_memory(64 * 1024),
    "the sum of `max-concurrent` times `max-body` over a Service's shadows; those without `max-concurrent`"
    " share what the others leave",
    "64Mi",
    raisable=True,
)
NAMESPACE_MEMORY: Final = Limit(
    "namespace-memory-max",
    *_memory(MIB),
    "the estimated memory that all Services of the namespace take of an Envoy; Services come before shadows,"
    " and the older first",
    "64Mi",
    raisable=True,
)
LIMITS: Final[Mapping[str, Limit]] = by_name(
    (SHADOWS, PORTS, HOSTS_MAX, ENDPOINTS, VIRTUAL_HOST, MIRROR_MEMORY, NAMESPACE_MEMORY)
)
HOSTS_ALLOWED: Final = Allowed(
    "hosts-allowed",
    bounds.suffixes,
    of="hosts in the Service's annotation `hosts`: these, and those under them",
    example="example.com,example.org",
)
