from collections.abc import AsyncIterator

import pytest

from tests.unit.embedded.client import Client, client


@pytest.fixture
async def kube() -> AsyncIterator[Client]:
    async with client() as it:
        yield it
