"""Decides which Service owns a host. Hosts are all that Services of different namespaces share.

A Service always owns its own cluster names. If two Services claim another host, the older one owns it. The
result does not depend on the order of the claims.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName

Age = tuple[str, str, str]


CLUSTER_DOMAINS: Final = ("cluster.local",)
"""The default domain of cluster DNS."""


def own_hosts(service: NamespacedName, cluster_domains: Sequence[str] = CLUSTER_DOMAINS) -> tuple[str, ...]:
    """The names of a Service in cluster DNS, the shortest first."""
    bare = f"{service.name}.{service.namespace}"
    return (bare, f"{bare}.svc", *(f"{bare}.svc.{domain}" for domain in cluster_domains))


class Claimed(NamedTuple):
    """The Services that a claim concerns. `exchanged` are the previous and the new owners of the hosts whose
    owner changed. `others` claim one of these hosts as well."""

    exchanged: frozenset[NamespacedName] = frozenset()
    others: frozenset[NamespacedName] = frozenset()


UNCHANGED: Final = Claimed()


class HostTable:
    """Claims by host. Mutable; each resolver has its own."""

    def __init__(self, cluster_domains: Sequence[str] = CLUSTER_DOMAINS) -> None:
        self._cluster_domains = cluster_domains
        self._claims: dict[NamespacedName, tuple[Age, tuple[str, ...]]] = {}
        # The inner mappings are replaced and never changed, because hosts of a Service share one.
        self._by_host: dict[str, Mapping[NamespacedName, tuple[bool, Age]]] = {}

    def owner(self, host: str) -> NamespacedName | None:
        """The Service that gets the requests for `host`."""
        claims = self._by_host.get(host)
        if not claims:
            return None
        if len(claims) == 1:
            return next(iter(claims))  # the usual case
        return min(claims, key=claims.__getitem__)

    def claim(self, service: NamespacedName, age: Age, hosts: tuple[str, ...]) -> Claimed:
        """Replace the claims of `service`."""
        before_age, before = self._claims.get(service, (age, ()))
        if (before_age, before) == (age, hosts):
            return UNCHANGED
        own = own_hosts(service, self._cluster_domains)
        if not before and self._by_host.keys().isdisjoint(hosts):  # the usual case
            by_right, by_claim = {service: (False, age)}, {service: (True, age)}
            for host in hosts:
                self._by_host[host] = by_right if host in own else by_claim
            self._claims[service] = (age, hosts)
            return Claimed(frozenset((service,)))
        touched = set(before) | set(hosts)
        owners = {host: self.owner(host) for host in touched}
        for host in before:
            claims = {each: rank for each, rank in self._by_host.pop(host).items() if each != service}
            if claims:
                self._by_host[host] = claims
        for host in hosts:
            self._by_host[host] = {**self._by_host.get(host, {}), service: (host not in own, age)}
        if hosts:
            self._claims[service] = (age, hosts)
        else:
            self._claims.pop(service, None)
        exchanged: set[NamespacedName] = set()
        others: set[NamespacedName] = set()
        for host, before_owner in owners.items():
            after_owner = self.owner(host)
            if after_owner != before_owner:
                exchanged.update(filter(None, (before_owner, after_owner)))
                others.update(self._by_host.get(host, ()))
        return Claimed(frozenset(exchanged), frozenset(others - exchanged))
