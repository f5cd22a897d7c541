"""Ten random histories on four real Envoys, see `tests.envoy.histories`.

HISTORY_SEED and HISTORY_STEPS in the environment choose one of them, and steps of it.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.histories.changes import CANARIES, STABLE
from tests.envoy.histories.fleet import Fleet, fleet
from tests.envoy.histories.history import History, Settings
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

_GIVEN = os.environ.get("HISTORY_SEED", "")
SEEDS = (
    [pytest.param(int(seed)) for seed in _GIVEN.split(",")]
    if _GIVEN
    else [pytest.param(seed, marks=[pytest.mark.thorough] if seed >= 5 else []) for seed in range(10)]
)
STEPS = [int(step) for step in os.environ.get("HISTORY_STEPS", "").split(",") if step] or None


class Fleets:
    """One fleet after another: a history that failed may have left anything behind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started = 0
        self._running: Fleet | None = None
        self._stack = contextlib.AsyncExitStack()

    async def get(self) -> Fleet:
        """One on which nothing has failed."""
        if self._running is None:
            self._started += 1
            directory = self._directory / str(self._started)
            directory.mkdir()
            self._running = await self._stack.enter_async_context(fleet(directory, (*STABLE, *CANARIES)))
        return self._running

    async def end(self) -> None:
        """Of the one that runs, if any."""
        self._running = None
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleets(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleets]:
    running = Fleets(tmp_path_factory.mktemp("fleets"))
    yield running
    await running.end()


@pytest.mark.parametrize("seed", SEEDS)
async def test_who_should_be_answered_is_whatever_tenants_do(fleets: Fleets, seed: int) -> None:
    report = await History(await fleets.get(), seed, Settings(STEPS, within_s=PATIENCE_S)).play()
    if report.failures:
        await fleets.end()
    assert not report.failures, "\n".join(report.failures)
    assert report.steps, "it was about nothing"
