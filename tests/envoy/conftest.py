"""One fleet for each module of tests; a test leaves it with the manifests that it wrote."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.backends import Recorder, recorder
from tests.support.rig import Rig, rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stable() -> AsyncIterator[Recorder]:
    async with recorder("stable") as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def canary() -> AsyncIterator[Recorder]:
    async with recorder("canary") as backend:
        yield backend
