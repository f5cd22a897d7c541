"""A stage of its own for each scenario: an Envoy is there in the blink of an eye."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.envoy.scenarios.stage import BINARIES, Stage, stage
from xds_server.xds.stream_events import Variant


@pytest.fixture(params=list(Variant), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each scenario is told in both variants."""
    value: Variant = request.param
    return value


@pytest.fixture(params=list(BINARIES))
def version(request: pytest.FixtureRequest) -> str:
    """And on every version of Envoy."""
    return str(request.param)


@pytest.fixture(name="stage")
async def _stage(version: str, variant: Variant, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(version, variant, tmp_path) as started:
        yield started
