"""The composition root: opens the source and the servers, and runs the pipeline's loop between them."""

import asyncio
import importlib.metadata
import json
import signal
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from xds_server.base.aio import Debounce, Mailbox, spawn
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import NamespacedName
from xds_server.base.lag import LoopLag
from xds_server.base.memory import expect_many_objects, keep_what_is_there, without_collections
from xds_server.core.notes import notes
from xds_server.core.plan import Plan, State
from xds_server.core.problems import Problem
from xds_server.core.source import Source
from xds_server.core.world import Awaiting, Change, Report, World, key_of
from xds_server.server.ads_server import FleetServer
from xds_server.server.attribution import concerned, unknown_routes
from xds_server.server.config import ServeConfig
from xds_server.server.csds import CsdsServicer
from xds_server.server.explain import explain
from xds_server.server.facts import Facts
from xds_server.server.gateway_file import follow_gateway
from xds_server.server.http import Readiness
from xds_server.server.identity import Clients
from xds_server.server.listeners import Addresses, Servers
from xds_server.server.pipeline import Pipeline, Published, Stage
from xds_server.server.prometheus import Metrics
from xds_server.server.status_api import Explanation, ServerState, StatusServicer, Told
from xds_server.server.stream_log import StreamLog
from xds_server.server.wiring import open_door, open_feedback, open_source
from xds_server.translate.gateway import GatewayConfig
from xds_server.xds.delivery import Delivery
from xds_server.xds.fleet import Fleet
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event
from xds_server.xds.types import ROUTE, SHORT_NAMES
from xds_server.xds.variants import versions

if TYPE_CHECKING:
    from xds_server.kube.feedback import KubeFeedback

VERSION: Final = importlib.metadata.version("xds-shadow")
_AT_MOST_S = 0.5
_DEBOUNCE = partial(Debounce, quiet=0.02, at_most=_AT_MOST_S, few=4, lately=0.25)
"""A burst of changes is one push. The Pods of a canary complete what its label began."""

_CLOCK_CHECK_S = 60.0

FEEDBACK: Final = "feedback"
"""Origin of the problems with telling in the cluster what became of labels."""

_START_S = 10.0
GATEWAY_FILE: Final = "gateway"
"""Origin of the problems with the gateway file."""

_FEEDBACK_PAUSE_S = 30.0
_TOLD = 50
"""The last ones, to be shown."""

_Word = TypeVar("_Word", bound=StrEnum)
_log = structlog.get_logger("xds_shadow.app")


def _ends_a_wait(change: Change) -> bool:
    return isinstance(change, Awaiting) and not change.waiting


