"""Health, readiness and metrics over HTTP, for kubelets and Prometheus. Read-only, without secrets.

The server is ready once the source was read completely. It stays ready while the source is unavailable,
because Envoys keep the last known configuration.

Connections that are idle for too long are closed, because a half-open connection costs a file descriptor.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiohttp import web

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.server.api import Api
from xds_server.server.page import Stats, Status, routes

_CLOSE_S = 1.0
_IDLE_S: Final = 30.0
"""How long a connection may take to send a complete request or to accept a part of a response."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PROMETHEUS: Final = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class Readiness(NamedTuple):
    """Whether Envoys can be served, and the reason as a sentence."""

    ready: bool
    message: str


class Shown(NamedTuple):
    """What the live page shows."""

    status: Status
    stats: Stats


@asynccontextmanager
async def http_server(
    address: Address,
    *,
    readiness: Callable[[], Readiness],
    metrics: Callable[[], Awaitable[bytes]],
    shown: Shown | None = None,
    page_hosts: Collection[str] = (),
    api: Api | None = None,
    idle_s: float = _IDLE_S,
) -> AsyncIterator[Address]:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics``, and with `shown` the live page and its API.

    With `api` it also serves the verdicts. The first three accept any ``Host``, because kubelets and
    Prometheus use the addresses of Pods. The page accepts the names of `is_ours` and `page_hosts`. Yields the
    address with the port in use.

    Raises:
        XdsShadowError: the address cannot be listened on.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        ready, message = readiness()
        return web.Response(text=f"{message}\n", status=200 if ready else 503)

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics(), headers=_PROMETHEUS)

    @web.middleware
    async def bound_writes(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if (transport := request.transport) is not None:
            found = transport.get_extra_info("socket")
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(idle_s * 1000))
        return await handler(request)

    app = web.Application(client_max_size=0, middlewares=[bound_writes])
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    if shown is not None:
        app.add_routes(routes(*shown, {address.host.lower(), *page_hosts}))
    if api is not None:
        app.add_routes(api.routes())
    runner = web.AppRunner(
        app,
        access_log=None,
        # A body would be decompressed before a handler could bound its size.
        auto_decompress=False,
        shutdown_timeout=_CLOSE_S,
        # It bounds the first request too. The body of a request that has its response is read for a moment.
        keepalive_timeout=idle_s,
        lingering_time=_CLOSE_S,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address).start()
        except OSError as error:
            raise XdsShadowError(
                f"cannot listen on {address}: the address may be in use; select another with --http-address"
            ) from error
        yield Address(address.host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
