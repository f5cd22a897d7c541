from collections.abc import AsyncIterator

import pytest

from tests.unit.kubeapi.client import Client, client


@pytest.fixture
async def kube() -> AsyncIterator[Client]:
    async with client() as it:
        yield it
