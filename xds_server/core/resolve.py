"""Resolves the world to the plan.

`resolve` is the specification: the plan of a whole world. `Resolver` gives the same plan incrementally, one
Service at a time. `affected` lists why a change touches a Service's part of the plan.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import ENDPOINTS_FROM
from xds_server.core.backends import Backend, CanaryEndpoints, live
from xds_server.core.canaries import Canary, canary_of
from xds_server.core.conditions import Condition, Reason
from xds_server.core.domains import closed_domains, routed_domains
from xds_server.core.engine import Engine
from xds_server.core.holding import held, held_offer
from xds_server.core.hosts import CLUSTER_DOMAINS, UNCHANGED, Claimed, HostTable
from xds_server.core.keys import SHADOW_OF
from xds_server.core.layers import NO_FILE, Layer
from xds_server.core.ledger import Entry, Ledger, cut, weigh
from xds_server.core.limits import Limits
from xds_server.core.objects import EndpointSlice, Kind, Pod, Ref, Workload, workload_key
from xds_server.core.plan import NOTHING, Endpoint, Plan, PortPlan, ServicePlan
from xds_server.core.ports import HttpPort
from xds_server.core.scene import Rules, Scene, keys_of, may_select
from xds_server.core.separation import Separated, separate
from xds_server.core.services import Offer, host_conflict, offer_of, problem_of
from xds_server.core.states import Judged, ends, excess, judge, service_rejection, status
from xds_server.core.world import NOWHERE, NamespaceView, World

OwnerOf = Callable[[str], NamespacedName | None]
_NO_RULES = Rules()
_NO_PLAN = Plan()
_MAX_TRACED: Final = 256
"""With more changes than this in a namespace, all of its Services are planned again, because that is faster
than finding the affected ones."""


def resolve(world: World, rules: Rules = _NO_RULES, before: Plan = _NO_PLAN) -> Plan:
    """The plan of `world` after the plan `before`. A canary that stayed in live traffic is excluded only when
    another endpoint is ready."""
    scenes = {name: Scene(name, view, rules) for name, view in world.namespaces.items()}
    targets = {
        NamespacedName(name, target)
        for name, scene in scenes.items()
        for target in (*scene.view.services, *scene.view.canaries)
    }
    hosts = HostTable(rules.cluster_domains)
    offers = {
        target: offer_in(scenes[target.namespace], target, before.services.get(target, NOTHING))
        for target in targets
    }
    for target, offer in offers.items():
        if offer:
            hosts.claim(target, offer.age, offer.claims)
    whole = {
        target: plan_service(
            scenes[target.namespace],
            target,
            offers[target],
            hosts.owner,
            before.services.get(target, NOTHING),
        )
        for target in sorted(targets)
    }
    ledger = Ledger()
    for name, scene in scenes.items():
        ledger.settle(
            name,
            scene.limits.namespace_memory,
            {
                target: entry_of(offers[target], plan)
                for target, plan in whole.items()
                if target.namespace == name
            },
        )
    plans = {
        target: cut(plan, ledger.allowed(target), scenes[target.namespace].limits.namespace_memory)
        for target, plan in whole.items()
    }
    found = {target: plan for target, plan in plans.items() if plan != NOTHING}
    return Plan(found, {name: wrong for name, scene in scenes.items() if (wrong := scene.problems())})


def entry_of(offer: Offer | None, plan: ServicePlan) -> Entry | None:
    """The entry of a Service in its namespace's budget."""
    return Entry(offer.age, weigh(plan)) if offer and plan.ports else None


def offer_in(scene: Scene, target: NamespacedName, before: ServicePlan) -> Offer | None:
    """What the Service of that name asks for; None if there is no such Service."""
    service = scene.view.services.get(target.name)
    if service is None:
        return None
    if scene.unknown(service):
        return held_offer(service, before)
    return offer_of(
        scene.view,
        service,
        expose_all=scene.rules.expose_all,
        limits=scene.limits,
        host_rejected=scene.host_rejected,
        served=bool(before.ports),
        gateways=scene.rules.gateways,
        routed_on=before.ports[0].gateways if before.ports else (),
        cluster_domains=scene.rules.cluster_domains,
    )


