"""Callers notice nothing of a control plane that is stopped, killed or started again, and no verdict is made
of what was lost meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.envoy.verdicts.stage import Stage, stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.thorough]

DOORS = ["1.40-delta-gateway", "1.36-sotw-own"]
_MANY = 12_000

_MEMORY = 20 * 2**20


@asynccontextmanager
async def load(fleet: Stage) -> AsyncIterator[None]:
    async def run() -> None:
        while True:
            await fleet.send_everywhere(80, at_once=4)

    task = asyncio.create_task(run(), name="load")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def more_requests(fleet: Stage, count: int) -> None:
    wanted = fleet.sent + count
    await eventually(lambda: fleet.sent >= wanted, what=f"{count} requests")


async def memory(fleet: Stage) -> list[int]:
    return [await door.envoy.stat("server.memory_allocated") for door in fleet.doors.values()]


async def test_callers_notice_nothing_and_no_verdict_is_made_of_what_was_lost(tmp_path: Path) -> None:
    async with stage(tmp_path, [0.0], doors=DOORS) as fleet:
        await fleet.shadow(0.0, 0.0)
        async with load(fleet):
            await more_requests(fleet, 2_000)
            before = await memory(fleet)
            os.kill(fleet.control_plane.process.pid, signal.SIGSTOP)
            await more_requests(fleet, _MANY)
            while_stopped = await memory(fleet)
            os.kill(fleet.control_plane.process.pid, signal.SIGCONT)
            await eventually(partial(expects, fleet, _MANY), what="the load reports of the pause")
            after_pause = await fleet.verdict()
            await fleet.control_plane.stop(signal.SIGKILL)
            killed = time.time()
            await more_requests(fleet, _MANY)
            while_dead = await memory(fleet)
            await fleet.control_plane.start()
            await eventually(partial(judges, fleet), what="pairs after the restart")
            restarted = await fleet.verdict()
        assert fleet.failed == 0
        for grown in (while_stopped, while_dead):
            assert all(now - then < _MEMORY for now, then in zip(grown, before, strict=True)), (before, grown)
        print(f"memory {before}, stopped {while_stopped}, dead {while_dead}")
        print(f"after the pause {after_pause.verdict}: {after_pause.message}")
        print(f"after the restart {restarted.verdict}: {restarted.message}")
        # What Envoys and the network held arrives late, and counts as what arrives in time does.
        assert after_pause.verdict != "NoWorse" or after_pause.arrived >= 0.9
        assert restarted.verdict in ("Blind", "TooEarly")
        assert restarted.since.seconds >= killed - 1


async def expects(fleet: Stage, pairs: int) -> bool:
    return (await fleet.verdict()).expected >= pairs


async def judges(fleet: Stage) -> bool:
    return (await fleet.verdict()).total.pairs > 0
