"""The pictures of the page in docs/: a fleet with something of everything, light, dark and narrow.

They are written with ``UPDATE_SCREENSHOTS=1``; look at them before they are committed. Otherwise the same
page is shown, and has to fit.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.chromium import Tab
from tests.browser.conftest import Fleet
from tests.browser.test_page import row, shows
from xds_server.xds.stream_events import Variant

pytestmark = [pytest.mark.browser, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="session")]

DOCS = Path(__file__).parents[2] / "docs"
HEIGHT = 800  # what changed last is below, and grows
LARGEST = 200 * 1024
SHADOWS = {
    "myapp-canary": ("Active", ("percent=25", "methods=GET,HEAD")),
    "myapp-next": ("Paused", ("paused=true",)),
    "myapp-rewrite": ("Rejected", ("percent=all",)),
}


@pytest_asyncio.fixture(loop_scope="session")
async def everything(fleet: Fleet) -> AsyncIterator[None]:
    """Shadows of three states, and an Envoy that rejects its listener: its port is in use."""
    for name, (_, annotations) in SHADOWS.items():
        if name != "myapp-canary":
            await fleet.user("create", "deployment", name, "--image=backend")
        await fleet.user("annotate", f"deployment/{name}", *(f"xds-shadow.io/{each}" for each in annotations))
        await fleet.user("label", f"deployment/{name}", "xds-shadow.io/shadow-of=myapp")
    envoy = fleet.envoy("envoy-edge", Variant.DELTA, fleet.control_plane.http_address.port)
    try:
        await envoy.start()
        yield
    finally:
        await envoy.stop()
        for name, (_, annotations) in SHADOWS.items():
            if name != "myapp-canary":
                await fleet.user("delete", "deployment", name)
                continue
            await fleet.user("label", f"deployment/{name}", "xds-shadow.io/shadow-of-")
            names = (each.partition("=")[0] for each in annotations)
            await fleet.user("annotate", f"deployment/{name}", *(f"xds-shadow.io/{each}-" for each in names))


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("name", "scheme", "width"), [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390)]
)
async def test_the_page_fits(tab: Tab, fleet: Fleet, name: str, scheme: str, width: int) -> None:
    await tab.size(width, 800)
    await tab.prefer(prefers_color_scheme=scheme)
    await tab.go(fleet.page)
    for shadow, (state, _) in SHADOWS.items():
        await shows(tab, row("shadows", "staging", shadow), state)
    await shows(tab, row("nodes", "envoy-edge"), "in use")
    for variant in Variant:
        await shows(tab, row("nodes", f"envoy-{variant}"), "In sync")
    assert await tab.js("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    picture = await tab.picture(HEIGHT)
    assert len(picture) < LARGEST
    if os.environ.get("UPDATE_SCREENSHOTS"):
        (DOCS / f"page-{name}.png").write_bytes(picture)
