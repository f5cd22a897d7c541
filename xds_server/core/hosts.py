"""Who owns which host. The one thing that Services of different namespaces share, so it has a table.

A Service's own cluster names are its own, whatever others claim; of two that claim a further host, the older
wins. The same claims give the same owners in whatever order they came.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName

Age = tuple[str, str, str]


CLUSTER_DOMAINS: Final = ("cluster.local",)
"""What a cluster's DNS calls itself unless it was installed with another name."""


def own_hosts(service: NamespacedName, cluster_domains: Sequence[str] = CLUSTER_DOMAINS) -> tuple[str, ...]:
    """The names that cluster DNS gives a Service, the shortest first."""
    bare = f"{service.name}.{service.namespace}"
    return (bare, f"{bare}.svc", *(f"{bare}.svc.{domain}" for domain in cluster_domains))


class Claimed(NamedTuple):
    """Who is concerned by a claim: who owned a host that changed hands, or owns it now, `exchanged` it; the
    `others` claim it, too."""

    exchanged: frozenset[NamespacedName] = frozenset()
    others: frozenset[NamespacedName] = frozenset()


NOBODY: Final = Claimed()


class HostTable:
    """Claims by host. Mutable, and owned by one resolver."""

    def __init__(self, cluster_domains: Sequence[str] = CLUSTER_DOMAINS) -> None:
        self._cluster_domains = cluster_domains
        self._claims: dict[NamespacedName, tuple[Age, tuple[str, ...]]] = {}
        # A table is replaced and never changed: those of a Service's own hosts are one.
        self._by_host: dict[str, Mapping[NamespacedName, tuple[bool, Age]]] = {}

    def owner(self, host: str) -> NamespacedName | None:
        """The Service that gets the requests for `host`."""
        claims = self._by_host.get(host)
        if not claims:
            return None
        if len(claims) == 1:
            return next(iter(claims))  # nearly always
        return min(claims, key=claims.__getitem__)

    def claim(self, service: NamespacedName, age: Age, hosts: tuple[str, ...]) -> Claimed:
        """Replace the claims of `service`."""
        before_age, before = self._claims.get(service, (age, ()))
        if (before_age, before) == (age, hosts):
            return NOBODY
        own = own_hosts(service, self._cluster_domains)
        if not before and self._by_host.keys().isdisjoint(hosts):  # nearly always: nobody else wants them
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
