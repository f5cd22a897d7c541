"""From the plan to resources. `translate` is the specification: the whole plan, in one pass, with Envoy's own
messages. `incremental` must give the same bytes for less work.
"""

from dataclasses import dataclass

from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.shadows.plan import Plan, RoutePlan, ServicePlan
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate import names
from xds_server.translate.clusters import primary_cluster, shadow_cluster
from xds_server.translate.endpoints import load_assignment
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.routes import virtual_host
from xds_server.translate.wire import resource


@dataclass(frozen=True, slots=True)
class Translated:
    """One Service's share: `virtual_hosts` by name, serialized; `resources` are its clusters and their
    assignments, which its virtual hosts refer to."""

    virtual_hosts: dict[str, bytes]
    resources: tuple[Resource, ...]

    @property
    def clusters(self) -> tuple[ResourceKey, ...]:
        """What the route configuration refers to on behalf of this Service."""
        return tuple(r.key for r in self.resources if r.refs)


def translate(plan: Plan, *, gateway_port: int) -> Snapshot:
    """The snapshot of a whole plan."""
    services = [translate_service(plan.services[target]) for target in sorted(plan.services)]
    hosts = {name: body for service in services for name, body in service.virtual_hosts.items()}
    routes = route_pb2.RouteConfiguration(
        name=names.ROUTES_KEY.name,
        virtual_hosts=[route_components_pb2.VirtualHost.FromString(hosts[name]) for name in sorted(hosts)],
    )
    clusters = tuple(sorted(key for service in services for key in service.clusters))
    return Snapshot().updated(
        [
            gateway_listener(gateway_port),
            resource(names.ROUTES_KEY, routes, refs=clusters),
            *(r for service in services for r in service.resources),
        ]
    )


def translate_service(plan: ServicePlan) -> Translated:
    """One Service's share of the whole."""
    hosts = {names.cluster(route.service, route.port): virtual_host(route) for route in plan.routes}
    return Translated(hosts, tuple(r for route in plan.routes for r in _resources(route)))


def _resources(route: RoutePlan) -> list[Resource]:
    name = names.cluster(route.service, route.port)
    found = [primary_cluster(name, route.protocol), load_assignment(name, route.endpoints)]
    for mirror in route.mirrors:
        copy = names.shadow_cluster(route.service, route.port, mirror.deployment)
        found += [shadow_cluster(copy, route.protocol), load_assignment(copy, mirror.endpoints)]
    return found
