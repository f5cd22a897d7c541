"""The pipeline without its loop: changes in, the next published state out.

The stages are, in order: `World.apply`; for each affected Service its part of the plan and its resources; the
snapshot. An error with one Service is a bug of ours. That Service keeps its last configuration, and no other
is affected (`core.engine`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.base.latency import Latencies, Latency
from xds_server.core.conditions import Condition, Reason, Subject, about
from xds_server.core.door import Door
from xds_server.core.engine import Engine
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.layers import NO_FILE, Layer
from xds_server.core.ledger import Entry
from xds_server.core.misplaced_labels import MisplacedLabels
from xds_server.core.objects import Kind, Ref
from xds_server.core.plan import NOTHING, Plan, ServicePlan
from xds_server.core.resolve import Resolver
from xds_server.core.services import problem_of
from xds_server.core.turns import SLICE_S, Turns
from xds_server.core.unknown_labels import UnknownLabels
from xds_server.core.world import Change, World, key_of, namespace_of
from xds_server.translate.blame import blame
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig
from xds_server.translate.translate import frame, translate_service
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import SHORT_NAMES


@dataclass(frozen=True, slots=True)
class Published:
    """One consistent state of everything that is served and shown. `moved` are the targets whose part of the
    plan changed; `errors` are the bugs of ours, by the object that keeps its last configuration. `expires` is
    when the state has to be built again without a change, in seconds since the epoch; `timed` is whether it
    depends on the clock, which can be set back, too. `unfinished_s` is in how many seconds a namespace with
    pending changes has its next turn."""

    world: World
    plan: Plan
    snapshot: Snapshot
    moved: frozenset[NamespacedName] = frozenset()
    errors: Mapping[Subject, Exception] = field(default_factory=lambda: MappingProxyType({}))
    expires: float | None = None
    timed: bool = False
    unfinished_s: float | None = None

    def conditions(self) -> list[Condition]:
        """Every condition, sorted."""
        return sorted({*self.plan.conditions(), *self.other_conditions()})

    def other_conditions(self) -> list[Condition]:
        """The conditions that are not of one Service's part of the plan."""
        namespaces = [each for problems in self.plan.namespaces.values() for each in problems]
        reported = [each for problems in self.world.reports.values() for each in problems]
        failed = [_internal(subject, error) for subject, error in self.errors.items()]
        too_large = [each for key, size in self.snapshot.too_large().items() for each in _large(key, size)]
        return [*namespaces, *reported, *failed, *too_large]


def _subject(key: Ref | str | tuple[str, str]) -> Subject:
    """The subject of a change with this key."""
    return about(key) if isinstance(key, Ref) else Subject(name=str(key))


def _internal(subject: Subject, error: Exception) -> Condition:
    message = (
        f"An internal error ({type(error).__name__}) prevented the update. The last valid configuration stays"
        " in use until the object changes. The log has the stack; please report it."
    )
    return Condition(subject, Reason.INTERNAL_ERROR, message)


class Stage(StrEnum):
    """The stages of a change, in order: it waits for the rest of its burst and for the previous step; the
    stages of `Pipeline.step`; it is handed to the streams."""

    GATHER = "gather"
    APPLY = "apply"
    BUILD = "build"
    COMBINE = "combine"
    COMMIT = "commit"


class Stages:
    """The durations of each stage, failures included."""

    def __init__(self) -> None:
        self._took = {stage: Latencies() for stage in Stage}

    def note(self, stage: Stage, seconds: float) -> None:
        """Add a duration."""
        self._took[stage].note(seconds)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Measure the block as the stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note(stage, time.perf_counter() - began)

    def view(self) -> Mapping[Stage, Latency]:
        """The durations so far."""
        return {stage: took.view() for stage, took in self._took.items()}


def _large(key: ResourceKey, size: int) -> Iterator[Condition]:
    """The conditions of a resource that does not fit into a response."""
    for owner in blame(key.name):
        message = (
            f"Its {SHORT_NAMES[key.type_url]} resource {key.name} has {size:,} bytes, more than a response"
            " may have, and is sent to no Envoy; give it fewer endpoints, hosts, or conditions."
        )
        yield problem_of(owner.service, Reason.TOO_LARGE, message)


class Built(NamedTuple):
    """What is built for one Service: its part of the plan, its entry in the namespace's budget, and its
    resources, by which Envoys log the requests whose ids end in `tail`."""

    plan: ServicePlan = NOTHING
    entry: Entry | None = None
    resources: tuple[Resource, ...] = ()
    tail: str = ""


