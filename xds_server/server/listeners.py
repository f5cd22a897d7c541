"""The servers of a control plane: ADS for Envoys, gRPC for status and CSDS, HTTP for probes and Prometheus.

Each has its own address, because each has other clients. `app` provides what they serve.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
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
from xds_server.server.api import Api
from xds_server.server.csds import CsdsServicer
from xds_server.server.http import Readiness, Shown, http_server
from xds_server.server.page import Stats
from xds_server.server.status_api import StatusServicer
from xds_server.xds.server_options import connection_options

_STATUS_SERVICE = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
_log = structlog.stdlib.get_logger(__name__)


class Addresses(NamedTuple):
    """The addresses of a control plane. `peer` is for the other replicas."""

    xds: Address
    admin: Address
    http: Address
    peer: Address | None = None


class Servers:
    """The servers. Their health service reports NOT_SERVING until `set_serving`.

    Args:
        addresses: where to listen. A port of 0 is replaced by the one in use.
        version: of the control plane, for the log.
        tls: whether Envoys are served over TLS, for the log.
        drain_s: over how many seconds the streams of the Envoys are closed.
        page: whether the live page is served on an HTTP address that is not loopback.
        page_hosts: further host names of the live page.
        api: whether verdicts are served on an HTTP address that is not loopback.
    """

    def __init__(
        self,
        addresses: Addresses,
        *,
        version: str,
        tls: bool,
        drain_s: float,
        page: bool,
        page_hosts: Collection[str],
        api: bool,
    ) -> None:
        self.addresses = addresses
        self._version = version
        self._tls = tls
        self._drain_s = drain_s
        self._page = page or addresses.http.is_loopback
        self._page_hosts = page_hosts
        self._api = api or self._page
        self._health = health.aio.HealthServicer()

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name says it
        """Set the state that the health service reports."""
        states = health_pb2.HealthCheckResponse
        for service in ("", _STATUS_SERVICE, csds.SERVICE):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    @asynccontextmanager
    async def running(
        self,
        fleet: FleetServer,
        status: StatusServicer,
        clients: CsdsServicer,
        stats: Stats,
        *,
        api: Api,
        readiness: Callable[[], Readiness],
        metrics: Callable[[], Awaitable[bytes]],
    ) -> AsyncIterator[None]:
        """Listen on all addresses. At the end, drain the streams of the Envoys.

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
        async with http_server(
            wanted.http,
            readiness=readiness,
            metrics=metrics,
            shown=Shown(status, stats) if self._page else None,
            page_hosts=self._page_hosts,
            api=api if self._api else None,
        ) as http:
            xds = await fleet.start(wanted.xds)
            self.addresses = Addresses(xds, admin, http)
            await admin_server.start()
            self._log_addresses()
            try:
                yield
            finally:
                await self._health.enter_graceful_shutdown()
                await fleet.stop(self._drain_s)
                await admin_server.stop(0)
                _log.info("stopped")

    def _log_addresses(self) -> None:
        addresses = {name: str(address) for name, address in self.addresses._asdict().items() if address}
        _log.info("listeners opened", **addresses, version=self._version, tls=self._tls)
        if not self._tls and not self.addresses.xds.is_loopback:
            _log.warning(
                "plain text enabled",
                xds=addresses["xds"],
                hint="every client that reaches this address can read routes and addresses; use --tls-cert,"
                " --tls-key and --tls-client-ca, or restrict access to the address",
            )
