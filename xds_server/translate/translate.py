"""Translates the plan to resources. `translate` is the specification: the whole plan in one pass."""

from collections.abc import Iterable

from xds_server.base.errors import DanglingReferenceError
from xds_server.core.plan import Plan, PortPlan, ServicePlan
from xds_server.translate import names
from xds_server.translate.clusters import primary_cluster, shadow_cluster
from xds_server.translate.comparing import baseline_of
from xds_server.translate.endpoints import load_assignment
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.routes import closed_ports, gateway_routes, no_host, virtual_hosts
from xds_server.translate.secrets import credential_secret
from xds_server.translate.upstream_log import sampled
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot


def translate(
    plan: Plan,
    *,
    gateway_port: int,
    gateway: GatewayConfig = TRANSPARENT,
    route_configs: Iterable[str] = (),
) -> Snapshot:
    """The snapshot of a whole plan."""
    shares = [translate_service(plan.services[target]) for target in sorted(plan.services)]
    whole = Snapshot().updated(frame(gateway_port, gateway, route_configs))
    return whole.updated(resource for share in shares for resource in share)


def frame(
    gateway_port: int, gateway: GatewayConfig = TRANSPARENT, route_configs: Iterable[str] = ()
) -> list[Resource]:
    """The resources that exist without any Service: the gateway's listeners, their route configurations, and
    `route_configs` for Envoys with their own listeners."""
    listeners = [gateway_listener(each, gateway, port=gateway_port) for each in gateway.listeners]
    found = gateway.gateways(route_configs)
    return [*listeners, *map(gateway_routes, found), *(map(no_host, found) if len(found) > 1 else ())]


def translate_service(plan: ServicePlan, tail: str = "") -> tuple[Resource, ...]:
    """The resources of one Service. They refer to nothing else, so they can be replaced without a look at
    other Services. Envoys log the mirrored requests whose ids end in `tail`.

    Raises:
        DanglingReferenceError: a resource refers to another Service's. A bug in this program.
    """
    share = tuple(resource for port in plan.ports for resource in _resources(port, tail))
    keys = {resource.key for resource in share}
    for resource in share:
        for ref in resource.refs:
            if ref not in keys:
                raise DanglingReferenceError(f"{resource.key.name} refers to {ref.name}, which is not there")
    return share


def _resources(port: PortPlan, tail: str) -> list[Resource]:
    name, scope = names.cluster(port.service, port.name), port.service.namespace
    found = [
        primary_cluster(name, port.protocol, scope=scope),
        load_assignment(name, port.endpoints, scope=scope),
    ]
    for mirror in port.mirrors:
        shadow = names.shadow_cluster(port.service, port.name, mirror.canary)
        credential = mirror.credential
        found += [
            shadow_cluster(shadow, port.protocol, mirror, scope=scope),
            load_assignment(shadow, mirror.endpoints, scope=scope, metadata=sampled(tail)),
        ]
        if mirror.baselines:
            again = names.baseline_cluster(port.service, port.name, mirror.canary)
            baseline = baseline_of(mirror, port.endpoints)
            found += [
                shadow_cluster(again, port.protocol, baseline, scope=scope),
                load_assignment(again, baseline.endpoints, scope=scope, metadata=sampled(tail)),
            ]
        if credential:
            found.append(credential_secret(shadow, credential.value, scope=scope))
    return [*found, *closed_ports(port), *virtual_hosts(port, tail)]
