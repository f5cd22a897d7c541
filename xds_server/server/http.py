"""Health, readiness and metrics over HTTP, for kubelets and Prometheus. Read-only; nothing secret.

Ready means that the fleet can be served: not before the first complete reading of the source, and still while
the source does not answer, as what was last known is what the Envoys have.

Whoever says or reads nothing for too long is cut off: a connection that is left half-open costs a file
descriptor.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiohttp import web

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.server.page import Status, routes

_CLOSE_S = 1.0
_IDLE_S: Final = 30.0
"""For which a connection may send no whole request, or take nothing of an answer."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PROMETHEUS: Final = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class Readiness(NamedTuple):
    """Whether the fleet can be served, and a sentence why or why not."""

    ready: bool
    message: str


@asynccontextmanager
async def http_server(
    address: Address,
    *,
    readiness: Callable[[], Readiness],
    metrics: Callable[[], bytes],
    status: Status | None = None,
    page_hosts: Collection[str] = (),
    idle_s: float = _IDLE_S,
) -> AsyncIterator[Address]:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics``, whatever ``Host`` says, as kubelets and Prometheus
    use addresses of Pods; and with `status` the page and its API, under their own names and `page_hosts`.
    Gives the address with the port in use.

    Raises:
        XdsShadowError: the address cannot be listened on.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        ready, message = readiness()
        return web.Response(text=f"{message}\n", status=200 if ready else 503)

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers=_PROMETHEUS)

    @web.middleware
    async def cut_off(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if (transport := request.transport) is not None:
            found = transport.get_extra_info("socket")
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(idle_s * 1000))
        return await handler(request)

    app = web.Application(client_max_size=0, middlewares=[cut_off])
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    if status is not None:
        app.add_routes(routes(status, {address.host.lower(), *page_hosts}))
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_CLOSE_S,
        # Also of a first request; what a client sends beside a request that is answered is read for a moment.
        keepalive_timeout=idle_s,
        lingering_time=_CLOSE_S,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address).start()
        except OSError as error:
            raise XdsShadowError(
                f"cannot listen on {address}; is it in use? Choose another with --http-address"
            ) from error
        yield Address(address.host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
