"""Health, readiness and metrics over HTTP, for kubelets and Prometheus. Read-only; nothing secret.

Ready means that the fleet can be served: not before the first complete reading of the source, and still while
the source does not answer, as what was last known is what the Envoys have.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiohttp import web

from xds_server.admin.page import Status, routes
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError

_CLOSE_S = 1.0
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
) -> AsyncIterator[Address]:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics``, and with `status` the page and its API; gives the
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
        return web.Response(body=metrics(), headers=_PROMETHEUS)

    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    if status is not None:
        app.add_routes(routes(status))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S)
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
