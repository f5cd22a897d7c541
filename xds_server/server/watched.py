"""Which clusters and virtual hosts have to do with a shadow: what Envoys are asked about."""

from dataclasses import dataclass
from typing import NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import EVERYTHING
from xds_server.core.plan import Mirror, PortPlan, ServicePlan
from xds_server.core.terms import MILLION
from xds_server.translate import names


class WatchedPort(NamedTuple):
    """A port whose requests are mirrored: the live cluster, the shadow cluster, and the virtual hosts whose
    routes lead to both."""

    primary: str
    mirrored: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A shadow that Envoys are to mirror requests to. `share` is the part of the primary's requests that is
    mirrored, or None where conditions decide that. `capped` says that max-rps may make it less."""

    canary: NamespacedName
    service: str
    ports: tuple[WatchedPort, ...]
    share: float | None
    capped: bool

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters whose loads are wanted."""
        return frozenset(each for port in self.ports for each in (port.primary, port.mirrored))


def watched_of(target: NamespacedName, plan: ServicePlan) -> dict[NamespacedName, Watched]:
    """The shadows of one Service that have mirrors, by canary."""
    found: dict[NamespacedName, list[tuple[PortPlan, Mirror]]] = {}
    for port in plan.ports:
        for mirror in port.mirrors:
            canary = NamespacedName(target.namespace, mirror.canary)
            found.setdefault(canary, []).append((port, mirror))
    return {canary: _watched(target, canary, mirrored) for canary, mirrored in found.items()}


def _watched(
    target: NamespacedName, canary: NamespacedName, mirrored: list[tuple[PortPlan, Mirror]]
) -> Watched:
    _, mirror = mirrored[0]  # all ports have the same policy
    return Watched(
        canary=canary,
        service=target.name,
        ports=tuple(_port(port, canary) for port, _ in mirrored),
        share=mirror.per_million / MILLION if mirror.selection == EVERYTHING else None,
        capped=mirror.treatment.max_rps is not None,
    )


def _port(port: PortPlan, canary: NamespacedName) -> WatchedPort:
    return WatchedPort(
        names.cluster(port.service, port.name),
        names.shadow_cluster(port.service, port.name, canary.name),
        tuple(names.virtual_host_key(port.service, port.name, gateway).name for gateway in port.gateways),
    )
