"""The gRPC server of the fleet: the aggregated discovery service, and health."""

import asyncio
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.memory import Trimmer
from xds_server.server.config import PLAIN, Security
from xds_server.server.identity import Clients, names_of
from xds_server.server.tls import Certificates
from xds_server.server.views import View, derive, view_of
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.server_options import server_options
from xds_server.xds.servicer import SERVICE, AdsServicer
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event


class FleetServer:
    """Serves what was committed last to every Envoy. `observe` is called with each event of the streams, and
    `converged` as `Convergence` says. Its health is NOT_SERVING until `set_serving`."""

    def __init__(
        self,
        *,
        identifier: str,
        observe: Callable[[Event], None],
        converged: Callable[[int, bool], None] = lambda *_: None,
        security: Security = PLAIN,
    ) -> None:
        clients = Clients(security.clients)
        self._tls = security.tls
        self._cache: SnapshotCache[View] = SnapshotCache(derive)
        self._servicer = AdsServicer(
            cache=self._cache,
            view_of=lambda node, names: view_of(node.metadata, clients.namespaces(names)),
            identify=names_of,
            observe=observe,
            identifier=identifier,
            converged=converged,
            ended=Trimmer().soon,
        )
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=server_options())
        self._servicer.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    @property
    def generation(self) -> int:
        """How many snapshots were committed, which is the number of the last."""
        return self._cache.generation

    def commit(self, snapshot: Snapshot) -> None:
        """Serve `snapshot` from now on."""
        self._cache.commit(snapshot)

    async def start(self, address: Address) -> Address:
        """Listen; returns where, as the port may have been left to the system.

        Raises:
            XdsShadowError: the address cannot be listened on, or the certificates cannot be used.
        """
        await self.set_serving(False)
        credentials = Certificates(self._tls).credentials() if self._tls else None
        port = add_port(self._server, address, "--xds-address", credentials)
        await self._server.start()
        return Address(address.host, port)

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name says it
        """What the health service says from now on."""
        states = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def stop(self, drain_s: float) -> None:
        """End the streams one after another over so many seconds (rule 21)."""
        await self._health.enter_graceful_shutdown()
        # stop() sends GOAWAY at once and then waits for the streams, which drain() ends one by one.
        await asyncio.gather(self._server.stop(drain_s + 1), self._servicer.drain(drain_s))


def add_port(
    server: grpc.aio.Server, address: Address, option: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Let `server` listen on `address`, which `option` gave, in plain text without `credentials`; returns the
    port.

    Raises:
        XdsShadowError: it cannot.
    """
    try:
        if credentials is not None:
            return server.add_secure_port(str(address), credentials)
        return server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise XdsShadowError(
            f"cannot listen on {address}; is it in use? Choose another with {option}"
        ) from error
