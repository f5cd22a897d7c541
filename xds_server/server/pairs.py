"""Makes pairs of what Envoys log, counts them in the records of shadows, and decides how many are logged.

Everything is known by the names of clusters: what an Envoy logs of a cluster that its view does not contain,
or that is no shadowed Service's, is counted and has no effect. Each replica joins and samples what its own
Envoys log. Replicas need not agree on a share: each counts the pairs that it expects by its own.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from math import inf
from sys import intern
from typing import Final, NamedTuple, Protocol

import structlog

from xds_server.base.ids import NamespacedName, StreamId
from xds_server.core.plan import NOTHING, PortPlan, ServicePlan
from xds_server.core.verdict import paths
from xds_server.core.verdict.joining import Answer, Ended, Entry, Joiner, Outcome, Shadow, Side
from xds_server.core.verdict.record import Record
from xds_server.core.verdict.shares import most_pairs, share_of, tail_for
from xds_server.core.verdict.templates import template_of
from xds_server.server.isolation import alone
from xds_server.server.pipeline import Published
from xds_server.server.views import View
from xds_server.translate import names
from xds_server.xds.upstream_requests import Entries, UpstreamRequest

_log = structlog.stdlib.get_logger(__name__)

TICK_S: Final = 2.0
_LATE_S: Final = 2.0
"""An entry waits for the timeout of a mirrored request, and so much longer: Envoy holds it for a second."""

_REPORTED_S: Final = 5.0
"""How long after a request Envoy's load report may count it, beyond its interval of 3 s in small fleets."""

_FEWEST_TICKS: Final = 3
_FLOW_TICKS: Final = 6
_STEADY_S: Final = 30.0
"""A share is enlarged only so long after its last change. It is reduced at once."""

_NEARLY: Final = 0.9
"""A request has lasted for its timeout if it has lasted for so much of it: two clocks measure that."""

_SERVER_ERROR: Final = 500
_COUNTING: Final = "counting"


class _Canary(NamedTuple):
    """Identifies a canary in the joiner. Each time its evidence begins, it has another `epoch`."""

    name: NamespacedName
    epoch: int


class _Cluster(NamedTuple):
    """A cluster whose requests are compared. `mirrored` is to whom a route mirrors, by its name; `limit_s` is
    how long a mirrored request may take."""

    service: NamespacedName
    window_s: float
    side: Side
    canary: _Canary | None
    mirrored: Mapping[str, tuple[Shadow, ...]]
    limit_s: float = inf


class _Expected(NamedTuple):
    """Pairs that should have arrived once the time is `at`."""

    at: float
    canary: _Canary
    pairs: float


@dataclass(slots=True)
class _Service:
    """A shadowed Service. `issued` are the mirrored requests by canary that were reported so far, and `flow`
    those that were reported at each of the last ticks. `tail` is which ids are logged, and `before` which
    were at the last tick."""

    window_s: float
    canaries: tuple[_Canary, ...]
    clusters: tuple[str, ...]
    issued: dict[NamespacedName, int] = field(default_factory=dict)
    flow: deque[int] = field(default_factory=lambda: deque(maxlen=_FLOW_TICKS))
    tail: str = ""
    before: str = ""
    changed_at: float = float("-inf")
    expected: deque[_Expected] = field(default_factory=deque)

    def rate(self) -> float:
        """Mirrored requests a second, lately; 0 if that is not known yet."""
        if len(self.flow) < _FEWEST_TICKS:
            return 0.0
        return sum(self.flow) / (len(self.flow) * TICK_S)


class Records(Protocol):
    """Who has the records: `records` are by canary, with the loads that were reported so far."""

    def records(self) -> Mapping[NamespacedName, Record]: ...


