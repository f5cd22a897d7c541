"""Owns what Envoys report of shadowed Services: the loads of their clusters, and a `Record` of each shadow.

Envoys are asked for the clusters of shadowed Services only. Which these are follows from what each step
moved, so Services without a shadow cost nothing.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from xds_server.base.ids import NamespacedName, NodeId, StreamId
from xds_server.base.recent import remembered
from xds_server.core.conditions import Reason
from xds_server.core.plan import NOTHING, ShadowStatus, State
from xds_server.core.verdict.record import Record, Requests
from xds_server.core.verdict.traffic import Observed, Traffic, traffic
from xds_server.server.isolation import alone
from xds_server.server.pipeline import Published
from xds_server.server.stopping import Stopped, Stopping, Stops
from xds_server.server.traffic_states import TrafficStates
from xds_server.server.views import View
from xds_server.server.watched import Watched, watched_of
from xds_server.xds.loads import INTERVALS_S, NO_LOAD, RECENT, Load, Loads
from xds_server.xds.routing_state import Subscriptions, routes_to, same_for
from xds_server.xds.servicer import Client
from xds_server.xds.stream_events import Acked, Event, StreamClosed

_NO_NODES: Final = frozenset[NodeId]()
_EARLY: Final = 2
"""Intervals after the start of a shadow in which no mirrored request means nothing."""

_OBSERVING: Final = "observing"
_NONE: Final = frozenset[str]()
_MOST_VIEWS: Final = 64


class Envoys(Protocol):
    """The connected Envoys, as `FleetServer` has them."""

    def clients(self) -> list[Client]: ...
    def client(self, stream: StreamId, /) -> Client | None: ...
    def ask_for_loads(self) -> None: ...


class Changed(NamedTuple):
    """The requests of a shadow are in another state, and have been for some time. `first` says that this is
    the first report about a shadow that the process found at its start."""

    canary: NamespacedName
    service: str
    state: Traffic
    message: str
    first: bool


class Seen(NamedTuple):
    """What there is to report after a look."""

    changed: list[Changed]
    stopped: list[Stopped]
    late: list[Stopping]


class _Totals(NamedTuple):
    """Requests to the primary and mirrored requests since Envoys were first asked."""

    primary: Load
    mirrored: Load


class Observer:
    """What this replica's Envoys report. `attach` it to them first. `clock` is the clock of the event loop in
    seconds; `wall` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        intervals_s: Sequence[float] = INTERVALS_S,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.loads = Loads(intervals_s)
        self.stops = Stops()
        self._clock = clock
        self._wall = wall
        self._envoys: Envoys | None = None
        self._marked: dict[NamespacedName, frozenset[NamespacedName]] = {}
        self._services: dict[NamespacedName, Mapping[NamespacedName, Watched]] = {}
        self._clusters: dict[str, dict[NamespacedName, frozenset[str]]] = {}
        self._of_view: dict[frozenset[str] | None, frozenset[str]] = {}
        self._records: dict[NamespacedName, Record] = {}
        self._counted: dict[NamespacedName, dict[NamespacedName, _Totals]] = {}
        self._since: dict[NamespacedName, float] = {}
        self._initial: set[NamespacedName] = set()
        self._states = TrafficStates()
        self._shown: dict[NamespacedName, tuple[Traffic, str]] = {}

    def attach(self, envoys: Envoys) -> None:
        """Observe these Envoys."""
        self._envoys = envoys

    def stepped(self, before: Published | None, after: Published) -> None:
        """Follow a step, at the cost of what it moved."""
        moved = after.moved if before else after.plan.services.keys()
        were = {canary: each for target in moved for canary, each in self._of(target).items()}
        changed = []
        for target in moved:
            with alone(_OBSERVING, f"Service {target}"):
                if self._follow(target, after):
                    changed.append(target)
        if not changed:
            return
        self._of_view.clear()
        self.loads.want(self.wanted(View()))
        for target in changed:
            self._recount(target)
        now_are = {canary: each for target in moved for canary, each in self._of(target).items()}
        self._begin([canary for canary, each in now_are.items() if were.get(canary) != each], before is None)
        if before is not None:
            self._end([each for canary, each in were.items() if canary not in now_are], before)
        if self._envoys is not None:
            self._envoys.ask_for_loads()

    def _of(self, target: NamespacedName) -> Mapping[NamespacedName, Watched]:
        return self._services.get(target, {})

    def _begin(self, canaries: Iterable[NamespacedName], initial: bool) -> None:  # noqa: FBT001 - named
        """Mirroring to these canaries begins, or follows another policy from now on."""
        for canary in canaries:
            self._since[canary] = self._clock()
            self.stops.cancel(canary)
            if initial:
                self._initial.add(canary)

    def _end(self, ended: Iterable[Watched], before: Published) -> None:
        clients = self._envoys.clients() if self._envoys else []
        for watched in ended:
            canary = watched.canary
            self._states.forget(canary)
            self._shown.pop(canary, None)
            self._initial.discard(canary)
            del self._since[canary]
            plan = before.plan.services.get(NamespacedName(canary.namespace, watched.service), NOTHING)
            for status in plan.shadows:
                if status.canary == canary.name:
                    self.stops.begin(watched, status, clients, now=self._clock())

    @property
    def watched(self) -> Mapping[NamespacedName, Watched]:
        """The shadows that Envoys are to mirror requests to, by canary."""
        return {canary: each for found in self._services.values() for canary, each in found.items()}

    def wanted(self, view: View) -> frozenset[str]:
        """The clusters of a view whose loads Envoys are to report."""
        return remembered(
            self._of_view, view.namespaces, lambda: self._clusters_in(view.namespaces), most=_MOST_VIEWS
        )

    def _clusters_in(self, namespaces: frozenset[str] | None) -> frozenset[str]:
        seen = self._clusters.keys() if namespaces is None else namespaces & self._clusters.keys()
        return _NONE.union(*(each for namespace in seen for each in self._clusters[namespace].values()))

    def record(self, canary: NamespacedName) -> Record | None:
        """The record of one shadow, without the loads since the last call of `records`."""
        return self._records.get(canary)

    def records(self) -> Mapping[NamespacedName, Record]:
        """The record of each shadow, by canary. A record lasts as long as the workload has its label,
        whatever the state of the shadow."""
        for target in self._services:
            with alone(_OBSERVING, f"Service {target}"):
                self._count(target)
        return self._records

    # --- what happens to the requests -------------------------------------------------------------------

    async def look(self) -> Seen:
        """Look at what Envoys have reported; once an interval. Other tasks run in between."""
        now, clients = self._clock(), self._envoys.clients() if self._envoys else []
        mirroring = await self._mirroring(clients)
        hearing = _Hearing.of(self.loads, clients, now)
        recent, changed = self.loads.recent(now), []
        for canary, watched in self.watched.items():
            nodes = mirroring.get(canary, _NO_NODES)
            with alone(_OBSERVING, canary):
                record = self._records[canary]
                record.envoys, record.silent = nodes, nodes & hearing.silent
                found = self._state(watched, nodes, hearing, recent, now)
                if found is None:
                    self._shown.pop(canary, None)
                    continue
                self._shown[canary] = found
                if self._states.note(canary, found[0]):
                    changed.append(Changed(canary, watched.service, *found, first=canary in self._initial))
                    self._initial.discard(canary)
        return Seen(changed, *self.stops.wait(now))

    async def _mirroring(self, clients: Iterable[Client]) -> dict[NamespacedName, frozenset[NodeId]]:
        """The Envoys that mirror requests, by canary. Envoys in the same state are looked at once."""
        groups: dict[Hashable, tuple[Subscriptions, list[NodeId]]] = {}
        for client in clients:
            key = same_for(client.subscriptions) or client.stream
            groups.setdefault(key, (client.subscriptions, []))[1].append(client.node)
        found: dict[NamespacedName, frozenset[NodeId]] = {}
        for subscriptions, nodes in groups.values():
            for canary, watched in self.watched.items():
                if any(routes_to(subscriptions, port.hosts, port.mirrored) for port in watched.ports):
                    found[canary] = found.get(canary, _NO_NODES).union(nodes)
            await asyncio.sleep(0)
        return found

    def _state(
        self,
        watched: Watched,
        nodes: frozenset[NodeId],
        hearing: "_Hearing",
        recent: Mapping[str, Load],
        now: float,
    ) -> tuple[Traffic, str] | None:
        """The state of a shadow's requests, or None while it is too early to tell."""
        mirrored = _sum([recent.get(port.mirrored, NO_LOAD) for port in watched.ports])
        age = (now - self._since[watched.canary]) / self.loads.interval_s()
        if age < _EARLY and not mirrored.issued:
            return None
        if nodes and not nodes & (hearing.heard | hearing.silent):
            return None
        return traffic(
            Observed(
                primary=_sum([recent.get(port.primary, NO_LOAD) for port in watched.ports]),
                mirrored=mirrored,
                share=watched.share,
                capped=watched.capped or age <= RECENT + 1,  # some counts are from before the change
                envoys=len(nodes),
                silent=sorted(nodes & hearing.silent),
                seconds=RECENT * self.loads.interval_s(),
            )
        )

    def shown(self, shadow: ShadowStatus) -> ShadowStatus:
        """The state of a shadow with what is known of its requests."""
        canary = NamespacedName(shadow.namespace, shadow.canary)
        if shadow.state is State.ACTIVE:
            state, message = self._shown.get(canary, (None, ""))
            if state is None:
                return shadow
            return replace(shadow, reason=Reason(state), message=f"{message} {shadow.message}")
        stopping = self.stops.get(canary)
        if stopping is None:
            return shadow
        return replace(shadow, message=f"{shadow.message} {stopping.message(self._clock())}")

    def unmarked(self, there: Collection[NamespacedName]) -> list[ShadowStatus]:
        """The shadows that are stopping and whose workloads are not among those that `there` are."""
        return [
            replace(
                each.before,
                state=State.STOPPING,
                reason=Reason.STOPPING,
                message=f"The workload was deleted, or its label removed. {each.message(self._clock())}",
            )
            for canary, each in self.stops.all()
            if canary not in there
        ]

    def note(self, event: Event) -> list[Stopped]:
        """Follow an event of a stream. Returns the shadows that have stopped with it."""
        if not self.stops or self._envoys is None:
            return []
        if isinstance(event, StreamClosed):
            self.stops.closed(event.stream, now=self._clock())
        elif isinstance(event, Acked) and (client := self._envoys.client(event.stream)):
            return self.stops.answered(client)
        return []

    # --- the records ------------------------------------------------------------------------------------

    def _follow(self, target: NamespacedName, after: Published) -> bool:
        """Follow what happened to one Service. Returns whether other clusters are wanted of it."""
        plan = after.plan.services.get(target, NOTHING)
        if not plan.shadows and target not in self._marked:  # the usual case
            return False
        self._keep_records(target, frozenset(NamespacedName(s.namespace, s.canary) for s in plan.shadows))
        known, watched = self._services.get(target, {}), watched_of(target, plan)
        if watched == known:
            return False
        self._count(target)  # the loads of what is no longer wanted will be forgotten
        clusters = self._clusters.setdefault(target.namespace, {})
        if watched:
            self._services[target] = watched
            clusters[target] = _NONE.union(*(each.clusters for each in watched.values()))
            return True
        del self._services[target], clusters[target]
        if not clusters:
            del self._clusters[target.namespace]
        return True

    def _keep_records(self, target: NamespacedName, marked: frozenset[NamespacedName]) -> None:
        for canary in self._marked.get(target, frozenset()) - marked:
            if self._records[canary].service == target.name:  # otherwise it shadows another Service now
                del self._records[canary]
        for canary in marked:
            known = self._records.get(canary)
            if known is None or known.service != target.name:
                self._records[canary] = Record(canary=canary, service=target.name, since=self._wall())
        if marked:
            self._marked[target] = marked
        else:
            self._marked.pop(target, None)

    def _count(self, target: NamespacedName) -> None:
        """Add to the records what was reported since the last call."""
        counted = self._counted.get(target, {})
        for canary, watched in self._of(target).items():
            record, total, before = self._records.get(canary), self._totals(watched), counted[canary]
            if total != before and record is not None and record.service == target.name:
                record.primary = record.primary.plus(_since(before.primary, total.primary))
                record.mirrored = record.mirrored.plus(_since(before.mirrored, total.mirrored))
            counted[canary] = total

    def _recount(self, target: NamespacedName) -> None:
        """Begin at the sums as they are now."""
        watched = self._services.get(target, {})
        self._counted.pop(target, None)
        if watched:
            self._counted[target] = {canary: self._totals(each) for canary, each in watched.items()}

    def _totals(self, watched: Watched) -> _Totals:
        return _Totals(
            _sum([self.loads.total(port.primary) for port in watched.ports]),
            _sum([self.loads.total(port.mirrored) for port in watched.ports]),
        )


class _Hearing(NamedTuple):
    """The Envoys that report, and those that had the time to and do not. An Envoy opens its stream of load
    reports some seconds after the other."""

    heard: frozenset[NodeId]
    silent: frozenset[NodeId]

    @classmethod
    def of(cls, loads: Loads, clients: Iterable[Client], now: float) -> "_Hearing":
        reporters, oldest = loads.reporters(), now - RECENT * loads.interval_s()
        # The last report may have followed a question with a longer interval.
        known = oldest - loads.longest_s
        heard = {each.node for each in reporters if each.last is not None and each.last >= known}
        begin = {each.node for each in reporters if each.since >= oldest}
        begin |= {each.node for each in clients if each.opened_at >= oldest}
        silent = {each.node for each in clients} - heard - begin
        return cls(frozenset(heard), frozenset(silent))


def _sum(loads: Sequence[Load]) -> Load:
    total, *others = loads or [NO_LOAD]
    for each in others:
        total = total.plus(each)
    return total


def _since(before: Load, after: Load) -> Requests:
    return Requests(
        after.issued - before.issued,
        after.succeeded - before.succeeded,
        after.failed - before.failed,
        after.dropped - before.dropped,
    )
