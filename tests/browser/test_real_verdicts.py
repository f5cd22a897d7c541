"""The page in a real browser, with the verdict that comes of what real Envoys report."""

import json
from pathlib import Path

import pytest

from tests.browser.chromium import Tab
from tests.browser.test_page import row, shows
from tests.support import objects
from tests.support.backends import recorder
from tests.support.rig import rig

pytestmark = [pytest.mark.browser, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="session")]

ROW = row("verdicts", "staging", "myapp-canary")


async def test_a_canary_that_fails_is_worse_on_the_page(tab: Tab, tmp_path: Path) -> None:
    async with (
        recorder("stable") as stable,
        recorder("canary", fails=4) as canary,
        rig(tmp_path) as fleet,
    ):
        fleet.write("base.yaml", [objects.namespace(), objects.service()])
        fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await fleet.until_shadow("Active")
        for envoy in fleet.envoys:
            await fleet.send_many(envoy, 100)
        await tab.go(f"http://{fleet.control_plane.http_address}/")
        await shows(tab, ROW, "Worse", "In 200 pairs the canary failed alone in 50, the primary alone in 0.")
        await shows(tab, f"{ROW} .key.canary", "25 % failed")
        await tab.js(f"document.querySelector({json.dumps(f'{ROW} summary')}).click()")
        await shows(tab, f"{ROW} .evidence", "GET /", "200: 200", "200: 150, 500: 50")
        assert tab.complaints == []
