"""A canary that keeps every request until it is told to go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.backends import serving
from xds_server.base.address import Address


@dataclass
class Holding:
    """`held` are the requests that wait now, `most` the most that ever did, `given_up` those whose sender
    left."""

    address: Address
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0
    most: int = 0
    arrived: int = 0
    given_up: int = 0

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        self.arrived += 1
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            yield
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.held -= 1

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        with self._holding():
            await self.go_on.wait()
        return web.Response()


@contextlib.asynccontextmanager
async def holding() -> AsyncIterator[Holding]:
    """Run one."""
    app = web.Application()
    canary = Holding(Address("127.0.0.1", 0))
    app.router.add_route("*", "/{path:.*}", canary.handle)
    async with serving(web.AppRunner(app, handler_cancellation=True)) as address:
        canary.address = address
        try:
            yield canary
        finally:
            canary.go_on.set()
