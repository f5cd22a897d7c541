"""One gRPC server for the fleet: the aggregated discovery service, and health."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from xds_server.ads.server_options import server_options
from xds_server.ads.servicer import SERVICE, AdsServicer
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.config import TlsFiles
from xds_server.serving.handshakes import Handshakes
from xds_server.serving.tls import Certificates

_Request = health_pb2.HealthCheckRequest
_Response = health_pb2.HealthCheckResponse
_Context = grpc.aio.ServicerContext[_Request, _Response]


class _Health(health.aio.HealthServicer):
    """Tells of every call, as the other service does: a probe has a certificate, too."""

    def __init__(self, called: Callable[[str], None]) -> None:
        super().__init__()
        self._called = called

    async def Check(self, request: _Request, context: _Context) -> _Response:  # noqa: N802 - gRPC's name
        self._called(context.peer())
        return await super().Check(request, context)

    async def Watch(self, request: _Request, context: _Context) -> None:  # noqa: N802 - gRPC's name
        self._called(context.peer())
        await super().Watch(request, context)


class AdsServer:
    """Serves `servicer`; with `tls`, `handshakes` are followed. Its health is NOT_SERVING until
    `set_serving`."""

    def __init__(
        self,
        servicer: AdsServicer[Any],
        handshakes: Handshakes,
        *,
        share_port: bool = False,
        tls: TlsFiles | None = None,
    ) -> None:
        self._servicer = servicer
        self._tls = tls
        self._handshakes = handshakes
        self._health = _Health(handshakes.called)
        self._server = grpc.aio.server(options=server_options(share_port=share_port))
        servicer.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, address: Address) -> Address:
        """Listen; returns where, as the port may have been left to the system.

        Raises:
            XdsShadowError: the address cannot be listened on, or the certificates cannot be used.
        """
        await self.set_serving(False)
        credentials = Certificates(self._tls, self._handshakes.begun).credentials() if self._tls else None
        port = add_port(self._server, address, "--xds-address", credentials)
        if credentials is not None:
            self._handshakes.start(port)
        await self._server.start()
        return Address(address.host, port)

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name says it
        """What the health service says from now on."""
        states = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def stop(self, drain_s: float) -> None:
        """End the streams one after another over so many seconds (line 21)."""
        self._handshakes.stop()
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
