"""Requests as users send them, through the gateways of the Envoys."""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from xds_server.demo.backend import BACKEND_HEADER, REQUEST_HEADER
from xds_server.demo.envoy import Envoy
from xds_server.demo.stage import HOST

_IN_FLIGHT = 16


@dataclass(slots=True)
class Users:
    """Counts every response: `answers` by backend, `failures` by status or error."""

    session: aiohttp.ClientSession
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    async def send(self, envoy: Envoy) -> str:
        """One request through `envoy`; returns its name, which its copies carry."""
        name = f"{envoy.id}-{next(self._names)}"
        url = f"http://127.0.0.1:{envoy.gateway_port}/orders/{name}"
        try:
            async with self.session.get(url, headers={"Host": HOST, REQUEST_HEADER: name}) as response:
                await response.read()
                if response.ok:
                    self.answers[response.headers.get(BACKEND_HEADER, "?")] += 1
                else:
                    self.failures[str(response.status)] += 1
        except aiohttp.ClientError as error:
            self.failures[type(error).__name__] += 1
        return name

    async def send_many(self, envoy: Envoy, count: int) -> list[str]:
        """`count` requests, a few at a time."""
        places = asyncio.Semaphore(_IN_FLIGHT)

        async def one() -> str:
            async with places:
                return await self.send(envoy)

        return await asyncio.gather(*(one() for _ in range(count)))
