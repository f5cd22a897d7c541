"""From the world to the plan.

`resolve` is the specification: the whole plan of a whole world. `Resolver` gives the same plan for the cost
of what changed; `affected` is the list of reasons for which a change touches a Service's part of the plan.
"""

from collections.abc import Callable, Iterable

from xds_server.base.ids import NamespacedName
from xds_server.model.objects import (
    PREFIX,
    Deployment,
    EndpointSlice,
    Kind,
    Pod,
    Ref,
)
from xds_server.model.problems import Problem
from xds_server.model.selectors import matches
from xds_server.model.world import SHADOW_OF, NamespaceView, World, namespace_of
from xds_server.shadows.endpoints import live
from xds_server.shadows.hosts import HostTable
from xds_server.shadows.plan import NOTHING, Plan, RoutePlan, ServicePlan
from xds_server.shadows.policy import ENDPOINTS_FROM, NO_FILE, Layer
from xds_server.shadows.services import Offer, host_conflict, offer_of
from xds_server.shadows.shadow import (
    Rules,
    canaries_of,
    expiry,
    judge,
    mirrors_for,
    refuse_excess_conditions,
    refuse_excess_samples,
    separate,
    service_refusal,
)

OwnerOf = Callable[[str], NamespacedName | None]
_NO_RULES = Rules()
_FROM = PREFIX + ENDPOINTS_FROM


def resolve(world: World, rules: Rules = _NO_RULES) -> Plan:
    """The whole plan of `world`."""
    targets = {
        NamespacedName(namespace, name)
        for namespace, view in world.namespaces.items()
        for name in (*view.services, *view.canaries)
    }
    hosts = HostTable()
    offers = {target: _offer(world, target, rules) for target in targets}
    for target, offer in offers.items():
        if offer:
            hosts.claim(target, offer.age, offer.hosts)
    plans = {
        t: _service_plan(world.view(t.namespace), t, offers[t], hosts.owner, rules) for t in sorted(targets)
    }
    return Plan({target: plan for target, plan in plans.items() if plan != NOTHING})


class Resolver:
    """Keeps a plan up to date with a world that changes and with time. Equal to `resolve` after every
    update."""

    def __init__(self, *, expose_all: bool = False, installation: Layer = NO_FILE) -> None:
        self._rules = Rules(installation, expose_all)
        self._world = World()
        self._hosts = HostTable()
        self._expiries: dict[NamespacedName, float] = {}
        self.plan = Plan()

    @property
    def expires(self) -> float | None:
        """When the plan has to be updated though nothing changed, in seconds since 1970."""
        return min(self._expiries.values(), default=None)

    def update(self, world: World, changed: Iterable[Ref], now: float = 0.0) -> frozenset[NamespacedName]:
        """Move on to `world`, which differs from the last one in the `changed` objects, and to the time
        `now`; return the targets whose part of the plan is not what it was."""
        rules = self._rules._replace(now=now)
        targets = affected(self._world, world, changed)
        targets |= {target for target, expires in self._expiries.items() if expires <= now}
        offers: dict[NamespacedName, Offer | None] = {}
        for target in sorted(targets):
            offer = offers[target] = _offer(world, target, rules)
            age, hosts = (offer.age, offer.hosts) if offer else (("", "", ""), ())
            targets |= self._hosts.claim(target, age, hosts)
        services = dict(self.plan.services)
        moved = set()
        for target in sorted(targets):
            if target not in offers:
                offers[target] = _offer(world, target, rules)
            view = world.view(target.namespace)
            plan = _service_plan(view, target, offers[target], self._hosts.owner, rules)
            if plan == services.get(target, NOTHING):
                continue
            moved.add(target)
            services.pop(target, None)
            self._expiries.pop(target, None)
            if plan != NOTHING:
                services[target] = plan
            if plan.expires is not None:
                self._expiries[target] = plan.expires
        self._world = world
        self.plan = Plan(services)
        return frozenset(moved)


def affected(before: World, after: World, changed: Iterable[Ref]) -> set[NamespacedName]:
    """The targets whose part of the plan may depend on one of the `changed` objects, hosts aside."""
    targets: set[NamespacedName] = set()
    worlds = (before, after) if before.namespaces else (after,)
    for ref in changed:
        namespace = namespace_of(ref)
        for world in worlds:
            view = world.view(namespace)
            targets.update(NamespacedName(namespace, name) for name in _touched(view, ref))
    return targets