def plan_service(
    scene: Scene, target: NamespacedName, offer: Offer | None, owner_of: OwnerOf, before: ServicePlan
) -> ServicePlan:
    """One Service's part of the plan."""
    service = scene.view.services.get(target.name)
    if service and (unknown := scene.unknown(service)):
        return held(target, unknown, scene.intents(target.name), owner_of, before)
    ports = offer.ports if offer else ()
    limits, now = scene.limits, scene.rules.now
    intents = scene.intents(target.name)
    counted = [intent for intent in intents if intent.name in scene.marked][: limits.shadows]
    canaries = [canary_of(scene, intent, ports) for intent in counted]
    surplus = [Canary(intent, CanaryEndpoints({})) for intent in intents if intent not in counted]
    apart = Separated({}, {})
    if service:
        apart = separate(scene, service, ports, canaries, before.kept)
    unfit = service_rejection(target, service, offer)
    rejections = {each.name: unfit for each in canaries} if unfit else apart.kept
    judged = judge(
        target, canaries, rejections, ports, limits=limits, now=now, unbounded=scene.namespace_unknown
    )
    states = dict(judged.states)
    for each in surplus:
        states[each.name] = status(target, each, unfit or excess(target, limits), now)
    hosts, conflicts = _won(target, offer, owner_of, scene.rules.cluster_domains)
    planned, surplus_endpoints = _ports(
        target,
        ports,
        hosts,
        gateways=offer.gateways if offer else (),
        backends=apart.backends,
        judged=judged,
        limits=limits,
    )
    if service and planned and (closed := closed_domains(service, ports, scene.rules.cluster_domains)):
        planned = (replace(planned[0], closed=closed), *planned[1:])
    since, expires = ends(canaries, now)
    return ServicePlan(
        ports=planned,
        shadows=tuple(states[name] for name in sorted(states)),
        conditions=(*(offer.conditions if offer else ()), *conflicts, *surplus_endpoints),
        kept=frozenset(apart.kept),
        since=since,
        expires=expires,
    )


def _ports(
    target: NamespacedName,
    ports: Sequence[HttpPort],
    hosts: Sequence[str],
    *,
    gateways: tuple[str, ...],
    backends: Mapping[str, Sequence[Backend]],
    judged: Judged,
    limits: Limits,
) -> tuple[tuple[PortPlan, ...], list[Condition]]:
    planned, problems = [], []
    for index, http in enumerate(ports):
        endpoints = live(backends[http.name])
        if len(endpoints) > limits.endpoints:
            problems.append(_too_many_endpoints(target, http, endpoints, limits))
            endpoints = endpoints[: limits.endpoints]
        planned.append(
            PortPlan(
                service=target,
                name=http.name,
                number=http.port.port,
                protocol=http.protocol,
                domains=routed_domains(hosts, http.port.port, first=index == 0),
                endpoints=endpoints,
                mirrors=judged.mirrors[http.name],
                routes=judged.routes[http.name],
                gateways=gateways,
            )
        )
    return tuple(planned), problems


def _too_many_endpoints(
    target: NamespacedName, http: HttpPort, endpoints: Sequence[Endpoint], limits: Limits
) -> Condition:
    message = (
        f"Port {http.port.port} has {len(endpoints)} endpoints, and endpoints-max is {limits.endpoints}; the"
        " others get no requests."
    )
    return problem_of(target, Reason.TOO_MANY_ENDPOINTS, message)


def _won(
    target: NamespacedName, offer: Offer | None, owner_of: OwnerOf, cluster_domains: Sequence[str]
) -> tuple[list[str], list[Condition]]:
    won, lost = [], []
    for host in offer.hosts if offer else ():
        owner = owner_of(host)
        if owner is None or owner == target:
            won.append(host)
        else:
            lost.append(host_conflict(target, host, owner, cluster_domains))
    return won, lost


