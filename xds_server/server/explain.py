"""Collects what belongs to one shadow: its routes, conditions and Envoy resources."""

from collections.abc import Iterable

from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Subject
from xds_server.core.objects import Kind
from xds_server.core.plan import GATEWAY, PortPlan, ShadowStatus
from xds_server.server.facts import ExplainedRoute, Explanation
from xds_server.server.pipeline import Published
from xds_server.translate import names
from xds_server.translate.routes import gateway_routes
from xds_server.translate.translate import translate_service
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import ROUTE, SECRET, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter


def explain(published: Published, name: NamespacedName) -> Explanation | None:
    """The explanation of the shadow `name`, or None if there is no such shadow."""
    for target, plan in published.plan.services.items():
        for shadow in plan.shadows:
            if NamespacedName(shadow.namespace, shadow.canary) == name:
                share = translate_service(plan)
                gateways = plan.ports[0].gateways if plan.ports else (GATEWAY,)
                subjects = {
                    Subject(Kind.SERVICE, target.namespace, target.name),
                    Subject(shadow.kind, shadow.namespace, shadow.name),
                }
                return Explanation(
                    shadow=shadow,
                    routes=[_explained(port, shadow) for port in plan.ports],
                    conditions=[each for each in published.conditions() if each.subject in subjects],
                    resources=_only(shadow, _with_routes(share, gateways)),
                )
    return None


def _explained(port: PortPlan, shadow: ShadowStatus) -> ExplainedRoute:
    mirrored = any(mirror.canary == shadow.canary for mirror in port.mirrors)
    mirrors_to = names.shadow_cluster(port.service, port.name, shadow.canary)
    return ExplainedRoute(
        plan=port,
        cluster=names.cluster(port.service, port.name),
        shadow_cluster=mirrors_to if mirrored else "",
    )


def _with_routes(share: tuple[Resource, ...], gateways: Iterable[str]) -> list[Resource]:
    """The resources with their virtual hosts inside the route configurations of these gateways. Route
    configurations come first."""
    snapshot = SnapshotAdapter(HostsMode.INLINE).of(
        Snapshot().updated([*map(gateway_routes, gateways), *share])
    )
    routes = snapshot.of(ROUTE).resources.values()
    return [*routes, *(resource for resource in share if resource.key.type_url != VIRTUAL_HOST)]


def _only(shadow: ShadowStatus, resources: list[Resource]) -> list[Resource]:
    """Leave out the clusters of the Service's other canaries, and credentials, which are never shown."""
    return [
        resource
        for resource in resources
        if resource.key.type_url != SECRET and names.shadowing_canary(resource.name) in (None, shadow.canary)
    ]
