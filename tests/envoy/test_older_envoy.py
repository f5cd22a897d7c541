"""The oldest Envoy that is tested mirrors as the newest does: it refuses VHDS over ADS, and gets none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import recorder
from tests.support.rig import Rig, rig

pytestmark = pytest.mark.envoy

OLDEST = "1.36"


@pytest.fixture
async def older(tmp_path: Path) -> AsyncIterator[Rig]:
    """A fleet of the oldest Envoys, one in either variant."""
    async with rig(tmp_path, binary=BINARIES[OLDEST]) as fleet:
        yield fleet


async def test_an_older_envoy_mirrors_too(older: Rig) -> None:
    async with recorder("stable") as stable, recorder("canary") as canary:
        older.write("base.yaml", [objects.namespace(), objects.service()])
        older.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        older.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await older.until_shadow("Active")
        for envoy in older.envoys:
            answer = await older.send(envoy)
            assert (answer.status, answer.backend) == (200, "stable")
            await canary.until_seen(answer.test_id)
            [copy] = canary.of(answer.test_id)
            assert (copy.host, copy.shadow) == ("myapp.staging", "staging/myapp-canary")
            marked = await older.send(envoy, headers={"x-xds-shadow": "elsewhere/app"})
            after = await older.send(envoy)
            await canary.until_seen(after.test_id)
            assert not canary.of(marked.test_id)
        status = await older.status()
        assert {node.build for node in status.nodes} == {f"envoy {OLDEST}.4"}
