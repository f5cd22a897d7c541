"""The domains of each port of a Service.

The port of a Host is usually the gateway's, so any number routes to the Service's first HTTP port. A client
that names one of the Service's own ports with the Service's own name means that port, and another application
must not respond.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.hosts import own_hosts
from xds_server.core.objects import Service
from xds_server.core.ports import HttpPort

_MOST: Final = 32
"""Ports of a Service. Requests for the ports after these reach the first port."""


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
