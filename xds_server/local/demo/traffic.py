"""Sends requests through the gateways of the Envoys, as clients do."""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from xds_server.base.address import Address
from xds_server.local.demo.backend import BACKEND_HEADER, ORDERS, REQUEST_HEADER
from xds_server.local.demo.stage import HOST

_IN_FLIGHT = 16


class Gateway(Protocol):
    """The gateway of an Envoy."""

    @property
    def id(self) -> str: ...
    @property
    def gateway(self) -> Address: ...


@dataclass(slots=True)
class Clients:
    """Counts responses: `answers` by backend, `failures` by status or error."""

    session: aiohttp.ClientSession
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    async def send(self, gateway: Gateway) -> str:
        """One request through `gateway`; returns its name, which its mirrored requests have too."""
        number = next(self._names)
        name = f"{gateway.id}-{number}"
        url = f"http://{gateway.gateway}{ORDERS}{number}"
        try:
            async with self.session.get(url, headers={"Host": HOST, REQUEST_HEADER: name}) as response:
                await response.read()
                if response.ok:
                    self.answers[response.headers.get(BACKEND_HEADER, "?")] += 1
                else:
                    self.failures[str(response.status)] += 1
        except aiohttp.ClientError as error:
            self.failures[f"{type(error).__name__}: {error}"] += 1
        return name

    async def send_many(self, gateway: Gateway, count: int) -> list[str]:
        """`count` requests, a few at a time."""
        places = asyncio.Semaphore(_IN_FLIGHT)

        async def one() -> str:
            async with places:
                return await self.send(gateway)

        return await asyncio.gather(*(one() for _ in range(count)))
