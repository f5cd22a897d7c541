"""The gRPC server for Envoys: discovery (ADS), load reports (LRS), access logs (ALS), bodies, and health."""

import asyncio
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import StreamId
from xds_server.base.memory import Trimmer
from xds_server.server.bodies import Comparer
from xds_server.server.config import TlsFiles
from xds_server.server.identity import ANY_CLIENT, Clients, names_of
from xds_server.server.observer import Observer
from xds_server.server.pairs import Pairs
from xds_server.server.tls import Certificates
from xds_server.server.views import View, derive, view_of
from xds_server.translate.upstream_log import LOG_NAME
from xds_server.xds.access_logs import AccessLogServicer
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.load_reports import LoadReportServicer
from xds_server.xds.server_options import server_options
from xds_server.xds.servicer import SERVICE, AdsServicer, Client
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event, Node


class FleetServer:
    """Serves the last committed snapshot to every Envoy. Its health is NOT_SERVING until `set_serving`.

    Args:
        identifier: the `control_plane` identifier of responses.
        observe: is called with each event of the streams.
        converged: is called as `Convergence` documents.
        tls: files of the server certificate; None serves plain text.
        clients: maps the names in a client certificate to namespaces.
        observer: says which load reports are wanted, and takes them.
        pairs: takes what Envoys log.
    """

    def __init__(
        self,
        *,
        identifier: str,
        observe: Callable[[Event], None],
        converged: Callable[[int, bool], None] = lambda *_: None,
        tls: TlsFiles | None = None,
        clients: Clients = ANY_CLIENT,
        observer: Observer | None = None,
        pairs: Pairs | None = None,
    ) -> None:
        self._tls = tls
        observer = observer or Observer()
        self.comparer = Comparer(observer.record, clients=clients)
        pairs = pairs or Pairs(observer)

        def view(node: Node, names: frozenset[str]) -> View:
            return view_of(node.metadata, clients.namespaces(names), node.log_filters)

        self._cache: SnapshotCache[View] = SnapshotCache(derive)
        self._servicer = AdsServicer(
            cache=self._cache,
            view_of=view,
            identify=names_of,
            observe=observe,
            identifier=identifier,
            converged=converged,
            ended=Trimmer().soon,
        )
        self._load_reports = LoadReportServicer(
            loads=observer.loads,
            wanted=observer.wanted,
            view_of=view,
            identify=names_of,
            observe=observe,
        )
        observer.attach(self)
        self._access_logs = AccessLogServicer(
            log_name=LOG_NAME,
            take=pairs.take,
            ended=pairs.ended,
            view_of=view,
            identify=names_of,
            observe=observe,
        )
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=server_options())
        self._servicer.register(self._server)
        self._load_reports.register(self._server)
        self._access_logs.register(self._server)
        self.comparer.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    @property
    def generation(self) -> int:
        """The number of the last committed snapshot; the first is 1."""
        return self._cache.generation

    def commit(self, snapshot: Snapshot) -> None:
        """Serve `snapshot`."""
        self._cache.commit(snapshot)

    def clients(self) -> list[Client]:
        """The clients of the ADS streams."""
        return self._servicer.clients()

    def client(self, stream: StreamId) -> Client | None:
        """The client of an open ADS stream."""
        return self._servicer.client(stream)

    def ask_for_loads(self) -> None:
        """Ask Envoys again for load reports, because others are wanted."""
        self._load_reports.refresh()

    async def start(self, address: Address) -> Address:
        """Listen on `address`. Returns it with the port in use, which the system selects for port 0.

        Raises:
            XdsShadowError: the address cannot be listened on, or the certificates are invalid.
        """
        await self.set_serving(False)
        credentials = Certificates(self._tls).credentials() if self._tls else None
        port = add_port(self._server, address, "--xds-address", credentials)
        await self._server.start()
        return Address(address.host, port)

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name says it
        """Set the state that the health service reports."""
        states = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def stop(self, drain_s: float) -> None:
        """Close the streams one after another within `drain_s` seconds (rule 21)."""
        await self._health.enter_graceful_shutdown()
        self._load_reports.end_all()
        self._access_logs.end_all()
        # stop() sends GOAWAY at once and then waits for the streams, which drain() closes one by one.
        await asyncio.gather(self._server.stop(drain_s + 1), self._servicer.drain(drain_s))


def add_port(
    server: grpc.aio.Server, address: Address, option: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Let `server` listen on `address`, in plain text without `credentials`. Returns the port in use.

    Raises:
        XdsShadowError: the address cannot be listened on. The message names `option`, which sets it.
    """
    try:
        if credentials is not None:
            return server.add_secure_port(str(address), credentials)
        return server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise XdsShadowError(
            f"cannot listen on {address}: the address may be in use; select another with {option}"
        ) from error
