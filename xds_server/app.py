"""The composition root: opens the sources and the servers, and runs the pipeline's loop between them.

Kubernetes' client, slow to import, is imported only where a cluster is read.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import signal
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from xds_server.admin.grpc import Explanation, ServerState, StatusServicer
from xds_server.ads.events import Event, Nacked, Node, StreamClosed, StreamOpened
from xds_server.ads.servicer import SERVER_OPTIONS, SERVICE, AdsServicer
from xds_server.base.aio import Mailbox, spawn
from xds_server.base.errors import RequestError, XdsShadowError
from xds_server.base.ids import NamespacedName
from xds_server.config import GATEWAY_PORT_METADATA, MAX_PORT, Address, ServeConfig, SourceConfig
from xds_server.explain import explain
from xds_server.fleet.state import Fleet
from xds_server.model.world import Change, key_of
from xds_server.pb import status_pb2
from xds_server.pipeline import Pipeline, Published
from xds_server.snapshot.cache import SnapshotCache
from xds_server.snapshot.types import SHORT_NAMES
from xds_server.sources import Source, files
from xds_server.translate.listeners import with_gateway_port

VERSION: Final = importlib.metadata.version("xds-shadow")
_QUIET_S = 0.02
_AT_MOST_S = 0.5
"""A burst of changes is one push: wait until nothing came for `_QUIET_S`, but never longer than this."""

_STATUS_SERVICE = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
_log = structlog.get_logger("xds_shadow.app")


class Intake:
    """Where sources put what they observe; the pipeline's loop takes it from here."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[Change] = Mailbox(key_of)
        self.complete = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        self.mailbox.put(changes)

    def synced(self) -> None:
        self.complete.set()


class App:
    """One control plane. `run` ends when it is cancelled or `stop` is called."""

    def __init__(self, config: ServeConfig, *, source: Source | None = None) -> None:
        self._config = config
        self._source = source or open_source(config.source)
        self._intake = Intake()
        self._pipeline = Pipeline(gateway_port=config.gateway_port, expose_all=config.expose_all)
        self._cache: SnapshotCache[int | None] = SnapshotCache(with_gateway_port)
        self._published: Published | None = None
        self._started = self._committed = time.time()
        self._failures = 0
        self._stopping = asyncio.Event()
        self._health = health.aio.HealthServicer()
        self.fleet = Fleet()
        self.ready = asyncio.Event()
        self.xds_address = config.xds_address
        self.admin_address = config.admin_address

    def stop(self) -> None:
        """Begin an orderly shutdown; a second call does nothing more."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            SourceError: the source cannot be opened.
            XdsShadowError: an address cannot be listened on.
        """
        ads = AdsServicer(
            cache=self._cache,
            view_of=gateway_port_of,
            observe=self._observe,
            identifier=f"xds-shadow/{VERSION}",
        )
        try:
            async with asyncio.TaskGroup() as group, self._servers(ads):
                tasks = [
                    spawn(group, "source", self._source.run(self._intake)),
                    spawn(group, "pipeline", self._run_pipeline()),
                ]
                await self._stopping.wait()
                for task in tasks:
                    task.cancel()
        except* XdsShadowError as failed:
            raise _first(failed) from failed

    @contextlib.asynccontextmanager
    async def _servers(self, ads: AdsServicer[int | None]) -> AsyncIterator[None]:
        status = StatusServicer(state=self.server_state, explain=self.explain, fleet=self.fleet)
        xds_server, admin_server = grpc.aio.server(options=SERVER_OPTIONS), grpc.aio.server()
        ads.register(xds_server)
        for server in (xds_server, admin_server):
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        status.register(admin_server)
        reflection.enable_server_reflection(
            (_STATUS_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), admin_server
        )
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.xds_address = listen(xds_server, self._config.xds_address, "--xds-address")
        self.admin_address = listen(admin_server, self._config.admin_address, "--admin-address")
        await xds_server.start()
        await admin_server.start()
        _log.info("listening", xds=str(self.xds_address), admin=str(self.admin_address), version=VERSION)
        try:
            yield
        finally:
            await self._health.enter_graceful_shutdown()
            over = self._config.drain_s
            # stop() sends GOAWAY at once and then waits for the streams, which drain() ends one by one.
            await asyncio.gather(xds_server.stop(over + 1), ads.drain(over))
            await admin_server.stop(0)
            _log.info("stopped")

    async def _run_pipeline(self) -> None:
        await self._intake.complete.wait()
        changes: list[Change] = self._intake.mailbox.take_now()
        while True:
            await self._step(changes)
            changes = await self._intake.mailbox.take(quiet=_QUIET_S, at_most=_AT_MOST_S)

    async def _step(self, changes: list[Change]) -> None:
        began = time.perf_counter()
        try:
            published = await asyncio.to_thread(self._pipeline.step, changes)
        except Exception:  # noqa: BLE001 - a bug in building must not end the serving
            self._failures += 1
            _log.exception("building failed; the last good configuration stays", changes=len(changes))
            return
        before, self._published = self._published, published
        if before is None or before.snapshot.versions() != published.snapshot.versions():
            self._committed = time.time()
            self._cache.commit(published.snapshot)
            _log.info(
                "configuration changed",
                services=[str(target) for target in sorted(published.moved)][:10],
                changed=len(published.moved),
                took_ms=round((time.perf_counter() - began) * 1000, 1),
            )
        _log_shadows(before, published)
        if before is None:
            await self._become_ready()

    async def _become_ready(self) -> None:
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        if self._config.ready_file:
            write_ready_file(self._config.ready_file, xds=self.xds_address, admin=self.admin_address)
        self.ready.set()
        _log.info("ready")

    async def _set_health(self, status: int) -> None:
        for service in ("", SERVICE, _STATUS_SERVICE):
            await self._health.set(service, status)

    def _observe(self, event: Event) -> None:
        self.fleet.apply(event, now=time.time())
        match event:
            case StreamOpened(node=node, variant=variant, peer=peer):
                _log.info("envoy connected", node=node.id, variant=variant.value, peer=peer)
            case Nacked(stream=stream, type_url=type_url, version=version, message=message):
                _log.warning(
                    "envoy refused a configuration and keeps what it had",
                    stream=stream,
                    type=SHORT_NAMES[type_url],
                    version=version,
                    message=message[:500],
                )
            case StreamClosed(stream=stream, reason=reason):
                _log.info("envoy disconnected", stream=stream, reason=reason or "by the client")

    def server_state(self) -> ServerState:
        """What `status` shows."""
        published = self._published
        return ServerState(
            version=VERSION,
            started=self._started,
            committed=self._committed,
            build_failures=self._failures,
            versions={
                SHORT_NAMES[type_url]: version
                for type_url, version in (published.snapshot.versions() if published else {}).items()
            },
            shadows=published.plan.shadows() if published else [],
            problems=published.problems() if published else [],
        )

    def explain(self, name: NamespacedName) -> Explanation | None:
        """What `explain` shows of the canary Deployment `name`; None if it is not marked."""
        return explain(self._published, name) if self._published else None


