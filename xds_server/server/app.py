"""The composition root. It opens the object source and the servers, and runs the pipeline's loop between
them: gather changes, build, commit, report.
"""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from xds_server.base.aio import spawn
from xds_server.base.errors import XdsShadowError
from xds_server.base.files import replace_file
from xds_server.base.ids import NamespacedName
from xds_server.base.memory import keep_what_is_there, without_collections
from xds_server.core.conditions import Condition
from xds_server.core.source import Source
from xds_server.core.world import Change, Report
from xds_server.server.ads_server import FleetServer
from xds_server.server.api import Api
from xds_server.server.config import ServeConfig
from xds_server.server.csds import CsdsServicer
from xds_server.server.evidence_server import Exchange
from xds_server.server.facts import Facts
from xds_server.server.gateway_file import follow_gateway
from xds_server.server.http import Readiness
from xds_server.server.identity import Clients
from xds_server.server.intake import AT_MOST_S, DEBOUNCE, Intake
from xds_server.server.listeners import Addresses, Servers
from xds_server.server.observer import Observer
from xds_server.server.pairs import Pairs
from xds_server.server.pipeline import Pipeline, Published, Stage
from xds_server.server.prometheus import Metrics
from xds_server.server.reporting import NEVER, VERSION, Reporter
from xds_server.server.shadow_stats import ShadowStats
from xds_server.server.status_api import StatusServicer
from xds_server.server.verdicts import NO_PEERS, Records, Verdicts
from xds_server.server.wiring import open_door, open_events, open_source
from xds_server.translate.gateway import GatewayConfig
from xds_server.xds.delivery import Delivery
from xds_server.xds.fleet import Fleet
from xds_server.xds.loads import INTERVALS_S
from xds_server.xds.snapshot import Snapshot

if TYPE_CHECKING:
    from xds_server.kube.event_recorder import EventRecorder

_CLOCK_CHECK_S = 60.0
_RETRY_S = 5.0
"""Between the tries of a step that failed."""

EVENTS: Final = "events"
"""Origin of the conditions about writing Events."""

GATEWAY_FILE: Final = "gateway"
"""Origin of the conditions about the gateway file."""

PAIRS: Final = "pairs"
"""Origin of the reports that begin a step because Envoys are to log other requests."""

_START_S = 10.0

_EVENTS_PAUSE_S = 30.0
_log = structlog.stdlib.get_logger(__name__)