class Intake:
    """Where sources put what they observe; the pipeline's loop takes it from here."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[Change] = Mailbox(key_of, _ends_a_wait)
        self.complete = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        self.mailbox.put(changes)

    def synced(self) -> None:
        self.complete.set()


class App:
    """One control plane. `run` ends when it is cancelled or `stop` is called."""

    def __init__(self, config: ServeConfig, *, source: Source | None = None) -> None:
        self._config = config
        self._source = source or open_source(config.source, config.policy)
        self._intake = Intake()
        self._debounce = _DEBOUNCE()
        self._pipeline = Pipeline(
            gateway_port=config.gateway_port,
            gateway=config.gateway,
            route_configs=config.route_configs,
            expose_all=config.expose_all,
            installation=config.installation,
            cluster_domains=config.source.cluster_domains,
        )
        self._serving = FleetServer(
            identifier=f"xds-shadow/{VERSION}",
            observe=self._observe,
            converged=self._converged,
            tls=config.security.tls,
            clients=Clients(config.security.clients),
        )
        self._published: Published | None = None
        self._started = self._committed = self._built = time.time()
        self._unbuilt: float | None = None
        self._delivery = Delivery()
        self._told: deque[Told] = deque(maxlen=_TOLD)
        self._stream_log = StreamLog()
        self._failures = 0
        self._feedback = open_feedback(config.source, config.events, self._report_feedback)
        self._stopping = asyncio.Event()
        self._servers = Servers(
            Addresses(config.xds_address, config.admin_address, config.http_address),
            version=VERSION,
            tls=config.security.tls is not None,
            drain_s=config.drain_s,
            page=config.page,
            page_hosts=config.page_hosts,
        )
        self.fleet = Fleet()
        self.ready = asyncio.Event()
        self._lag = LoopLag()

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        return self._servers.addresses

    def stop(self) -> None:
        """Begin an orderly shutdown; a second call does nothing more."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            SourceError: the source cannot be opened.
            XdsShadowError: an address cannot be listened on.
        """
        status = StatusServicer(state=self.server_state, explain=self.explain, fleet=self.fleet)
        running = self._servers.running(
            self._serving,
            status,
            CsdsServicer(self.fleet),
            readiness=self.readiness,
            metrics=Metrics(self.facts).text,
        )
        failed: XdsShadowError | None = None
        try:
            async with asyncio.TaskGroup() as group, running:
                self._pipeline.door = open_door(
                    self.addresses,
                    loopback=self._config.source.loopback_endpoints,
                    own=self._config.own_addresses,
                    namespace=self._config.namespace,
                )
                tasks = [
                    spawn(group, "source", self._source.run(self._intake)),
                    spawn(group, "pipeline", self._run_pipeline()),
                    spawn(group, "lag", self._watch_lag()),
                ]
                if self._feedback:
                    tasks.append(spawn(group, "feedback", _keep_running(self._feedback)))
                if file := self._config.gateway_file:
                    following = follow_gateway(
                        file, self._config.gateway, self._take_gateway, port=self._config.gateway_port
                    )
                    tasks.append(spawn(group, "gateway", following))
                await self._stopping.wait()
                for task in tasks:
                    task.cancel()
        except* XdsShadowError as errors:
            failed = _first(errors)
        if failed is not None:  # not above: Python 3.11.2 puts what is raised in `except*` into a group
            raise failed

    async def _run_pipeline(self) -> None:
        with without_collections(at_most=_START_S):
            await self._intake.complete.wait()
            await self._step(self._intake.mailbox.take_now())
        while True:
            await self._step(await self._changes())

    async def _changes(self) -> list[Change]:
        """The next changes; none if a shadow's time has come first."""
        published = self._published
        if published is None or not (published.timed or published.unfinished_s is not None):
            return await self._intake.mailbox.take(self._debounce)
        # No shorter than a burst, or a step that fails would be tried without a pause; no longer than a
        # minute, as the clock may be set meanwhile, forward or back.
        expires = _CLOCK_CHECK_S if published.expires is None else published.expires - time.time()
        wait = min(max(expires, _AT_MOST_S), _CLOCK_CHECK_S)
        if published.unfinished_s is not None:
            wait = min(wait, published.unfinished_s)
        try:
            async with asyncio.timeout(wait):
                return await self._intake.mailbox.take(self._debounce)
        except TimeoutError:
            return self._intake.mailbox.take_now()

    async def _watch_lag(self) -> None:
        await self.ready.wait()  # until then nobody waits
        await self._lag.run()

    async def _step(self, changes: list[Change]) -> None:
        began, arrived = time.monotonic(), self._intake.mailbox.taken_since
        if changes and arrived is not None:
            self._pipeline.stages.note(Stage.GATHER, began - arrived)
        # What a failed step was for is in the next one.
        seen = self._unbuilt = self._unbuilt or arrived or began
        before = self._published
        try:
            published = await asyncio.to_thread(self._pipeline.step, changes, now=time.time())
            changed = before is None or before.snapshot.versions() != published.snapshot.versions()
            if changed:
                self._commit(published.snapshot, seen=None if before is None else seen)
        except Exception:  # noqa: BLE001 - a bug in building must not end the serving
            self._failures += 1
            _log.exception("building failed; the last good configuration stays", changes=len(changes))
            return
        self._log_errors(published)
        self._published = published
        self._built, self._unbuilt = time.time(), None
        if changed:
            self._committed = time.time()
            _log.info(
                "configuration changed",
                services=[str(target) for target in sorted(published.moved)][:10],
                changed=len(published.moved),
                took_ms=round((time.monotonic() - began) * 1000, 1),
            )
        try:
            self._tell(before, published)
        except Exception:  # noqa: BLE001 - a bug in reporting must not end the serving
            _log.exception("what has changed could not be reported")
        if before is None:
            await self._become_ready()

    def _log_errors(self, published: Published) -> None:
        """Each once, with its stack; `status` says which Services keep their last good configuration."""
        known = self._published.errors if self._published else {}
        for subject, error in published.errors.items():
            if known.get(subject) is not error:
                self._failures += 1
            if str(known.get(subject)) != str(error):
                _log.error(
                    "an object could not be built; it keeps its last good configuration",
                    subject=subject,
                    exc_info=error,
                )

    def _commit(self, snapshot: Snapshot, *, seen: float | None) -> None:
        """Serve it. The first one is not followed: it comes of no change, and Envoys that wait for it began
        to wait when they liked."""
        if seen is not None:
            self._delivery.committed(self._serving.generation + 1, seen=seen)
        with self._pipeline.stages.timed(Stage.COMMIT):
            self._serving.commit(snapshot)

    def _converged(self, generation: int, answered: bool) -> None:  # noqa: FBT001 - as Convergence calls it
        self._delivery.converged(generation, answered=answered, at=time.monotonic())

    def _tell(self, before: Published | None, after: Published) -> None:
        """In the log, and as Events: only what moved."""
        known = (before.world, before.plan) if before else (World(), Plan())
        found = notes(known, (after.world, after.plan), after.moved)
        for note in found:
            subject = f"{note.subject.namespace}/{note.subject.name}"
            _log.info(
                "told", subject=subject, kind=note.subject.kind, reason=note.reason, message=note.message
            )
            told = Told(time.time(), f"{note.subject.kind} {subject}", note.reason, note.message)
            self._told.appendleft(told)
        if self._feedback:
            self._feedback.put(found, initial=before is None)

    def _take_gateway(self, gateway: GatewayConfig, problems: tuple[Problem, ...]) -> None:
        self._pipeline.gateway = gateway
        self._intake.put([Report(GATEWAY_FILE, problems)])  # which also begins a step

    def _report_feedback(self, problems: tuple[Problem, ...]) -> None:
        self._intake.put([Report(FEEDBACK, problems)])

    async def _become_ready(self) -> None:
        await self._serving.set_serving(True)
        await self._servers.set_serving(True)
        if self._config.ready_file:
            write_ready_file(self._config.ready_file, self.addresses)
        self.ready.set()
        _log.info("ready")

    def _observe(self, event: Event) -> None:
        now = time.time()
        self.fleet.apply(event, now=now)
        self._stream_log.note(event, now=now)

    def server_state(self) -> ServerState:
        """What `status` shows."""
        published, source = self._published, self._source.health()
        found = concerned(self.fleet.refusals(), published.plan if published else Plan())
        there_are = published.snapshot.of(ROUTE).resources if published else {}
        unknown = unknown_routes(self.fleet.asking(), there_are) if there_are else ()
        return ServerState(
            version=VERSION,
            started=self._started,
            committed=self._committed,
            build_failures=self._failures,
            source=source.message,
            outage_s=source.outage_s,
            versions={
                SHORT_NAMES[type_url]: version
                for type_url, version in (versions(published.snapshot) if published else {}).items()
            },
            shadows=published.plan.shadows() if published else [],
            gateways=published.plan.gateways() if published else {},
            problems=sorted([*(published.problems() if published else ()), *found.problems(), *unknown]),
            notices=published.notices() if published else [],
            objections=found.shadows,
            changes=tuple(self._told),
        )

    def readiness(self) -> Readiness:
        """What ``/readyz`` says; as the gRPC health service, no more from when it shuts down."""
        if self._stopping.is_set():
            return Readiness(ready=False, message="shutting down")
        return Readiness(self.ready.is_set(), self._source.health().message)

    def facts(self) -> Facts:
        """What the metrics show."""
        published, source = self._published, self._source.health()
        shadows = published.plan.shadows() if published else []
        return Facts(
            version=VERSION,
            ready=self.ready.is_set(),
            outage_s=source.outage_s,
            committed=self._committed,
            built=self._built,
            behind_s=self._behind(),
            stages={stage.value: took for stage, took in self._pipeline.stages.view().items()},
            delivered=self._delivery.view(time.monotonic()),
            build_failures=self._failures,
            leader=self._feedback is not None and self._feedback.leads,
            watches={kind.value: counts for kind, counts in source.watches.items()},
            outages={kind.value: seconds for kind, seconds in source.outages.items()},
            silence={kind.value: seconds for kind, seconds in source.silence.items()},
            shadows=_count((shadow.state for shadow in shadows), State),
            feedback=self._feedback.outcomes() if self._feedback else {},
            lag=self._lag.view(),
            traffic=self.fleet.traffic(),
        )

    def _behind(self) -> float:
        """For how long the eldest change has been waiting that is not in what is served."""
        waiting = [since for since in (self._unbuilt, self._intake.mailbox.since) if since is not None]
        return time.monotonic() - min(waiting) if waiting else 0.0

    def explain(self, name: NamespacedName) -> Explanation | None:
        """What `explain` shows of the canary of that key; None if it is not marked."""
        published = self._published
        explanation = explain(published, name) if published else None
        if published is None or explanation is None:
            return None
        found = concerned(self.fleet.refusals(), published.plan)
        return replace(explanation, objections=found.shadows.get(name, []))


