"""Which Hosts are which port of a Service.

A Host's port is mostly the gateway's, so any number reaches the Service's first HTTP port. But a client that
asks for one of the Service's own ports, by the Service's own name, means that port: another application must
not answer.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.hosts import own_hosts
from xds_server.core.objects import Service
from xds_server.core.ports import HttpPort

_MOST: Final = 32
"""Ports of a Service; requests for those beyond reach its first."""


def routed_domains(hosts: Iterable[str], port: int, *, first: bool) -> tuple[str, ...]:
    """A Service's first HTTP port has its bare hosts and every port that is none of its own; an exact
    ``host:port`` of another port wins over ``host:*`` in Envoy (VirtualHost.domains)."""
    if not first:
        return tuple(sorted([f"{host}:{port}" for host in hosts]))
    return tuple(sorted([domain for host in hosts for domain in (host, f"{host}:*")]))


def closed_domains(
    service: Service, routed: Sequence[HttpPort], cluster_domains: Sequence[str]
) -> tuple[str, ...]:
    """The Service's own names, each with the number of a port that is not routed, sorted."""
    if len(service.ports) == len(routed):
        return ()  # nearly always
    if any(not http.name for http in routed):
        return ()  # of an only port; an API server admits no other without a name
    numbers = {port.port for port in service.ports} - {http.port.port for http in routed}
    hosts = own_hosts(NamespacedName(service.namespace, service.name), cluster_domains)
    return tuple(sorted(f"{host}:{number}" for host in hosts for number in sorted(numbers)[:_MOST]))