class App:
    """One control plane. `run` ends when it is cancelled or after `stop`. `intervals_s` are those of load
    reports."""

    def __init__(
        self,
        config: ServeConfig,
        *,
        source: Source | None = None,
        intervals_s: Sequence[float] = INTERVALS_S,
    ) -> None:
        self._config = config
        self._source = source or open_source(config.source, config.policy)
        self._intake = Intake()
        self._debounce = DEBOUNCE()
        self._pipeline = Pipeline(
            gateway_port=config.gateway_port,
            gateway=config.gateway,
            route_configs=config.route_configs,
            expose_all=config.expose_all,
            installation=config.installation,
            cluster_domains=config.source.cluster_domains,
        )
        self._events = open_events(config.source, config.events, self._report_events)
        self._delivery = Delivery()
        self._published: Published | None = None
        self._unbuilt: float | None = None
        self._unpublished: frozenset[NamespacedName] = frozenset()
        self.fleet = Fleet()
        self.observer = Observer(intervals_s=intervals_s)
        self.pairs = Pairs(self.observer, self._resample)
        self.reporter = Reporter(
            source=self._source,
            fleet=self.fleet,
            stages=self._pipeline.stages,
            delivery=self._delivery,
            observer=self.observer,
            pairs=self.pairs,
            events=self._events,
            behind=self._behind,
        )
        records = self.observer.records
        self._exchange = (
            Exchange(
                config.peers,
                name=config.replica,
                own=config.own_addresses,
                tls=config.security.tls,
                records=self._evidence,
                shadows=self.reporter.shadows,
            )
            if config.peers
            else None
        )
        self.verdicts = Verdicts(
            name=config.replica,
            records=records,
            shadows=self.reporter.shadows,
            peers=self._exchange.peers if self._exchange else NO_PEERS,
            observe=self.reporter.judged,
        )
        self.reporter.elsewhere = self._mirrored_elsewhere
        self.stats = ShadowStats(self.verdicts, self.reporter.shadows)
        self._serving = FleetServer(
            identifier=f"xds-shadow/{VERSION}",
            observe=self.reporter.observe,
            converged=self._converged,
            tls=config.security.tls,
            clients=Clients(config.security.clients),
            observer=self.observer,
            pairs=self.pairs,
        )
        self._servers = Servers(
            Addresses(config.xds_address, config.admin_address, config.http_address),
            version=VERSION,
            tls=config.security.tls is not None,
            drain_s=config.drain_s,
            page=config.page,
            page_hosts=config.page_hosts,
            api=config.api,
        )
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    @property
    def addresses(self) -> Addresses:
        """The addresses that it listens on."""
        peer = self._exchange.address if self._exchange else None
        return self._servers.addresses._replace(peer=peer)

    def stop(self) -> None:
        """Begin an orderly shutdown. A second call has no effect."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            SourceError: the source cannot be opened.
            XdsShadowError: an address cannot be listened on.
        """
        reporter = self.reporter
        status = StatusServicer(
            state=reporter.server_state, explain=reporter.explain, fleet=self.fleet, verdicts=self.verdicts
        )
        running = self._servers.running(
            self._serving,
            status,
            CsdsServicer(self.fleet),
            self.stats,
            api=Api(
                self.verdicts,
                known=self.ready.is_set,
                hosts={self._config.http_address.host.lower(), *self._config.page_hosts},
                cluster_domains=self._config.source.cluster_domains,
            ),
            readiness=self.readiness,
            metrics=self._scrape,
        )
        failed: XdsShadowError | None = None
        try:
            exchanging = self._exchange.running() if self._exchange else contextlib.nullcontext()
            async with asyncio.TaskGroup() as group, running, exchanging:
                self._pipeline.door = open_door(
                    filter(None, self.addresses),
                    loopback=self._config.source.loopback_endpoints,
                    own=self._config.own_addresses,
                    namespace=self._config.namespace,
                )
                tasks = [
                    spawn(group, "source", self._source.run(self._intake)),
                    spawn(group, "pipeline", self._run_pipeline()),
                    spawn(group, "lag", self._watch_lag()),
                    spawn(group, "shadows", self.reporter.watch()),
                    spawn(group, "pairs", self.pairs.run()),
                    spawn(group, "bodies", self._serving.comparer.run()),
                    spawn(group, "shadow statistics", self._run_stats()),
                ]
                if self._events:
                    tasks.append(spawn(group, "events", _keep_running(self._events)))
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
        """The next changes; none if the plan has to be built again without a change: a shadow expires, a
        namespace has its next turn, or the last step failed."""
        published, failed = self._published or NEVER, self._unbuilt is not None
        if not (published.timed or published.unfinished_s is not None or failed):
            return await self._intake.mailbox.take(self._debounce)
        # At least as long as a burst, so that a step that fails is not repeated without a pause. At most a
        # minute, because the clock may be set meanwhile, forward or back.
        expires = _CLOCK_CHECK_S if published.expires is None else published.expires - time.time()
        wait = min(max(expires, AT_MOST_S), _CLOCK_CHECK_S)
        if published.unfinished_s is not None:
            wait = min(wait, published.unfinished_s)
        if failed:
            wait = min(wait, _RETRY_S)
        try:
            async with asyncio.timeout(wait):
                return await self._intake.mailbox.take(self._debounce)
        except TimeoutError:
            return self._intake.mailbox.take_now()

    async def _watch_lag(self) -> None:
        await self.ready.wait()  # until then no Envoy waits for a push
        await self.reporter.lag.run()

    def _evidence(self) -> Records:
        return self.verdicts.own()

    async def _run_stats(self) -> None:
        await self.ready.wait()  # until then no shadow is known
        await self.stats.run()

    async def _step(self, changes: list[Change]) -> None:
        began, arrived = time.monotonic(), self._intake.mailbox.taken_since
        if changes and arrived is not None:
            self._pipeline.stages.note(Stage.GATHER, began - arrived)
        # The changes of a failed step are part of the next one.
        seen = self._unbuilt = self._unbuilt or arrived or began
        before = self._published
        try:
            published = await asyncio.to_thread(self._pipeline.step, changes, now=time.time())
            self._unpublished |= published.moved
            published = replace(published, moved=self._unpublished)
            changed = before is None or before.snapshot.versions() != published.snapshot.versions()
            if changed:
                self._commit(published.snapshot, seen=None if before is None else seen)
        except Exception:  # noqa: BLE001 - a bug in building must not end the serving
            self.reporter.failed(len(changes))
            return
        self._published, self._unbuilt, self._unpublished = published, None, frozenset()
        self._serving.comparer.stepped(before, published)
        self.reporter.stepped(published, changed=changed, took_s=time.monotonic() - began)
        if before is None:
            await self._become_ready()

    def _commit(self, snapshot: Snapshot, *, seen: float | None) -> None:
        """Serve the snapshot. `seen` is when its oldest change arrived. It is None for the first snapshot,
        whose delivery is not measured: no change caused it."""
        if seen is not None:
            self._delivery.committed(self._serving.generation + 1, seen=seen)
        with self._pipeline.stages.timed(Stage.COMMIT):
            self._serving.commit(snapshot)

    def _converged(self, generation: int, answered: bool) -> None:  # noqa: FBT001 - as Convergence calls it
        self._delivery.converged(generation, answered=answered, at=time.monotonic())

    def _take_gateway(self, gateway: GatewayConfig, problems: tuple[Condition, ...]) -> None:
        self._pipeline.gateway = gateway
        self._intake.put([Report(GATEWAY_FILE, problems)])  # which also begins a step

    def _resample(self) -> None:
        self._pipeline.tails = self.pairs.tails
        self._intake.put([Report(PAIRS, ())])  # which begins a step

    def _report_events(self, problems: tuple[Condition, ...]) -> None:
        self._intake.put([Report(EVENTS, problems)])

    async def _become_ready(self) -> None:
        await self._serving.set_serving(True)
        await self._servers.set_serving(True)
        if self._config.ready_file:
            write_ready_file(self._config.ready_file, self.addresses)
        self.ready.set()
        self.reporter.ready = True
        _log.info("server became ready")

    def readiness(self) -> Readiness:
        """The state that ``/readyz`` shows. Like the gRPC health service it is not ready during shutdown."""
        if self._stopping.is_set():
            return Readiness(ready=False, message="shutting down")
        return Readiness(self.ready.is_set(), self._source.health().message)

    def facts(self) -> Facts:
        """What the metrics show."""
        stats = self.stats
        return replace(
            self.reporter.facts(),
            figures=stats.figures(),
            verdicts=stats.verdicts(),
            shadow_traffic=stats.traffic(),
        )

    async def _scrape(self) -> bytes:
        """The metrics as text. It is made in a thread, because this process serves the Envoys."""
        return await asyncio.to_thread(Metrics(self.facts()).text)

    async def _mirrored_elsewhere(self, canary: NamespacedName) -> bool:
        """Whether Envoys of another replica mirror to the canary."""
        answers = await self._exchange.peers.ask() if self._exchange else ()
        return any(canary in each.records and each.records[canary].envoys for each in answers)

    def _behind(self) -> float:
        """For how many seconds the oldest change has waited that is not served yet."""
        waiting = [since for since in (self._unbuilt, self._intake.mailbox.since) if since is not None]
        return time.monotonic() - min(waiting) if waiting else 0.0


async def _keep_running(events: "EventRecorder") -> None:
    """Run until cancelled. An error in writing Events must not end the serving."""
    while True:
        try:
            await events.run()
        except Exception:  # noqa: BLE001 - see above
            _log.exception("event writing failed")
        await asyncio.sleep(_EVENTS_PAUSE_S)


def write_ready_file(path: Path, addresses: Addresses) -> None:
    """Write the addresses of a server that is ready to a file. The file appears complete or not at all."""
    found = {f"{name}_address": str(each) for name, each in addresses._asdict().items() if each}
    replace_file(path, json.dumps(found).encode())


async def serve(config: ServeConfig) -> None:
    """Run until SIGTERM or SIGINT. A second signal ends the process at once."""
    app = App(config)
    loop = asyncio.get_running_loop()

    def stop(signum: signal.Signals) -> None:
        _log.info("shutdown started", signal=signum.name)
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
    """The first error of a group. The others mostly follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