def _count(found: Iterable[_Word], words: Iterable[_Word]) -> dict[str, int]:
    """How often each of `words` was found, 0 included: a metric that exists can be alerted on."""
    counts = Counter(found)
    return {word.value: counts[word] for word in words}


async def _keep_running(feedback: "KubeFeedback") -> None:
    """Events are a convenience: what goes wrong with writing them must not end the serving."""
    while True:
        try:
            await feedback.run()
        except Exception:  # noqa: BLE001 - see above
            _log.exception("writing Events failed; starting over")
        await asyncio.sleep(_FEEDBACK_PAUSE_S)


def write_ready_file(path: Path, addresses: Addresses) -> None:
    """Say in a file that the server is ready, and where; the file appears complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({f"{name}_address": str(each) for name, each in addresses._asdict().items()}))
    part.replace(path)


async def serve(config: ServeConfig) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process without more ado."""
    expect_many_objects()
    app = App(config)
    loop = asyncio.get_running_loop()

    def stop(signum: signal.Signals) -> None:
        _log.info("stopping; again to stop at once", signal=signum.name)
        app.stop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop, each)
    settling = asyncio.create_task(_settle(app), name="xds-shadow/settle")
    try:
        await app.run()
    finally:
        settling.cancel()


async def _settle(app: App) -> None:
    await app.ready.wait()
    keep_what_is_there()


def _first(group: BaseExceptionGroup[XdsShadowError]) -> XdsShadowError:
    """The error to show of a group: the first, as the others mostly follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