class Pipeline:
    """Owns the incremental stages. `step` may run off the event loop, one call at a time. `door` filters
    changes, and may be replaced until the first step. `gateway` and `tails` may be replaced at any time, and
    count from the next step on. `tails` says which ids of requests Envoys log, by shadowed Service."""

    def __init__(
        self,
        *,
        gateway_port: int,
        gateway: GatewayConfig = TRANSPARENT,
        route_configs: tuple[str, ...] = (),
        expose_all: bool,
        installation: Layer = NO_FILE,
        cluster_domains: tuple[str, ...] = CLUSTER_DOMAINS,
        door: Door | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.door = door or Door()
        self._misplaced_labels = MisplacedLabels()
        self._unknown_labels = UnknownLabels()
        self._world = World()
        self._clock = clock
        self._turns: Turns | None = None
        self._resolver = Resolver(
            expose_all=expose_all, installation=installation, cluster_domains=cluster_domains
        )
        self._built: Engine[NamespacedName, Built] = Engine(self._build, Built())
        self._failed_changes: dict[Ref | str | tuple[str, str], Exception] = {}
        self._changed: dict[str, set[Ref]] = {}
        self._dirty: set[NamespacedName] = set()
        self._moved: dict[NamespacedName, Built] = {}
        self._timed: dict[NamespacedName, ServicePlan] = {}
        self._plan = Plan()
        self._gateway_port = gateway_port
        self._route_configs = route_configs
        self.gateway = gateway
        self.tails: Mapping[NamespacedName, str] = MappingProxyType({})
        self._tails: Mapping[NamespacedName, str] = self.tails
        self._framed: GatewayConfig | None = None
        self._frame: dict[ResourceKey, Resource] = {}
        self._snapshot = Snapshot()
        self.stages = Stages()

    def step(self, changes: Iterable[Change], *, now: float) -> Published:
        """Take `changes` and return the state at `now`, in seconds since the epoch."""
        with self.stages.timed(Stage.APPLY):
            for ref in self._apply(list(changes)):
                self._changed.setdefault(namespace_of(ref), set()).add(ref)
        with self.stages.timed(Stage.BUILD):
            self._resolver.at(now)
            gateway = self.gateway  # it may be replaced meanwhile
            self._dirty |= self._resolver.on(gateway.gateways(self._route_configs))
            self._dirty |= self._resampled()
            self._dirty |= {target for target, plan in self._timed.items() if not plan.holds(now)}
            self._moved = {**self._make(), **self._moved}
        with self.stages.timed(Stage.COMBINE):
            self._reframe(gateway)
            self._combine(self._moved)
            moved, self._moved = self._moved, {}
        return Published(
            world=self._world,
            plan=self._plan,
            snapshot=self._snapshot,
            moved=frozenset(t for t, before in moved.items() if before.plan != self._built.get(t).plan),
            errors=self._errors(),
            expires=min((p.expires for p in self._timed.values() if p.expires is not None), default=None),
            timed=bool(self._timed),
            unfinished_s=self._unfinished_s(),
        )

    def _reframe(self, gateway: GatewayConfig) -> None:
        """Update the listeners and the route configurations."""
        if gateway is self._framed:
            return
        wanted = {each.key: each for each in frame(self._gateway_port, gateway, self._route_configs)}
        self._snapshot = self._snapshot.updated(wanted.values(), self._frame.keys() - wanted.keys())
        self._framed, self._frame = gateway, wanted

    def _errors(self) -> dict[Subject, Exception]:
        services = {
            Subject(Kind.SERVICE, target.namespace, target.name): error
            for target, error in self._built.errors.items()
        }
        namespaces = {
            Subject(Kind.NAMESPACE, "", name): error for name, error in self._resolver.failed.items()
        }
        return {
            **services,
            **namespaces,
            **{_subject(key): error for key, error in self._failed_changes.items()},
        }

    def _apply(self, changes: list[Change]) -> frozenset[Ref]:
        """Apply changes to the world. A change that raises an error is left out."""
        try:
            admitted = self.door.admit(changes)
            self._world, changed = self._world.apply(admitted)
            if reports := [*self._misplaced_labels.note(admitted), *self._unknown_labels.note(admitted)]:
                self._world, _ = self._world.apply(reports)
        except Exception as error:  # noqa: BLE001 - the boundary: each change is then tried alone
            if len(changes) == 1:
                self._failed_changes[key_of(changes[0])] = error
                return frozenset()
            return frozenset().union(*(self._apply([change]) for change in changes))
        if self._failed_changes:
            for change in changes:
                self._failed_changes.pop(key_of(change), None)
        return changed

    def _make(self) -> dict[NamespacedName, Built]:
        """Build what is due, as far as its namespace has its turn; return the previous state of what moved.
        This includes what becomes due meanwhile: Services with a host that changed hands, or with another
        part of the budget."""
        moved: dict[NamespacedName, Built] = {}
        began: dict[str, float] = {}
        while due := {name for name in self._waiting() if self._has_turn(name, began)}:
            for namespace in due & self._changed.keys():
                self._look(namespace)
            made: list[NamespacedName] = []
            for target in sorted(target for target in self._dirty if target.namespace in due):
                if self._has_turn(target.namespace, began):
                    made += self._make_one(target, moved)
            entries = {target: self._built.get(target).entry for target in made}
            self._dirty |= self._resolver.settle(entries)
        if self._turns is None:  # the first step builds everything before anything is served
            self._turns = Turns()
        return moved

    def _waiting(self) -> set[str]:
        """The namespaces with pending work."""
        return {*self._changed, *(target.namespace for target in self._dirty)}

    def _look(self, namespace: str) -> None:
        """Find the Services that the changes of a namespace affect."""
        began = self._clock()
        changed = self._changed.pop(namespace)
        self._dirty |= self._resolver.update(namespace, self._world.view(namespace), changed)
        self._charge(namespace, began)

    def _charge(self, namespace: str, began: float) -> None:
        if self._turns is not None:
            now = self._clock()
            self._turns.charge(namespace, now - began, now)

    def _make_one(self, target: NamespacedName, moved: dict[NamespacedName, Built]) -> list[NamespacedName]:
        """Build one Service, together with those with which it exchanges hosts. Its namespace pays for all of
        them."""
        began = self._clock()
        self._dirty.discard(target)
        try:
            claimed = self._resolver.claim(target, self._built.get(target).plan)
        except Exception as error:  # noqa: BLE001 - the boundary, as around building
            self._built.fail(target, error)
            return []
        together = sorted({target, *claimed.exchanged}) if claimed.exchanged else [target]
        for name, before in self._built.update(together).items():
            moved.setdefault(name, before)
        self._dirty |= claimed.others
        self._charge(target.namespace, began)
        return together

    def _has_turn(self, namespace: str, began: dict[str, float]) -> bool:
        """Whether the namespace may continue in this step. `began` is what each had spent before it."""
        if self._turns is None:
            return True
        now = self._clock()
        spent = self._turns.spent(namespace, now)
        return self._turns.wait(namespace, now) <= 0 and spent - began.setdefault(namespace, spent) <= SLICE_S

    def _unfinished_s(self) -> float | None:
        waiting = self._waiting()
        if not waiting or self._turns is None:
            return None
        now = self._clock()
        return min(self._turns.wait(namespace, now) for namespace in waiting)

    def _build(self, target: NamespacedName, before: Built) -> Built:
        plan, entry = self._resolver.plan(target, before.plan)
        tail = self._tails.get(target, "")
        if plan == before.plan and tail == before.tail:
            return before if entry == before.entry else before._replace(entry=entry)
        return Built(plan, entry, translate_service(plan, tail), tail)

    def _resampled(self) -> set[NamespacedName]:
        """The Services of which Envoys are to log other requests than before."""
        before, self._tails = self._tails, self.tails
        if self._tails is before:
            return set()
        return {target for target, _ in before.items() ^ self._tails.items()}

    def _combine(self, moved: Mapping[NamespacedName, Built]) -> None:
        """Update the plan and the snapshot with the `moved` Services; the values are their previous state."""
        try:
            self._snapshot = self._updated(moved)
        except Exception as error:  # noqa: BLE001 - the boundary: each change is then tried alone
            for target, before in moved.items():
                if len(moved) == 1:
                    self._built.restore(target, before, error)
                else:
                    self._combine({target: before})
            return
        services = dict(self._plan.services)
        for target in moved:
            plan = self._built.get(target).plan
            services.pop(target, None)
            self._timed.pop(target, None)
            if plan != NOTHING:
                services[target] = plan
            if not (plan.since is None and plan.expires is None):
                self._timed[target] = plan
        self._plan = Plan(services, self._resolver.namespaces)

    def _updated(self, moved: Mapping[NamespacedName, Built]) -> Snapshot:
        upserts: list[Resource] = []
        removals: list[ResourceKey] = []
        for target, before in moved.items():
            known = {resource.key: resource for resource in before.resources}
            upserts.extend(r for r in self._built.get(target).resources if known.pop(r.key, None) != r)
            removals.extend(known)
        return self._snapshot.updated(upserts, removals)