class Resolver:
    """Plans a changing world incrementally. `update` takes the changes of one namespace and returns the
    Services that have to be planned again. `plan` plans one of them. `settle` returns the Services for which
    the namespace's budget changed the result. `failed` are internal errors that concern a whole namespace,
    and `namespaces` the conditions of a Namespace's settings, both by its name."""

    def __init__(
        self,
        *,
        expose_all: bool = False,
        installation: Layer = NO_FILE,
        cluster_domains: tuple[str, ...] = CLUSTER_DOMAINS,
    ) -> None:
        self._rules = Rules(installation, expose_all, cluster_domains=cluster_domains)
        self._scenes: dict[str, Scene] = {}
        self._hosts = HostTable(cluster_domains)
        self._ledger = Ledger()
        self._before = NOTHING
        self.failed: dict[str, Exception] = {}
        self.namespaces: dict[str, tuple[Condition, ...]] = {}
        self.offers: Engine[NamespacedName, Offer | None] = Engine(self._read, None)

    def at(self, now: float) -> None:
        """Set the time, in seconds since the epoch."""
        self._rules = self._rules._replace(now=now)

    def on(self, gateways: tuple[str, ...]) -> set[NamespacedName]:
        """Set the gateways, sorted; return the Services whose part of the plan may change."""
        if gateways == self._rules.gateways:
            return set()
        self._rules = self._rules._replace(gateways=gateways)
        return {
            NamespacedName(name, target)
            for name, scene in self._scenes.items()
            for target in (*scene.view.services, *scene.view.canaries)
        }

    def update(self, namespace: str, view: NamespaceView, changed: Collection[Ref]) -> set[NamespacedName]:
        """Set a namespace's view, which differs from the previous one in the `changed` objects; return the
        Services whose part of the plan may change, apart from hosts."""
        before = self._scenes.get(namespace) or Scene(namespace, NOWHERE, self._rules)
        pods = {ref.name for ref in changed if ref.kind is Kind.POD}
        after = self._scenes[namespace] = Scene(namespace, view, self._rules, before, pods)
        targets = self._affected(before, after, changed)
        self._note_problems(after)
        if view.empty:
            del self._scenes[namespace]
        return targets

    def _note_problems(self, scene: Scene) -> None:
        self.namespaces = {name: each for name, each in self.namespaces.items() if name != scene.name}
        try:
            wrong = scene.problems()
        except Exception as error:  # noqa: BLE001 - the boundary: its Services are planned anyway
            self.failed[scene.name] = error
            return
        if wrong:
            self.namespaces[scene.name] = wrong

    def _affected(self, before: Scene, after: Scene, changed: Collection[Ref]) -> set[NamespacedName]:
        self.failed.pop(after.name, None)
        try:
            return affected(before, after, changed)
        except Exception as error:  # noqa: BLE001 - the boundary: all of the namespace may be affected
            self.failed[after.name] = error
            names = {name for each in (before, after) for name in (*each.view.services, *each.view.canaries)}
            return {NamespacedName(after.name, name) for name in names}

    def claim(self, target: NamespacedName, before: ServicePlan) -> Claimed:
        """Read what a Service with the plan `before` asks for; return the Services whose hosts changed. They
        have to be planned in the same step, because Envoy rejects a host in two virtual hosts."""
        self._before = before
        if not self.offers.update([target]):
            return UNCHANGED
        offer = self.offers.get(target)
        age, claims = (offer.age, offer.claims) if offer else (("", "", ""), ())
        return self._hosts.claim(target, age, claims)

    def plan(self, target: NamespacedName, before: ServicePlan) -> tuple[ServicePlan, Entry | None]:
        """The plan of one Service after the plan `before`, and its entry in the namespace's budget, which
        counts the whole plan.

        Raises:
            Exception: the Service could not be read, which is an internal error.
        """
        if error := self.offers.errors.get(target):
            raise error
        scene, offer = self._scene(target.namespace), self.offers.get(target)
        whole = plan_service(scene, target, offer, self._hosts.owner, before)
        budget = scene.limits.namespace_memory
        return cut(whole, self._ledger.allowed(target), budget), entry_of(offer, whole)

    def settle(self, entries: Mapping[NamespacedName, Entry | None]) -> set[NamespacedName]:
        """Set the entries of Services; return the Services for which the budget now has another result."""
        by_namespace: dict[str, dict[NamespacedName, Entry | None]] = {}
        for target, entry in entries.items():
            by_namespace.setdefault(target.namespace, {})[target] = entry
        moved: set[NamespacedName] = set()
        for namespace, changes in by_namespace.items():
            try:
                budget = self._scene(namespace).limits.namespace_memory
                moved |= self._ledger.settle(namespace, budget, changes)
            except Exception as error:  # noqa: BLE001 - the boundary: the previous result stays
                self.failed[namespace] = error
        return moved

    def _read(self, target: NamespacedName, _before: Offer | None) -> Offer | None:
        return offer_in(self._scene(target.namespace), target, self._before)

    def _scene(self, namespace: str) -> Scene:
        """The scene as of its last `update`."""
        known = self._scenes.get(namespace) or Scene(namespace, NOWHERE, self._rules)
        if known.rules is not self._rules:
            known = self._scenes[namespace] = Scene(namespace, known.view, self._rules, known)
        return known