class Pairs:
    """`resample` is called when `tails` has changed. `clock` is a steady one, and `wall` gives seconds since
    the epoch."""

    def __init__(
        self,
        records: Records,
        resample: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._resample = resample
        self._clock, self._wall = clock, wall
        self._joiner = Joiner()
        self._outcomes: list[Outcome] = []
        self._services: dict[NamespacedName, _Service] = {}
        self._clusters: dict[str, _Cluster] = {}
        self._numbers = itertools.count(1)
        self._epochs: dict[NamespacedName, int] = {}
        self.tails: Mapping[NamespacedName, str] = {}
        """The last digits of the ids of requests that Envoys log, by Service. Without an entry it is all."""

        self._accepted = self._rejected = 0

    def entries(self) -> Entries:
        """What was logged so far."""
        return Entries(self._accepted, self._rejected, len(self._joiner))

    async def run(self) -> None:
        """Judge and count until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - a bug in counting must not end the serving
                _log.exception("counting of pairs failed")

    # --- what is compared ------------------------------------------------------------------------------

    def stepped(self, before: Published | None, after: Published) -> None:
        """Follow a step, at the cost of what it moved."""
        moved = after.moved if before else after.plan.services.keys()
        plans = {target: after.plan.services.get(target, NOTHING) for target in moved}
        followed = {
            target: plan
            for target, plan in plans.items()
            if target in self._services or any(port.mirrors for port in plan.ports)
        }
        replaced = self._with_other_pods(before, after) - followed.keys() if before else set()
        followed |= {target: after.plan.services.get(target, NOTHING) for target in replaced}
        records = self._records.records() if followed else {}
        for target, plan in followed.items():
            with alone(_COUNTING, f"Service {target}"):
                self._restart(target, plan, after, records)
                self._follow(target, plan)

    def _with_other_pods(self, before: Published, after: Published) -> set[NamespacedName]:
        """The shadowed Services whose Pods have changed, which may be with no change of an address."""
        found: set[NamespacedName] = set()
        for target in self._services:
            old, new = before.world.view(target.namespace), after.world.view(target.namespace)
            slices = old.slices.get(target.name), new.slices.get(target.name)
            if old is not new and (old.pods is not new.pods or slices[0] is not slices[1]):
                found.add(target)
        return found

    def _restart(
        self,
        target: NamespacedName,
        plan: ServicePlan,
        after: Published,
        records: Mapping[NamespacedName, Record],
    ) -> None:
        """Begin the evidence again where a template has changed."""
        for canary in {mirror.canary for port in plan.ports for mirror in port.mirrors}:
            name = NamespacedName(target.namespace, canary)
            template = template_of(after.world.view(target.namespace), target.name, plan, canary)
            record = records.get(name)
            if record is None or not template or record.template == template:
                continue
            if record.template:
                record.restart(template, self._wall())
                self._epochs[name] = next(self._numbers)
            record.template = template

    def _follow(self, target: NamespacedName, plan: ServicePlan) -> None:
        known = self._services.pop(target, None)
        for cluster in known.clusters if known else ():
            del self._clusters[cluster]
        mirrors = [mirror for port in plan.ports for mirror in port.mirrors]
        self._begin(known, {NamespacedName(target.namespace, mirror.canary) for mirror in mirrors})
        if not mirrors:
            if known and known.tail:
                self._set_tails()
            return
        window_s = max(mirror.treatment.timeout_ms for mirror in mirrors) / 1000 + _LATE_S
        clusters: dict[str, _Cluster] = {}
        for port in plan.ports:
            clusters |= self._clusters_of(port, window_s)
        self._clusters |= clusters
        canaries = {each.canary: None for each in clusters.values() if each.canary}
        found = self._services[target] = known or _Service(window_s, (), ())
        found.window_s, found.canaries, found.clusters = window_s, (*canaries,), (*clusters,)

    def _begin(self, known: _Service | None, canaries: Set[NamespacedName]) -> None:
        """Let the evidence of new canaries begin. Requests that were mirrored before the label was removed
        may still wait for their other half when it is set again."""
        for name in canaries - {each.name for each in (known.canaries if known else ())}:
            self._epochs[name] = next(self._numbers)

    def _clusters_of(self, port: PortPlan, window_s: float) -> dict[str, _Cluster]:
        canaries = {mirror.canary: self._canary(port, mirror.canary) for mirror in port.mirrors}
        if not canaries:
            return {}
        mirrored = {
            route.label: tuple((Side.CANARY, canaries[each]) for each in route.mirrored)
            for route in port.routes
        }
        live = _Cluster(port.service, window_s, Side.PRIMARY, None, mirrored)
        found = {names.cluster(port.service, port.name): live}
        limits = {mirror.canary: mirror.treatment.timeout_ms / 1000 for mirror in port.mirrors}
        for name, canary in canaries.items():
            shadow = live._replace(side=Side.CANARY, canary=canary, mirrored={}, limit_s=limits[name])
            found[names.shadow_cluster(port.service, port.name, name)] = shadow
            baseline = shadow._replace(side=Side.BASELINE)
            found[names.baseline_cluster(port.service, port.name, name)] = baseline
        return found

    def _canary(self, port: PortPlan, name: str) -> _Canary:
        canary = NamespacedName(port.service.namespace, name)
        return _Canary(canary, self._epochs[canary])

    # --- what Envoys log -------------------------------------------------------------------------------

    def take(self, stream: StreamId, view: View, requests: list[UpstreamRequest]) -> None:
        """Take what an Envoy logged, in order."""
        now = self._clock()
        for request in requests:
            cluster = self._clusters.get(request.cluster)
            if cluster is None or not _in_view(cluster.service.namespace, view):
                self._rejected += 1
                continue
            self._accepted += 1
            self._outcomes += self._joiner.add(
                _entry(cluster, request),
                stream=stream,
                scope=cluster.service,
                tenant=cluster.service.namespace,
                window_s=cluster.window_s,
                now=now,
            )

    def ended(self, stream: StreamId) -> None:
        """A stream has ended."""
        self._outcomes += self._joiner.close(stream)

    # --- what is counted -------------------------------------------------------------------------------

    def tick(self) -> None:
        """Judge the requests whose window has ended, and count them; adapt the shares."""
        now = self._clock()
        self._outcomes += self._joiner.expire(now)
        outcomes, self._outcomes = self._outcomes, []
        if not (self._services or outcomes):
            return
        records = self._records.records()
        for name in self._epochs.keys() - records.keys():
            del self._epochs[name]
        found: dict[_Canary, list[Outcome]] = {}
        for outcome in outcomes:
            _, canary = outcome.whose
            if isinstance(canary, _Canary):
                found.setdefault(canary, []).append(outcome)
        for canary, judged in found.items():
            if record := self._record(records, canary):
                with alone(_COUNTING, canary.name):
                    record.tally.add_all(judged)
        for target, service in self._services.items():
            with alone(_COUNTING, f"Service {target}"):
                self._measure(service, records, now)
        self._adapt(now)

    def _record(self, records: Mapping[NamespacedName, Record], canary: _Canary) -> Record | None:
        """The record that this is evidence for; None if it is about templates before."""
        return records.get(canary.name) if canary.epoch == self._epochs.get(canary.name) else None

    def _measure(self, service: _Service, records: Mapping[NamespacedName, Record], now: float) -> None:
        """Expect pairs of the mirrored requests that were reported since the last tick, and count those that
        should be here by now."""
        # In the interval of a change both shares may have counted.
        share = min(share_of(service.tail), share_of(service.before))
        service.before = service.tail
        total = 0
        for canary in service.canaries:
            record = records.get(canary.name)
            issued = record.mirrored.issued if record else 0
            known = service.issued.get(canary.name, 0)
            # It is smaller if the evidence began again.
            new = issued - known if issued >= known else issued
            service.issued[canary.name] = issued
            total += new
            if new:
                due = now + service.window_s + _REPORTED_S
                service.expected.append(_Expected(due, canary, new * share))
        service.flow.append(total)
        while service.expected and service.expected[0].at <= now:
            _, canary, pairs = service.expected.popleft()
            if record := self._record(records, canary):
                record.expected += pairs

    def _adapt(self, now: float) -> None:
        busy = sum(any(service.flow) for service in self._services.values())
        changed = False
        for service in self._services.values():
            wanted = tail_for(service.rate(), most_pairs(service.window_s, busy), service.tail)
            enlarged = len(wanted) < len(service.tail)
            if wanted == service.tail or (enlarged and now - service.changed_at < _STEADY_S):
                continue
            service.tail, service.changed_at, changed = wanted, now, True
        if changed:
            self._set_tails()

    def _set_tails(self) -> None:
        self.tails = {target: each.tail for target, each in self._services.items() if each.tail}
        self._resample()


def _in_view(namespace: str, view: View) -> bool:
    return view.namespaces is None or namespace in view.namespaces


def _entry(cluster: _Cluster, request: UpstreamRequest) -> Entry:
    answer = Answer(
        failed=_failed(request),
        code=request.code,
        grpc=request.grpc,
        latency_s=request.latency_s,
        size=request.size,
        content_type=intern(request.content_type),
        first_s=request.first_s,
        limit_s=cluster.limit_s,
        late=not request.complete and not request.broken and request.latency_s >= _NEARLY * cluster.limit_s,
    )
    if cluster.canary is not None:
        return Entry(request.id, cluster.side, answer, cluster.canary)
    group = intern(paths.group(request.method, request.path))
    mirrored = cluster.mirrored.get(request.route, ())
    return Entry(request.id, cluster.side, answer, group=group, mirrored=mirrored, ended=_ended(request))


def _failed(request: UpstreamRequest) -> bool:
    """A response that is a server's error, a gRPC error, or not complete. A canary has not answered in time
    then; of the primary see `_ended`."""
    return not request.complete or request.code >= _SERVER_ERROR or request.grpc not in (None, 0)


def _ended(request: UpstreamRequest) -> Ended:
    """How an attempt at the primary ended. Its requests have no timeout, so one that is neither complete nor
    broken was given up by its caller."""
    if not request.complete and not request.broken:
        return Ended.ABANDONED
    return Ended.NO_RESPONSE if not request.code else Ended.ANSWERED
