"""One history: a seed, the steps that come of it, and what callers saw.

Each step has a number of its own from which all its choices come, so a history with steps left out is one as
well, in which the others do the like: what fails can be made smaller by leaving out steps.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.envoy.histories.callers import Caller
from tests.envoy.histories.changes import CHANGES, HOSTS, NAMES, NUMBERS, Change, opening
from tests.envoy.histories.fleet import Fleet
from tests.envoy.histories.should import CLUSTER, Allowed, Should, allowed, touched
from tests.envoy.histories.world import World
from tests.support.waiting import PATIENCE_S
from xds_server.local.demo.envoy import Envoy

STEPS = 12
_REMEMBERED_S = 2.0
"""For so long after a step an endpoint that it took away may still answer; nothing may fail any more."""

_GIVEN_UP_S = PATIENCE_S
_IN_A_ROW = 2
"""Right answers that make a request right: an old endpoint and a new one may take turns."""

_PACE_S = 0.002
_MOST_FAILURES = 8
_SHOWN = 3


@dataclass(frozen=True)
class Settings:
    """`within_s`: after this long, what is not yet right is late. `steps`: only these, all if None.
    `changes` are what tenants may do."""

    steps: Sequence[int] | None = None
    within_s: float = 2.0
    changes: Sequence[Change] = CHANGES


@dataclass
class Report:
    """What one history came to."""

    seed: int
    steps: int = 0
    changes: int = 0
    requests: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


class History:
    """Plays on a fleet that nobody else changes."""

    def __init__(self, fleet: Fleet, seed: int, settings: Settings) -> None:
        self._fleet = fleet
        self._seed = seed
        self._settings = settings
        self._expected: list[tuple[float, Should]] = []
        self._settled = 0
        self._step = 0
        self._done: list[str] = []
        self._ended = False
        self._turn = 0
        self._in_question: list[str] = []
        self._failed: set[tuple[str, str]] = set()
        self.report = Report(seed)

    async def play(self) -> Report:
        """From the first step to the last. It ends at the step that went wrong."""
        rng = Random(self._seed)  # noqa: S311 - to be the same again
        world = opening(rng, self._fleet.backends.ports, str(self._seed))
        seeds = [rng.randrange(1 << 30) for _ in range(STEPS)]
        wanted = self._settings.steps
        await self._tell(world)
        await self._settle()
        callers = [
            asyncio.create_task(self._keep_asking(envoy, what))
            for envoy in self._fleet.envoys
            for what in (self._everything, self._touched)
        ]
        try:
            for number, seed in enumerate(seeds):
                if (wanted is None or number in wanted) and not self.report.failures:
                    self._step = number
                    world = await self._take_step(world, Random(seed))  # noqa: S311
            self._done = ["afterwards"]
            if not self.report.failures:
                await asyncio.sleep(_REMEMBERED_S)  # what is still wrong now was never put right
                await self._settle()
            if not self.report.failures:
                self._done = ["the end"]
                world = World(world.ports, world.namespaces)
                await self._tell(world)
                await self._settle()
        finally:
            self._ended = True
            await asyncio.gather(*callers)
        return self.report

    async def _take_step(self, world: World, rng: Random) -> World:
        """Some changes, at once or one after another."""
        changes = [rng.choice(self._settings.changes) for _ in range(rng.choice((1, 1, 2, 3, 5)))]
        at_once = rng.random() < 0.5
        self._done = []
        for number, change in enumerate(changes):
            world = world.copy()
            change(world, rng)
            self._done.append(change.__name__)
            if number == len(changes) - 1 or not at_once:
                await self._tell(world)
                await asyncio.sleep(rng.choice((0.0, 0.01, 0.03, 0.06)))
        self.report.steps += 1
        self.report.changes += len(changes)
        await self._settle()
        return world

    async def _tell(self, world: World) -> None:
        # A world that was replaced at once may never have been in effect.
        lasted = self._expected and self._settled == len(self._expected) - 1
        should = Should(world).after(self._expected[-1][1] if lasted else None)
        if self._expected:
            old = self._expected[self._settled][1]
            self._in_question = [each for each in authorities(world) if touched(each, old, should)]
        self._expected.append((time.monotonic(), should))
        await self._fleet.become(world.documents())

    async def _settle(self) -> None:
        """Wait until every request is answered as it should be, at every Envoy."""
        began = time.monotonic()
        await asyncio.gather(*(self._until_right(envoy, began) for envoy in self._fleet.envoys))
        self._settled = len(self._expected) - 1
        took = time.monotonic() - began
        self.report.slowest_s = max(self.report.slowest_s, took)

    async def _until_right(self, envoy: Envoy, began: float) -> None:
        should = self._expected[-1][1]
        waiting = dict.fromkeys(authorities(should.world), 0)
        seen: dict[str, str] = {}
        async with Caller(envoy.gateway_port) as caller:
            while waiting and time.monotonic() - began < _GIVEN_UP_S and not self.report.failures:
                for authority in list(waiting):
                    outcome = should.outcome(authority)
                    backend, seen[authority] = await caller.ask(authority)
                    right = backend in outcome.backends if outcome.answered else not backend
                    waiting[authority] = waiting[authority] + 1 if right or outcome.anything else 0
                    if waiting[authority] == _IN_A_ROW:
                        del waiting[authority]
                        late = time.monotonic() - began
                        if late > self._settings.within_s:
                            self._fail(envoy, authority, f"was right only after {late:.1f} s")
                await asyncio.sleep(0.005)
            self.report.requests += caller.asked
        for authority in waiting:
            if not self.report.failures or time.monotonic() - began >= _GIVEN_UP_S:
                wanted = _some(should.outcome(authority).backends)
                what = f"is answered {seen.get(authority)} for {_GIVEN_UP_S:g} s, not by {wanted}"
                self._fail(envoy, authority, what)

    async def _keep_asking(self, envoy: Envoy, which: Callable[[], list[str]]) -> None:
        """Until the history ends: each request in turn, judged by the worlds that may be in effect."""
        async with Caller(envoy.gateway_port) as caller:
            while not self._ended:
                for authority in which():
                    first, began = self._settled, time.monotonic()
                    backend, seen = await caller.ask(authority)
                    may = self._allowed(authority, first, began)
                    if not may.takes(backend):
                        wanted = f"{_some(may.backends)}{' or a failure' if may.failure else ''}"
                        self._fail(envoy, authority, f"was answered {seen}, not by {wanted}")
                await asyncio.sleep(_PACE_S)
            self.report.requests += caller.asked

    def _everything(self) -> list[str]:
        """One of all requests, each in turn."""
        self._turn += 1
        found = authorities(self._expected[-1][1].world)
        return [found[self._turn % len(found)]]

    def _touched(self) -> list[str]:
        """Those that a change which is under way must not break, to be asked as often as can be: what breaks
        does so for milliseconds."""
        return self._in_question if self._settled < len(self._expected) - 1 else []

    def _allowed(self, authority: str, first: int, began: float) -> Allowed:
        """For a request that began when the world `first` had settled."""
        recent = [
            number
            for number in range(len(self._expected))
            if number >= first or self._expected[number + 1][0] > began - _REMEMBERED_S
        ]
        effective = [should for _, should in self._expected[first:]]
        return allowed(authority, effective, [self._expected[number][1] for number in recent])

    def _fail(self, envoy: Envoy, authority: str, what: str) -> None:
        if (envoy.id, authority) not in self._failed and len(self._failed) < _MOST_FAILURES:
            self._failed.add((envoy.id, authority))
            done = ", ".join(self._done) or "the beginning"
            self.report.failures.append(f"step {self._step} ({done}): {envoy.id}: {authority} {what}")


def _some(backends: frozenset[str]) -> str:
    """For people, who need not see all of them."""
    found = sorted(backends)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}" if found else "a failure"


def authorities(world: World) -> list[str]:
    """All that is asked: every host that was ever claimed, every own name, every port by its number."""
    found = list(HOSTS)
    for namespace in world.namespaces:
        for name in NAMES:
            own = f"{name}.{namespace}"
            found.append(own)
            service = world.services.get((namespace, name))
            if service:
                found += [f"{own}:{port.number}" for port in service.ports]
                found.append(f"{own}{CLUSTER[1 + service.born % 2]}")
    return [*found, f"{HOSTS[0]}:{NUMBERS[0]}"]
