"""Reports what the control plane does: log lines, Kubernetes Events, `status`, `explain` and the metrics.

The pipeline's loop (`app`) calls it after each step. Nothing here changes what is served, and an error here
does not end the serving.
"""

import asyncio
import importlib.metadata
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog

from xds_server.base.ids import NamespacedName
from xds_server.base.lag import LoopLag
from xds_server.core.conditions import Condition, Reason, Severity, Subject
from xds_server.core.objects import WORKLOADS, Kind, Ref, workload_key
from xds_server.core.plan import NOTHING, Plan, ShadowStatus, State
from xds_server.core.source import Source
from xds_server.core.transitions import subject_of, transitions
from xds_server.core.verdict.judgement import Verdict
from xds_server.core.verdict.traffic import Traffic
from xds_server.core.workload_names import named_by
from xds_server.core.world import World
from xds_server.server.attribution import attributed, unknown_routes
from xds_server.server.explain import explain
from xds_server.server.facts import Explanation, Facts, ServerState
from xds_server.server.observer import Changed, Observer
from xds_server.server.pairs import Pairs
from xds_server.server.pipeline import Published, Stages
from xds_server.server.stopping import Stopped, Stopping, lost_envoys
from xds_server.server.stream_log import StreamLog
from xds_server.server.verdict_changes import VerdictChanges
from xds_server.server.verdict_report import VerdictReport
from xds_server.xds.delivery import Delivery
from xds_server.xds.fleet import Fleet
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event
from xds_server.xds.types import ROUTE, SHORT_NAMES
from xds_server.xds.variants import versions

if TYPE_CHECKING:
    from xds_server.kube.event_recorder import EventRecorder

VERSION: Final = importlib.metadata.version("xds-shadow")

_CHANGES: Final = 50
"""Reported conditions that `status` and the page still show."""

_LOGGED_SERVICES: Final = 10
_GOOD: Final = (Traffic.MIRRORING, Traffic.NO_TRAFFIC)
_MIRRORED: Final = "Requests are mirrored."
"""The Event has no figures, so that the same is reported again as the same Event."""

NEVER: Final = Published(World(), Plan(), Snapshot())
"""The state before the first step."""

_log = structlog.stdlib.get_logger(__name__)


class FirstSeen:
    """When each condition began."""

    def __init__(self) -> None:
        self._since: dict[Condition, float] = {}

    def step(self, before: Published, after: Published, now: float) -> None:
        """Note the conditions that began or ended with a step, at a cost of what moved."""
        self._replace(before.other_conditions(), after.other_conditions(), now)
        for target in after.moved:
            was, now_is = (each.plan.services.get(target, NOTHING).conditions for each in (before, after))
            self._replace(was, now_is, now)

    def dated(self, found: Iterable[Condition]) -> list[Condition]:
        """The conditions, each with its `since`."""
        return [each._replace(since=self._since.get(each)) for each in found]

    def _replace(self, before: Iterable[Condition], after: Iterable[Condition], now: float) -> None:
        kept = frozenset(after)
        for gone in frozenset(before) - kept:
            self._since.pop(gone, None)
        for each in kept:
            self._since.setdefault(each, now)