def _touched(view: NamespaceView, ref: Ref) -> Iterable[str]:
    match ref.kind:
        case Kind.NAMESPACE:
            yield from view.services
            yield from view.canaries
        case Kind.SERVICE:
            yield ref.name
            yield from _fed_by(view, ref.name)
        case Kind.ENDPOINT_SLICE:
            obj = view.get(ref)
            if isinstance(obj, EndpointSlice):
                yield obj.service
                yield from _fed_by(view, obj.service)
        case Kind.DEPLOYMENT:
            yield from _shadowed_by(view, ref.name)
        case Kind.SECRET:
            yield from view.canaries
        case Kind.POD:
            pod = view.pods.get(ref.name)
            if pod:
                yield from _selecting(view, pod)


def _shadowed_by(view: NamespaceView, name: str) -> Iterable[str]:
    deployment = view.deployments.get(name)
    if deployment and SHADOW_OF in deployment.labels:
        yield deployment.labels[SHADOW_OF]
        if _FROM in deployment.annotations:  # it may close a circle of several Services, or open it
            yield from (target for target, each in _marked(view) if _FROM in each.annotations)


def _marked(view: NamespaceView) -> Iterable[tuple[str, Deployment]]:
    for target, names in view.canaries.items():
        for name in names:
            yield target, view.deployments[name]


def _fed_by(view: NamespaceView, service: str) -> Iterable[str]:
    """Targets of the canaries whose annotation takes their endpoints from `service`."""
    wanted = f"service/{service}"
    for target, deployment in _marked(view):
        if deployment.annotations.get(_FROM, "").strip() == wanted:
            yield target


def _selecting(view: NamespaceView, pod: Pod) -> Iterable[str]:
    for target, deployment in _marked(view):
        if matches(deployment.spec.selector, pod.labels):
            yield target


def _offer(world: World, target: NamespacedName, rules: Rules) -> Offer | None:
    view = world.view(target.namespace)
    service = view.services.get(target.name)
    return offer_of(view, service, expose_all=rules.expose_all) if service else None


def _service_plan(
    view: NamespaceView, target: NamespacedName, offer: Offer | None, owner_of: OwnerOf, rules: Rules
) -> ServicePlan:
    service = view.services.get(target.name)
    ports = offer.ports if offer else ()
    canaries = canaries_of(view, target, ports, rules)
    backends, kept = separate(view, service, ports, canaries) if service else ({}, {})
    hosts, conflicts = _won(target, offer, owner_of)
    unfit = service_refusal(target, service, offer)
    statuses = {
        c.deployment.name: judge(target, c, unfit, kept.get(c.deployment.name), rules.now) for c in canaries
    }
    statuses = refuse_excess_samples(canaries, statuses)
    statuses = refuse_excess_conditions(canaries, statuses)
    routes = tuple(
        RoutePlan(
            service=target,
            port=http.port.port,
            protocol=http.protocol,
            domains=_domains(hosts, http.port.port, first=index == 0),
            endpoints=live(backends[http.port.port]),
            mirrors=mirrors_for(http.port.port, canaries, statuses),
        )
        for index, http in enumerate(ports)
    )
    shadows = tuple(statuses[name] for name in sorted(statuses))
    problems = (*(offer.problems if offer else ()), *conflicts)
    return ServicePlan(routes, shadows, problems, expiry(canaries, rules.now))


def _won(target: NamespacedName, offer: Offer | None, owner_of: OwnerOf) -> tuple[list[str], list[Problem]]:
    won, lost = [], []
    for host in offer.hosts if offer else ():
        owner = owner_of(host)
        if owner is None or owner == target:
            won.append(host)
        else:
            lost.append(host_conflict(target, host, owner))
    return won, lost


def _domains(hosts: Iterable[str], port: int, *, first: bool) -> tuple[str, ...]:
    """A Service's first HTTP port has its bare hosts and every port that is none of its own; an exact
    ``host:port`` of another port wins over ``host:*`` in Envoy (VirtualHost.domains)."""
    patterns = ("{0}", "{0}:*") if first else ("{0}:{1}",)
    return tuple(sorted(pattern.format(host, port) for host in hosts for pattern in patterns))
