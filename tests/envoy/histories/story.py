"""One scenario of two tenants: their objects, and callers that send requests all the time."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from tests.envoy.histories.callers import Caller
from tests.envoy.histories.fleet import Fleet
from tests.envoy.histories.world import Canary, Endpoint, Port, Service, World
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

_PACE_S = 0.002
_IN_A_ROW = 2


@dataclass
class Asked:
    """What came back, by Envoy, authority and answer. A backend is named by its host alone."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def of(self, authority: str) -> set[str]:
        """Everything that a request for it was answered by, at any Envoy."""
        return {answer for _, asked, answer in self.answers if asked == authority}


@contextlib.asynccontextmanager
async def asking(fleet: Fleet, *authorities: str) -> AsyncIterator[Asked]:
    """Ask for these in turn, at every Envoy, until the end."""
    asked, ended = Asked(), asyncio.Event()

    async def keep_asking(envoy: Envoy) -> None:
        async with Caller(envoy.gateway_port) as caller:
            while not ended.is_set():
                for authority in authorities:
                    backend, seen = await caller.ask(authority)
                    asked.answers[envoy.id, authority, host_of(backend) or seen] += 1
                    await asyncio.sleep(_PACE_S)

    tasks = [asyncio.create_task(keep_asking(envoy)) for envoy in fleet.envoys]
    try:
        yield asked
    finally:
        ended.set()
        await asyncio.gather(*tasks)


async def until_answered(
    envoys: Sequence[Envoy], authority: str, by: Collection[str] | None, *, within_s: float = 20.0
) -> float:
    """Wait until every Envoy answers this by these hosts alone, or with no success if they are None. How many
    seconds that took."""
    began = time.monotonic()

    async def answered(envoy: Envoy) -> None:
        right, seen = 0, ""
        async with Caller(envoy.gateway_port) as caller:
            while right < _IN_A_ROW:
                backend, seen = await caller.ask(authority)
                right = right + 1 if host_of(backend) in (by or (None,)) else 0
                late = time.monotonic() - began > within_s
                assert not late, f"{envoy.id}: {authority} is answered {seen}, not by {by}"
                await asyncio.sleep(0.005)

    await asyncio.gather(*(answered(envoy) for envoy in envoys))
    return time.monotonic() - began


def host_of(backend: str | None) -> str | None:
    """Without the port."""
    return backend.rpartition(":")[0] if backend else None


def world(fleet: Fleet, *services: Service, canaries: Sequence[Canary] = ()) -> World:
    """Two tenants, `evil` and `shop`, with these."""
    return World(
        fleet.backends.ports,
        ["evil", "shop"],
        {each.key: each for each in services},
        {(each.namespace, each.name): each for each in canaries},
    )


def service(namespace: str, name: str, *addresses: str, born: int = 1, claims: Sequence[str] = ()) -> Service:
    """With one port, 80."""
    endpoints = [Endpoint(address) for address in addresses]
    return Service(namespace, name, born, [Port("http", 80, 0)], endpoints, claims=list(claims))


async def until_problem(fleet: Fleet, subject: str, reason: str = "") -> None:
    """Wait until `status` says that this object has one."""

    async def there() -> bool:
        problems = (await fleet.status()).conditions
        return any(p.subject == subject and reason in ("", p.reason) for p in problems)

    await eventually(there, what=f"a problem {reason} of {subject}")
