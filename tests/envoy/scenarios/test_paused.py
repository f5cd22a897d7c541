"""An Envoy is stopped for a minute, as on a machine that swaps or in a debugger.

Rule 18 of docs/internals/xds-checklist.md: the stopped Envoy delays no other, and no queue grows for it.
Afterwards it gets the latest state at once and nothing in between. The minute is longer than the deadlines
of a write and a keepalive ping, so the Envoy gets the state on a new stream.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.envoy.scenarios.stage import BINARIES, connected
from tests.support.ads_server import Server
from tests.support.resources import assignment, cluster, listener, route_configuration
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.ids import StreamId
from xds_server.local.demo.envoy import Envoy
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, Resumed, Sent, StreamOpened, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

pytestmark = [pytest.mark.envoy, pytest.mark.thorough]

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
PAUSE_S = 60.0
COMMITS = 100
PADDING = 400_000
"""Bytes in the routes: so many commits are more than gRPC, the kernel and Envoy hold together."""


@dataclass
class Fleet:
    """A server; Envoys that go on, and Envoys that are paused."""

    server: Server
    busy: list[Envoy] = field(default_factory=list)
    paused: list[Envoy] = field(default_factory=list)

    def streams(self, envoy: Envoy) -> set[StreamId]:
        """All the streams that this Envoy ever opened."""
        opened = (event for event in self.server.events if isinstance(event, StreamOpened))
        return {event.stream for event in opened if event.node.id == envoy.id}

    async def until_held(self, snapshot: Snapshot, by: Iterable[Envoy]) -> None:
        """Wait until these Envoys have said that they have all of the snapshot."""
        for envoy in by:
            await eventually(lambda envoy=envoy: self._holds(envoy, snapshot), what=f"{envoy.id} to catch up")  # type: ignore[misc]

    def _holds(self, envoy: Envoy, snapshot: Snapshot) -> bool:
        streams = self.streams(envoy)
        answers = (event for event in self.server.events if isinstance(event, Acked | Resumed))
        latest = {event.type_url: event.version for event in answers if event.stream in streams}
        return latest == {type_url: snapshot.of(type_url).version for type_url in TYPES}

    def pushes(self, envoy: Envoy, since: int) -> Counter[str]:
        """How many responses of each type were sent to an Envoy after that many events."""
        streams = self.streams(envoy)
        sent = (event for event in self.server.events[since:] if isinstance(event, Sent))
        return Counter(event.type_url for event in sent if event.stream in streams)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(await stack.enter_async_context(Server()))

        async def start(name: str, version: str, variant: Variant) -> Envoy:
            envoy = connected(version, variant, fleet.server.address, tmp_path, name=name)
            return await stack.enter_async_context(envoy)

        for variant in Variant:
            fleet.busy.append(await start("busy", "1.40", variant))
            for version in BINARIES:
                fleet.paused.append(await start("paused", version, variant))
        yield fleet


@contextmanager
def standing_still(envoys: Iterable[Envoy]) -> Iterator[None]:
    """These processes do nothing, and do not end either."""
    pids = [envoy.process.pid for envoy in envoys]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _world(n: int) -> list[Resource]:
    """A resource of each type, all different from those of any other `n`."""
    return [
        cluster("cluster_0", connect_timeout_s=1 + n),
        assignment("cluster_0", Address("127.0.0.1", 1), overprovisioning=100 + n),
        listener("listener_0", "routes_0", prefix=f"scenario_{n}"),
        route_configuration("routes_0", "cluster_0", domain=f"{n}.test", padding=PADDING),
    ]


@pytest.mark.parametrize("pause_s", [PAUSE_S])
async def test_an_envoy_that_is_paused_delays_no_other_and_catches_up_at_once(
    fleet: Fleet, pause_s: float
) -> None:
    loop = asyncio.get_running_loop()
    snapshot = fleet.server.commit(*_world(0))
    await fleet.until_held(snapshot, [*fleet.busy, *fleet.paused])

    with standing_still(fleet.paused):
        begin, before = loop.time(), len(fleet.server.events)
        for n in range(1, COMMITS + 1):
            snapshot = fleet.server.commit(*_world(n))
            await fleet.until_held(snapshot, fleet.busy)
            # Not a wait for anything: the time that passes is what is tested.
            await asyncio.sleep(max(0.0, begin + pause_s * n / COMMITS - loop.time()))
    resumed = len(fleet.server.events)
    for envoy in fleet.busy:
        assert fleet.pushes(envoy, before) == dict.fromkeys(TYPES, COMMITS)
    for envoy in fleet.paused:
        assert fleet.pushes(envoy, before)[ROUTE] < COMMITS, "the network takes no more, and nothing queues"

    await fleet.until_held(snapshot, fleet.paused)
    for envoy in fleet.paused:
        assert fleet.pushes(envoy, resumed) == dict.fromkeys(TYPES, 1)