class Reporter:
    """Holds the last published state and what is known beside it. `behind` says for how many seconds the
    oldest change has waited that is not served yet."""

    def __init__(
        self,
        *,
        source: Source,
        fleet: Fleet,
        stages: Stages,
        delivery: Delivery,
        observer: Observer,
        pairs: Pairs,
        events: "EventRecorder | None",
        behind: Callable[[], float],
    ) -> None:
        self._source = source
        self._fleet = fleet
        self._stages = stages
        self._delivery = delivery
        self._observer = observer
        self._pairs = pairs
        self._events = events
        self._behind = behind
        self._published: Published | None = None
        self._started = self._committed = self._built = time.time()
        self._failures = 0
        self._since = FirstSeen()
        self.elsewhere: Callable[[NamespacedName], Awaitable[bool]] = _nowhere
        """Whether Envoys of another replica mirror to a canary."""
        self._held: dict[NamespacedName, Condition] = {}
        self._changes: deque[Condition] = deque(maxlen=_CHANGES)
        self._stream_log = StreamLog()
        self._verdicts = VerdictChanges()
        self.lag = LoopLag()
        self.ready = False

    def observe(self, event: Event) -> None:
        """Take an event of a stream."""
        now = time.time()
        self._fleet.apply(event, now=now)
        self._stream_log.note(event, now=now)
        try:
            for stopped in self._observer.note(event):
                self._report_stopped(stopped)
        except Exception:  # noqa: BLE001 - a bug in reporting must not end the serving
            _log.exception("reporting failed")

    def failed(self, changes: int) -> None:
        """A step raised the exception that is being handled."""
        self._failures += 1
        _log.exception("build failed", changes=changes)

    def stepped(self, after: Published, *, changed: bool, took_s: float) -> None:
        """Take the state after a step. `changed` says whether it has another configuration."""
        before, self._published = self._published, after
        self._built = time.time()
        self._log_errors(before or NEVER, after)
        if changed:
            self._committed = self._built
            _log.info(
                "configuration changed",
                services=[str(target) for target in sorted(after.moved)][:_LOGGED_SERVICES],
                changed=len(after.moved),
                took_ms=round(took_s * 1000, 1),
            )
        try:
            self._observer.stepped(before, after)
            self._pairs.stepped(before, after)
            self._report(before, after)
        except Exception:  # noqa: BLE001 - a bug in reporting must not end the serving
            _log.exception("reporting failed")

    def _log_errors(self, before: Published, after: Published) -> None:
        """Log each error of ours once, with its stack."""
        for subject, error in after.errors.items():
            if before.errors.get(subject) is not error:
                self._failures += 1
            if str(before.errors.get(subject)) != str(error):
                _log.error("object build failed", subject=str(subject), exc_info=error)

    def _report(self, before: Published | None, after: Published) -> None:
        known = before or NEVER
        self._since.step(known, after, time.time())
        found, shadows = self._transitions(known, after), _shadows(after)
        reported = []
        for each in found:
            canary = _canary(each.subject)
            if canary is not None and self._observer.stops.get(canary):
                self._held[canary] = each  # until it is true
                continue
            if canary is not None:
                self._held.pop(canary, None)
            _log_reported(each, shadows.get(each.subject[:3]))
            reported.append(each)
        self._put(reported, initial=before is None)

    def _put(self, found: Sequence[Condition], *, initial: bool = False) -> None:
        now = time.time()
        self._changes.extendleft(each._replace(since=now) for each in found)
        if self._events:
            self._events.put(found, initial=initial)

    async def watch(self) -> None:
        """Report what happens to the requests of shadows, once an interval of load reports."""
        while True:
            await asyncio.sleep(self._observer.loads.interval_s())
            try:
                seen = await self._observer.look()
                for changed in seen.changed:
                    if changed.state is not Traffic.NO_ENVOY or not await self.elsewhere(changed.canary):
                        self._report_traffic(changed)
                for stopped in seen.stopped:
                    self._report_stopped(stopped)
                for late in seen.late:
                    self._report_late(late)
            except Exception:  # noqa: BLE001 - a bug in reporting must not end the serving
                _log.exception("reporting failed")

    def _report_traffic(self, changed: Changed) -> None:
        message = _MIRRORED if changed.state is Traffic.MIRRORING else changed.message
        severity = Severity.INFO if changed.state in _GOOD else Severity.ERROR
        condition = self._about(changed.canary, Reason(f"Shadow{changed.state}"), message, severity)
        _log_reported(condition, self._shadow(changed.canary, changed.service))
        self._put([condition], initial=changed.first)

    def _report_stopped(self, stopped: Stopped) -> None:
        condition = self._held.pop(stopped.canary, None)
        if condition is None:
            return
        if stopped.lost:
            condition = condition._replace(message=f"{condition.message} {lost_envoys(stopped.lost)}")
        _log_reported(condition, self._shadow(stopped.canary, stopped.service))
        self._put([condition])

    def _report_late(self, late: Stopping) -> None:
        message = late.message(time.monotonic())
        condition = self._about(late.watched.canary, Reason.SHADOW_STOPPING, message, Severity.ERROR)
        _log_reported(condition, self._shadow(late.watched.canary, late.watched.service))
        self._put([condition])

    def _shadow(self, canary: NamespacedName, service: str) -> ShadowStatus | None:
        """The shadow, found without a look at other Services."""
        services = (self._published or NEVER).plan.services
        plan = services.get(NamespacedName(canary.namespace, service), NOTHING)
        found = (each for each in plan.shadows if each.canary == canary.name)
        return next(map(self._observer.shown, found), None)

    def _about(self, canary: NamespacedName, reason: Reason, message: str, severity: Severity) -> Condition:
        kind, name = named_by(canary.name)
        ref = Ref(kind, canary.namespace, name)
        return Condition(subject_of(ref, (self._published or NEVER).world), reason, message, severity)

    def _transitions(self, before: Published, after: Published) -> list[Condition]:
        """The conditions to report. If that fails for all targets at once, each is tried alone, so that an
        error of ours in one Service does not suppress the reports of others."""
        worlds = (before.world, before.plan), (after.world, after.plan)
        try:
            return transitions(*worlds, after.moved)
        except Exception:  # noqa: BLE001 - see above
            found: list[Condition] = []
            for target in sorted(after.moved):
                try:
                    found += transitions(*worlds, (target,))
                except Exception:  # noqa: BLE001 - see above
                    self._failures += 1
                    _log.exception("reporting failed", subject=f"Service {target}")
            return sorted(found)

    def shadows(self) -> list[ShadowStatus]:
        """Every shadow, with what is known of its requests; also those that have not stopped everywhere."""
        found = [self._observer.shown(each) for each in (self._published or NEVER).plan.shadows()]
        unmarked = self._observer.unmarked({NamespacedName(each.namespace, each.canary) for each in found})
        return (
            sorted([*found, *unmarked], key=lambda each: (each.namespace, each.canary)) if unmarked else found
        )

    def judged(self, report: VerdictReport) -> None:
        """Report the verdicts on active shadows that have changed."""
        try:
            self._report_verdicts(report)
        except Exception:  # noqa: BLE001 - a bug in reporting must not end the serving
            _log.exception("reporting failed")

    def _report_verdicts(self, report: VerdictReport) -> None:
        active = {(each.namespace, each.canary) for each in self.shadows() if each.state is State.ACTIVE}
        verdicts = [each for each in report.shadows if (each.namespace, each.canary) in active]
        for each in self._verdicts.note(verdicts, time.monotonic()):
            good = each.verdict is Verdict.NO_WORSE
            canary = NamespacedName(each.namespace, each.canary)
            severity = Severity.INFO if good else Severity.ERROR
            condition = self._about(canary, Reason(f"Shadow{each.verdict}"), each.message, severity)
            log, subject = _log.info if good else _log.warning, str(condition.subject)
            log("verdict changed", subject=subject, verdict=each.verdict.value, message=each.message)
            self._put([condition])

    def server_state(self) -> ServerState:
        """What `status` and the page show."""
        published, source = self._published or NEVER, self._source.health()
        nacks = attributed(self._fleet.nacks(), published.plan)
        there_are = published.snapshot.of(ROUTE).resources
        unknown = unknown_routes(self._fleet.route_subscriptions(), there_are) if there_are else ()
        of_services = (each for conditions in nacks.services.values() for each in conditions)
        return ServerState(
            version=VERSION,
            started=self._started,
            committed=self._committed,
            build_failures=self._failures,
            source=source.message,
            outage_s=source.outage_s,
            versions={
                SHORT_NAMES[type_url]: version
                for type_url, version in (versions(published.snapshot) if self._published else {}).items()
            },
            shadows=self.shadows(),
            gateways=published.plan.gateways(),
            conditions=sorted([*self._since.dated(published.conditions()), *of_services, *unknown]),
            nacks=nacks.canaries,
            changes=tuple(self._changes),
        )

    def explain(self, name: NamespacedName) -> Explanation | None:
        """What `explain` shows of the canary of that key; None if it is not marked."""
        published = self._published or NEVER
        found = explain(published, name)
        if found is None:
            return None
        nacks = attributed(self._fleet.nacks(), published.plan).canaries.get(name, [])
        return replace(
            found,
            shadow=self._observer.shown(found.shadow),
            conditions=self._since.dated(found.conditions),
            nacks=nacks,
        )

    def facts(self) -> Facts:
        """What the metrics show."""
        source, shadows = self._source.health(), self.shadows()
        return Facts(
            version=VERSION,
            ready=self.ready,
            outage_s=source.outage_s,
            committed=self._committed,
            built=self._built,
            behind_s=self._behind(),
            stages={stage.value: took for stage, took in self._stages.view().items()},
            delivered=self._delivery.view(time.monotonic()),
            build_failures=self._failures,
            leader=self._events is not None and self._events.leads,
            watches={kind.value: counts for kind, counts in source.watches.items()},
            outages={kind.value: seconds for kind, seconds in source.outages.items()},
            silence={kind.value: seconds for kind, seconds in source.silence.items()},
            shadows=_count((shadow.state for shadow in shadows), State),
            reasons=_count((shadow.reason for shadow in shadows), Reason),
            events=self._events.outcomes() if self._events else {},
            lag=self.lag.view(),
            traffic=self._fleet.traffic(),
            load_reports=self._observer.loads.counts(),
            access_logs=self._pairs.entries(),
        )