def _log_shadows(before: Published | None, after: Published) -> None:
    was = {(s.namespace, s.deployment): s for s in before.plan.shadows()} if before else {}
    for shadow in after.plan.shadows():
        old = was.pop((shadow.namespace, shadow.deployment), None)
        if old is None or (old.state, old.reason, old.percent) != (
            shadow.state,
            shadow.reason,
            shadow.percent,
        ):
            _log.info(
                "shadow",
                deployment=f"{shadow.namespace}/{shadow.deployment}",
                service=shadow.service,
                state=shadow.state.value,
                reason=shadow.reason.value,
                message=shadow.message,
            )
    for namespace, deployment in was:
        _log.info("shadow", deployment=f"{namespace}/{deployment}", state="Stopped")


def gateway_port_of(node: Node) -> int | None:
    """The gateway port that a node asks for in its metadata; None for the installation's.

    Raises:
        RequestError: it is not a port number.
    """
    wanted = node.metadata.get(GATEWAY_PORT_METADATA)
    if wanted is None:
        return None
    # A person writes a number or quotes it. A Struct's numbers are floats, NaN and infinities among them.
    text = str(wanted).removesuffix(".0")
    if text.isdecimal() and len(text) <= len(str(MAX_PORT)) and 1 <= int(text) <= MAX_PORT:
        return int(text)
    raise RequestError(
        f"node.metadata {GATEWAY_PORT_METADATA} is {wanted!r}, not a port from 1 to {MAX_PORT}"
    )


def open_source(config: SourceConfig) -> Source:
    """The source that the configuration asks for, not yet running."""
    if config.manifests:
        return files.FileSource(config.manifests)
    from xds_server.sources import kube

    return kube.KubeSource(lambda: kube.connect(config.kubeconfig, config.context), config.namespaces)


async def read_once(config: SourceConfig, *, gateway_port: int, expose_all: bool) -> Published:
    """Read the source once and build what would be served.

    Raises:
        SourceError: the source cannot be read.
    """
    if config.manifests:
        changes = files.read_once(config.manifests)
    else:
        from xds_server.sources import kube

        changes = await kube.read_once_kube(
            lambda: kube.connect(config.kubeconfig, config.context), config.namespaces
        )
    return Pipeline(gateway_port=gateway_port, expose_all=expose_all).step(changes)


def listen(server: grpc.aio.Server, address: Address, option: str) -> Address:
    """Bind and say where.

    Raises:
        XdsShadowError: the address cannot be listened on.
    """
    try:
        port = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise XdsShadowError(
            f"cannot listen on {address}; is it in use? Choose another with {option}"
        ) from error
    return Address(address.host, port)


def write_ready_file(path: Path, *, xds: Address, admin: Address) -> None:
    """Say in a file that the server is ready, and where; the file appears complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"xds_address": str(xds), "admin_address": str(admin)}))
    part.replace(path)


async def serve(config: ServeConfig) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process without more ado."""
    app = App(config)
    loop = asyncio.get_running_loop()

    def stop(signum: signal.Signals) -> None:
        _log.info("stopping; again to stop at once", signal=signum.name)
        app.stop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop, each)
    await app.run()


def _first(group: BaseExceptionGroup[XdsShadowError]) -> XdsShadowError:
    """The error to show of a group: the first, as the others mostly follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
