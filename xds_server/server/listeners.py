"""The servers of one control plane: ADS for the fleet, status and CSDS, and HTTP for kubelets and Prometheus.

Each has an address of its own, as each is for other people. What they say is `app`'s.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from xds_server.base.address import Address
from xds_server.pb import status_pb2
from xds_server.server import csds
from xds_server.server.ads_server import FleetServer, add_port
from xds_server.server.config import ServeConfig
from xds_server.server.csds import CsdsServicer
from xds_server.server.http import Readiness, http_server
from xds_server.server.status_api import StatusServicer
from xds_server.xds.server_options import connection_options

_STATUS_SERVICE = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
_log = structlog.get_logger("xds_shadow.servers")


class Addresses(NamedTuple):
    """Where a control plane listens."""

    xds: Address
    admin: Address
    http: Address


class Servers:
    """Not serving until told so; then the gRPC health service says it."""

    def __init__(self, config: ServeConfig, version: str) -> None:
        self._drain_s = config.drain_s
        self._version = version
        self._tls = config.security.tls is not None
        self._page_hosts = config.page_hosts
        self._page = config.page or config.http_address.is_loopback
        self._health = health.aio.HealthServicer()
        self.addresses = Addresses(config.xds_address, config.admin_address, config.http_address)

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name says it
        """What the health service says from now on."""
        states = health_pb2.HealthCheckResponse
        for service in ("", _STATUS_SERVICE, csds.SERVICE):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    @asynccontextmanager
    async def running(
        self,
        fleet: FleetServer,
        status: StatusServicer,
        clients: CsdsServicer,
        *,
        readiness: Callable[[], Readiness],
        metrics: Callable[[], bytes],
    ) -> AsyncIterator[None]:
        """Listen on all addresses; in the end drain the fleet's streams.

        Raises:
            XdsShadowError: an address cannot be listened on.
        """
        wanted = self.addresses
        admin_server = grpc.aio.server(options=connection_options())
        status.register(admin_server)
        clients.register(admin_server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, admin_server)
        reflection.enable_server_reflection(
            (_STATUS_SERVICE, csds.SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), admin_server
        )
        await self.set_serving(False)
        admin = Address(wanted.admin.host, add_port(admin_server, wanted.admin, "--admin-address"))
        shown = status if self._page else None
        async with http_server(
            wanted.http, readiness=readiness, metrics=metrics, status=shown, page_hosts=self._page_hosts
        ) as http:
            xds = await fleet.start(wanted.xds)
            self.addresses = Addresses(xds, admin, http)
            await admin_server.start()
            _log.info("listening", **self._told(), version=self._version, tls=self._tls)
            if not self._tls and not xds.is_loopback:
                _log.warning(
                    "PLAIN TEXT: whoever reaches this address can read routes and addresses; use --tls-cert,"
                    " --tls-key and --tls-client-ca, or keep others away from it",
                    xds=str(xds),
                )
            try:
                yield
            finally:
                await self._health.enter_graceful_shutdown()
                await fleet.stop(self._drain_s)
                await admin_server.stop(0)
                _log.info("stopped")

    def _told(self) -> dict[str, str]:
        return {name: str(address) for name, address in self.addresses._asdict().items()}