def affected(before: Scene, after: Scene, changed: Collection[Ref]) -> set[NamespacedName]:
    """The Services of a namespace whose part of the plan can depend on one of the `changed` objects, apart
    from hosts."""
    if before.view.empty or len(changed) > _MAX_TRACED:
        views = (before.view, after.view)
        names = {name for view in views for name in (*view.services, *view.canaries)}
    else:
        names = {name for ref in changed for scene in (before, after) for name in _touched(scene, ref)}
    return {NamespacedName(after.name, name) for name in names}


def _touched(scene: Scene, ref: Ref) -> Iterable[str]:
    view = scene.view
    match ref.kind:
        case Kind.NAMESPACE:
            yield from view.services
            yield from view.canaries
        case Kind.SERVICE:
            yield ref.name
            yield from _fed_by(scene, ref.name)
        case Kind.ENDPOINT_SLICE:
            obj = view.get(ref)
            if isinstance(obj, EndpointSlice):
                yield obj.service
                yield from _fed_by(scene, obj.service)
        case Kind.SECRET:
            yield from view.canaries
        case Kind.POD:
            pod = view.pods.get(ref.name)
            if pod:
                yield from _selecting(scene, pod)
                yield from scene.listing(keys_of(pod))
        case kind:
            yield from _shadowed_by(scene, workload_key(kind, ref.name))


def _shadowed_by(scene: Scene, name: str) -> Iterable[str]:
    view = scene.view
    workload = view.workloads.get(name)
    if workload and SHADOW_OF in workload.labels:
        yield workload.labels[SHADOW_OF]
        yield from scene.listing(scene.keys_of(workload))  # its Pods are excluded from all of these
        if scene.awaits(workload):
            yield from (name for name, service in view.services.items() if may_select(service, workload))
        # The annotation can close a loop of several Services, or break it.
        if ENDPOINTS_FROM.key in workload.annotations:
            yield from (target for target, each in _marked(view) if ENDPOINTS_FROM.key in each.annotations)


def _marked(view: NamespaceView) -> Iterable[tuple[str, Workload]]:
    for target, names in view.canaries.items():
        for name in names:
            yield target, view.workloads[name]


def _fed_by(scene: Scene, service: str) -> Iterable[str]:
    """The targets of canaries whose endpoints come from `service`."""
    for target, workload in _marked(scene.view):
        if ENDPOINTS_FROM.key in workload.annotations and scene.intent(workload).endpoints_from == service:
            yield target


def _selecting(scene: Scene, pod: Pod) -> Iterable[str]:
    for target, workload in _marked(scene.view):
        if workload.key in scene.marked and pod.name in scene.pods_of(workload):
            yield target
