"""The same snapshot as `translate`, for the cost of the Services whose part of the plan changed.

Each Service's share is kept; a change translates that Service anew and joins the route configuration from
the serialized virtual hosts of all.
"""

from collections.abc import Iterable, Mapping

from xds_server.base.ids import NamespacedName
from xds_server.shadows.plan import NOTHING, Plan
from xds_server.snapshot.framing import field, text
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate import names
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.translate import Translated, translate_service

_NAME, _VIRTUAL_HOSTS = 1, 2  # field numbers of RouteConfiguration (route.proto)
_NONE = Translated({}, ())


class Translator:
    """Holds the snapshot of the plan it has been brought to."""

    def __init__(self, *, gateway_port: int) -> None:
        self._shares: dict[NamespacedName, Translated] = {}
        self._hosts: dict[str, bytes] = {}
        self.snapshot = Snapshot().updated([gateway_listener(gateway_port), self._routes()])

    def update(self, plan: Plan, targets: Iterable[NamespacedName]) -> Snapshot:
        """Bring the snapshot to `plan`, in which only `targets` differ from the last one."""
        upserts: list[Resource] = []
        removals: list[ResourceKey] = []
        routes_changed = False
        for target in sorted(targets):
            before = self._shares.pop(target, _NONE)
            share = translate_service(plan.services.get(target, NOTHING))
            if share != _NONE:
                self._shares[target] = share
            known = {resource.key: resource for resource in before.resources}
            upserts.extend(r for r in share.resources if known.pop(r.key, None) != r)
            removals.extend(known)
            if share.virtual_hosts != before.virtual_hosts:
                routes_changed = True
                self._replace_hosts(before, share)
        if routes_changed:
            upserts.append(self._routes())
        self.snapshot = self.snapshot.updated(upserts, removals)
        return self.snapshot

    def _replace_hosts(self, before: Translated, after: Translated) -> None:
        for name in before.virtual_hosts:
            del self._hosts[name]
        self._hosts.update(after.virtual_hosts)

    def _routes(self) -> Resource:
        return route_configuration(
            self._hosts, (k for share in self._shares.values() for k in share.clusters)
        )


def route_configuration(hosts: Mapping[str, bytes], clusters: Iterable[ResourceKey]) -> Resource:
    """The route configuration of serialized virtual hosts, which refer to `clusters`. Joined: a repeated
    field is its elements one after another."""
    framed = (field(_VIRTUAL_HOSTS, hosts[name]) for name in sorted(hosts))
    body = text(_NAME, names.ROUTES_KEY.name) + b"".join(framed)
    return Resource(names.ROUTES_KEY, body, refs=tuple(sorted(clusters)))
