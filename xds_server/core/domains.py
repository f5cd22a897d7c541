"""The domains of each port of a Service.

The port in a ``Host`` header is usually the gateway's, so any number routes to the Service's first HTTP port.
A client that uses the Service's own name with the number of one of its ports means that port, and another
port's application must not respond.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.hosts import own_hosts
from xds_server.core.objects import Service
from xds_server.core.ports import HttpPort

_MAX_CLOSED: Final = 32
"""Ports of a Service that get a closed domain. Requests for further ports reach the first port."""


def routed_domains(hosts: Iterable[str], port: int, *, first: bool) -> tuple[str, ...]:
    """The domains of an HTTP port. The `first` port has the hosts without a port and with any port number
    that no other port has: in Envoy an exact ``host:port`` wins over ``host:*`` (VirtualHost.domains)."""
    if not first:
        return tuple(sorted([f"{host}:{port}" for host in hosts]))
    return tuple(sorted([domain for host in hosts for domain in (host, f"{host}:*")]))


def closed_domains(
    service: Service, routed: Sequence[HttpPort], cluster_domains: Sequence[str]
) -> tuple[str, ...]:
    """The Service's own names, each with the number of a port that is not routed, sorted."""
    if len(service.ports) == len(routed):
        return ()  # the usual case
    if any(not http.name for http in routed):
        return ()  # only the port of a Service with one port may have no name
    numbers = {port.port for port in service.ports} - {http.port.port for http in routed}
    hosts = own_hosts(NamespacedName(service.namespace, service.name), cluster_domains)
    return tuple(sorted(f"{host}:{number}" for host in hosts for number in sorted(numbers)[:_MAX_CLOSED]))
