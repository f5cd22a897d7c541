"""How late an event loop wakes up."""

import asyncio
import time

from tests.support.waiting import eventually
from xds_server.base.lag import LoopLag


async def test_what_holds_the_loop_is_seen() -> None:
    lag = LoopLag()
    running = asyncio.create_task(lag.run())
    await eventually(lambda: sum(lag.view().late.counts) > 0)
    held = time.perf_counter() + 0.3
    while time.perf_counter() < held:
        pass
    seen = sum(lag.view().late.counts)
    await eventually(lambda: sum(lag.view().late.counts) > seen)
    running.cancel()
    # It was held for 0.3 s, and would have slept for 0.05 s of it at the most.
    assert lag.view().longest_s >= 0.2
    assert lag.view().late.total_s >= lag.view().longest_s


def test_before_it_runs_there_is_nothing() -> None:
    assert LoopLag().view().longest_s == 0.0
    assert sum(LoopLag().view().late.counts) == 0
