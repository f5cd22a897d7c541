"""What a Service may have: how much of everything, and which hosts.

A Namespace and the policy file can lower a limit. Only the policy file can raise one, and only of memory: who
runs the Envoys knows how much they have. Live traffic depends on a Service, so a limit that is not valid
leaves the default and is a problem of its owner. A list of hosts that is not valid allows its valid entries
alone.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from xds_server.base.sizes import MIB
from xds_server.base.text import quoted, shown
from xds_server.core import annotations, values
from xds_server.core.annotations import HOSTS_ALLOWED, LIMITS
from xds_server.core.bounds import NONE, suffix
from xds_server.core.conditions import Condition
from xds_server.core.layers import NO_FILE, Layer, PolicyFile
from xds_server.core.values import PolicyError, sentence


class Limits(NamedTuple):
    """Of one Service: `shadows`, the oldest of which stay; `ports` and `hosts` that are routed; `endpoints`
    of each port; `virtual_host_bytes` of each port's virtual host; `mirror_memory`, the bytes of mirrored
    bodies that an Envoy may hold, as the sum of max-concurrent times max-body of its shadows. What all
    Services of the namespace may take of an Envoy together is `namespace_memory`, in bytes. `problems` are of
    the settings that are not valid."""

    shadows: int = annotations.SHADOWS.most
    ports: int = annotations.PORTS.most
    hosts: int = annotations.HOSTS_MAX.most
    endpoints: int = annotations.ENDPOINTS.most
    virtual_host_bytes: int = annotations.VIRTUAL_HOST.most
    mirror_memory: int = annotations.MIRROR_MEMORY.most
    namespace_memory: int = annotations.NAMESPACE_MEMORY.most
    problems: tuple[Condition, ...] = ()


DEFAULT: Final = Limits()


def limits_of(namespace: Layer | None, installation: Layer = NO_FILE) -> Limits:
    """The limits that hold for a Service of this Namespace."""
    found = DEFAULT._asdict()
    problems: list[Condition] = []
    for layer in (installation, namespace):
        if not (layer and layer.values):
            continue
        for row in LIMITS.values():
            try:
                limit = layer.read(row) if row.name in layer.values else None
            except PolicyError as error:
                problems.append(_problem(layer, error))
                continue
            if limit is None:
                continue
            before = found[row.field]
            raises = row.raisable and isinstance(layer, PolicyFile)
            if row.raisable and limit > before and not raises:
                why = f"{shown(layer.values[row.name])} is more than the {before // MIB}Mi that there are"
                problems.append(_problem(layer, PolicyError(f"{layer.called(row.name)}: {why}")))
            found[row.field] = limit if raises else min(before, limit)
        if HOSTS_ALLOWED.name in layer.values:
            try:
                layer.read(HOSTS_ALLOWED)
            except PolicyError as error:
                problems.append(_problem(layer, error))
    return Limits(**{**found, "problems": tuple(problems)})


def host_not_allowed(host: str, layers: Iterable[Layer | None]) -> str:
    """Why a Service of these `layers` may not have this further host, or "". The valid entries of a list hold
    beside those that are not: a typo allows nothing, and takes no other host away."""
    for layer in filter(None, layers):
        text = layer.values.get(HOSTS_ALLOWED.name)
        if text is not None and _entries(text).isdisjoint(_domains(host)):
            whose = layer.called(HOSTS_ALLOWED.name)
            return f"Host {host} is not allowed; allowed are {quoted(text)} ({whose})."
    return ""


def _domains(host: str) -> Iterator[str]:
    """The host, and every domain that it is in: ``a.b.c``, ``b.c``, ``c``."""
    while host:
        yield host
        host = host.partition(".")[2]


@lru_cache(maxsize=1024)
def _entries(text: str) -> frozenset[str]:
    return frozenset(suffix(entry.lower()) for entry in values.entries(text)) - {NONE, ""}


def _problem(layer: Layer, error: PolicyError) -> Condition:
    return Condition(layer.subject, "InvalidAnnotation", sentence(error))
