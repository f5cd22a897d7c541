"""The limits of Services, and the hosts that they may have.

A Namespace and the policy file can lower a limit. Only the policy file can raise one, and only a limit of
memory, because its author knows how much memory the Envoys have. A limit that is not valid is ignored and is
a problem of its owner, because live traffic depends on the Service. Of a list of hosts that is not valid,
only the valid entries are allowed.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from xds_server.base.sizes import MIB
from xds_server.base.text import quoted, shown
from xds_server.core import service_annotations, values
from xds_server.core.bounds import NONE, suffix
from xds_server.core.conditions import Condition, Reason
from xds_server.core.layers import NO_FILE, Layer, PolicyFile
from xds_server.core.service_annotations import HOSTS_ALLOWED, LIMITS
from xds_server.core.values import PolicyError, sentence


class Limits(NamedTuple):
    """The limits of one Service: its `shadows`, of which the oldest stay; the `ports` and `hosts` that are
    routed; the `endpoints` of each port; the `virtual_host_bytes` of each port; and `mirror_memory`, the
    bytes of mirrored bodies that an Envoy may hold, which is the sum of max-concurrent times max-body of its
    shadows. `namespace_memory` is the number of bytes that all Services of the namespace may take of an Envoy
    together. `problems` are the conditions of settings that are not valid."""

    shadows: int = service_annotations.SHADOWS.most
    ports: int = service_annotations.PORTS.most
    hosts: int = service_annotations.HOSTS_MAX.most
    endpoints: int = service_annotations.ENDPOINTS.most
    virtual_host_bytes: int = service_annotations.VIRTUAL_HOST.most
    mirror_memory: int = service_annotations.MIRROR_MEMORY.most
    namespace_memory: int = service_annotations.NAMESPACE_MEMORY.most
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
                why = f"{shown(layer.values[row.name])} is more than the {before // MIB}Mi that are available"
                problems.append(_problem(layer, PolicyError(f"{layer.called(row.name)}: {why}")))
            found[row.field] = limit if raises else min(before, limit)
        if HOSTS_ALLOWED.name in layer.values:
            try:
                layer.read(HOSTS_ALLOWED)
            except PolicyError as error:
                problems.append(_problem(layer, error))
    return Limits(**{**found, "problems": tuple(problems)})


def host_not_allowed(host: str, layers: Iterable[Layer | None]) -> str:
    """Why a Service of these `layers` may not have this host, or "". An entry of a list that is not valid
    allows nothing and does not affect the other entries."""
    for layer in filter(None, layers):
        text = layer.values.get(HOSTS_ALLOWED.name)
        if text is not None and _entries(text).isdisjoint(_domains(host)):
            whose = layer.called(HOSTS_ALLOWED.name)
            return f"Host {host} is not allowed; allowed are {quoted(text)} ({whose})."
    return ""


def _domains(host: str) -> Iterator[str]:
    """The host and its parent domains: ``a.b.c``, ``b.c``, ``c``."""
    while host:
        yield host
        host = host.partition(".")[2]


@lru_cache(maxsize=1024)
def _entries(text: str) -> frozenset[str]:
    return frozenset(suffix(entry.lower()) for entry in values.entries(text)) - {NONE, ""}


def _problem(layer: Layer, error: PolicyError) -> Condition:
    return Condition(layer.subject, Reason.INVALID_ANNOTATION, sentence(error))