async def _nowhere(_: NamespacedName) -> bool:
    return False


def _shadows(after: Published) -> dict[tuple[str, ...], ShadowStatus]:
    """The shadows that moved, by kind, namespace and name of the workload."""
    services = (after.plan.services.get(target, NOTHING) for target in after.moved)
    return {(each.kind, each.namespace, each.name): each for found in services for each in found.shadows}


def _canary(subject: Subject) -> NamespacedName | None:
    """The key of the workload that a condition is about."""
    if subject.kind not in WORKLOADS:
        return None
    return NamespacedName(subject.namespace, workload_key(Kind(subject.kind), subject.name))


def _log_reported(condition: Condition, shadow: ShadowStatus | None) -> None:
    log = _log.warning if condition.severity is Severity.ERROR else _log.info
    subject, message = str(condition.subject), condition.message
    if condition.subject.kind == Kind.SERVICE:
        log("service condition reported", subject=subject, reason=condition.reason, message=message)
    elif shadow is None:
        log("shadow stopped", subject=subject, message=message)
    else:
        why = {"state": shadow.state.value, "reason": str(shadow.reason), "message": shadow.message}
        log("shadow state changed", subject=subject, **why)


def _count(found: Iterable[str], words: Iterable[StrEnum]) -> dict[str, int]:
    """How often each of `words` was found, 0 included: an alert needs the metric to exist."""
    counts = Counter(found)
    return {word.value: counts[word] for word in words}
