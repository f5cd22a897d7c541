"""A small HTTP backend that responds with its name and counts requests."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from xds_server.base.address import Address

BACKEND_HEADER = "x-backend"
"""The response header with the name of the backend."""

REQUEST_HEADER = "x-demo-request"
"""The request header with a unique name, which mirrored requests have too."""

ORDERS = "/orders/"
FAILS_EVERY = 20


@dataclass(slots=True)
class Backend:
    """Listens on 127.0.0.1 at a free port. `mirrored` counts mirrored requests, and `live` all others. `seen`
    counts requests by their `REQUEST_HEADER`; it grows with every name, unless `remember` is false. Orders
    are answered with JSON. If it is `faulty`, one of `FAILS_EVERY` orders fails, and `total` has another
    name."""

    name: str
    address: Address = Address("127.0.0.1", 0)  # noqa: RUF009 - immutable
    seen: Counter[str] = field(default_factory=Counter)
    mirrored: int = 0
    live: int = 0
    remember: bool = True
    faulty: bool = False
    _orders: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> Self:
        """Begin to listen."""
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address.host, self.address.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host, port)
        return self

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        if self.remember:
            self.seen[request.headers.get(REQUEST_HEADER, "")] += 1
        mirrored = "x-xds-shadow" in request.headers
        self.mirrored += mirrored
        self.live += not mirrored
        headers = {BACKEND_HEADER: self.name}
        if request.path.startswith(ORDERS):
            return self._order(request.path.removeprefix(ORDERS), headers)
        return web.Response(text=f"{self.name}\n", headers=headers)

    def _order(self, name: str, headers: dict[str, str]) -> web.Response:
        self._orders += 1
        if self.faulty and self._orders % FAILS_EVERY == 0:
            return web.json_response({"error": "no connection to the database"}, status=500, headers=headers)
        total = "amount" if self.faulty else "total"
        order = {"order": name, total: 12.5, "currency": "EUR", "answered": time.time()}
        return web.json_response(order, headers=headers)
