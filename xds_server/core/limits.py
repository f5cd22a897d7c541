"""What a Service may have: how much of everything, and which hosts.

A Namespace and the installation can tighten a limit, and never widen it but for memory, which is the
installation's to give. Live traffic rests on a Service, so
what cannot be understood of a limit leaves the default and is a problem of whoever wrote it; but a list of
hosts allows no host that is not on it, whatever else is there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from xds_server.base.sizes import MIB
from xds_server.base.text import quoted, shown
from xds_server.core import quantities, values
from xds_server.core.bounds import NONE, names
from xds_server.core.conditions import Condition
from xds_server.core.layers import NO_FILE, Layer, PolicyFile
from xds_server.core.values import PolicyError, sentence

HOSTS_ALLOWED: Final = "hosts-allowed"
NAMESPACE_MEMORY: Final = "namespace-memory-max"
MIRROR_MEMORY: Final = "mirror-memory-max"
_MOST_MEMORY: Final = 64 * 1024 * MIB


class Limits(NamedTuple):
    """Of one Service: `shadows`, the oldest of which stay; `ports` and `hosts` that are routed; `endpoints`
    of each port; `virtual_host_bytes` of each port's virtual host; `mirror_memory`, the bytes of mirrored
    bodies that an Envoy may hold, as the sum of max-concurrent times max-body of its shadows. What all
    Services of the namespace may take of an Envoy together is `namespace_memory`, in bytes. `problems` are of
    the settings that cannot be understood."""

    shadows: int = 16
    ports: int = 16
    hosts: int = 64
    endpoints: int = 5_000
    virtual_host_bytes: int = MIB // 2
    mirror_memory: int = 128 * MIB
    namespace_memory: int = 128 * MIB
    problems: tuple[Condition, ...] = ()


DEFAULT: Final = Limits()
"""What nobody can widen, but for memory."""


def _suffix(entry: str) -> str:
    """``*.example.com`` is how others write it."""
    return entry.removeprefix("*.")


def suffixes(value: str) -> frozenset[str]:
    """Hosts that are allowed, each with its subdomains."""
    found = frozenset(map(_suffix, names(value) - {NONE}))
    for entry in sorted(found):
        if not values.is_host_name(entry):
            raise PolicyError(
                f"{shown(entry)} is not a host; write a list such as example.com,app.example.org, each of"
                f" which allows its subdomains too, or {NONE}"
            )
    return found


LIMITS: Final[Mapping[str, Callable[[str], int]]] = {
    "endpoints-max": partial(quantities.number, most=DEFAULT.endpoints),
    "hosts-max": partial(quantities.number, most=DEFAULT.hosts),
    # The least are what one port and one shadow take: less is a unit that was forgotten.
    MIRROR_MEMORY: partial(quantities.size, most=_MOST_MEMORY, least=64 * 1024),
    NAMESPACE_MEMORY: partial(quantities.size, most=_MOST_MEMORY, least=MIB),
    "ports-max": partial(quantities.number, most=DEFAULT.ports),
    "shadows-max": partial(quantities.number, most=DEFAULT.shadows),
    "virtual-host-bytes-max": partial(quantities.size, most=DEFAULT.virtual_host_bytes, least=8 * 1024),
}
"""How the text of each limit is understood; none admits more than is the most."""

_MEMORY: Final = frozenset({MIRROR_MEMORY, NAMESPACE_MEMORY})
"""What the installation can raise: it knows how much its Envoys have."""

OF_SERVICES: Final[Mapping[str, Callable[[str], Any]]] = {**LIMITS, HOSTS_ALLOWED: suffixes}


@lru_cache(maxsize=1024)
def limits_of(namespace: Layer | None, installation: Layer = NO_FILE) -> Limits:
    """The limits that hold for a Service of this Namespace."""
    found = DEFAULT._asdict()
    problems: list[Condition] = []
    for layer in _layers(installation, namespace):
        for name, read in OF_SERVICES.items():
            if name not in layer.values:
                continue
            try:
                limit = read(layer.values[name].strip())
            except PolicyError as error:
                problems.append(_problem(layer, name, str(error)))
                continue
            if name in LIMITS:
                field = name.removesuffix("-max").replace("-", "_")
                raises = name in _MEMORY and isinstance(layer, PolicyFile)
                if name in _MEMORY and limit > found[field] and not raises:
                    why = (
                        f"{shown(layer.values[name])} is more than the {found[field] // MIB}Mi that there are"
                    )
                    problems.append(_problem(layer, name, why))
                found[field] = limit if raises else min(found[field], limit)
    return Limits(**{**found, "problems": tuple(problems)})


def host_not_allowed(host: str, layers: Iterable[Layer | None]) -> str:
    """Why a Service of these `layers` may not have this further host, or "". Of a list that cannot be
    understood whole, the rest of it holds: what is mistyped allows nothing, and takes no other host away."""
    for layer in filter(None, layers):
        text = layer.values.get(HOSTS_ALLOWED)
        if text is not None and _entries(text).isdisjoint(_domains(host)):
            return f"Host {host} is not allowed; allowed are {quoted(text)} ({layer.called(HOSTS_ALLOWED)})."
    return ""


def _domains(host: str) -> Iterator[str]:
    """The host, and every domain that it is in: ``a.b.c``, ``b.c``, ``c``."""
    while host:
        yield host
        host = host.partition(".")[2]


@lru_cache(maxsize=1024)
def _entries(text: str) -> frozenset[str]:
    return frozenset(_suffix(entry.lower()) for entry in values.entries(text)) - {NONE, ""}


def _layers(*layers: Layer | None) -> Iterator[Layer]:
    return (layer for layer in layers if layer)


def _problem(layer: Layer, name: str, why: str) -> Condition:
    message = sentence(PolicyError(f"{layer.called(name)}: {why}"))
    return Condition(layer.subject, "InvalidAnnotation", message)
