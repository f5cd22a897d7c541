"""The scripted API server as a fixture; a session that a source leaves open fails its test."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.kube.api_server import ApiServer, api_server


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with api_server() as server:
        yield server
        assert server.open_sessions == 0
