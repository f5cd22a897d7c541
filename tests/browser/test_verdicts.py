"""The verdicts on the page in a real browser: pictures, what an opened row shows, and names for people who do
not see them. The evidence is made up (`judged.py`)."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Tab
from tests.browser.judged import Judged, page, three
from tests.browser.test_page import row, shows
from tests.support.waiting import eventually
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.tally import Group
from xds_server.server.verdict_report import Replica

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCS = Path(__file__).parents[2] / "docs"
LARGEST = 200 * 1024
HEIGHT = 760
BAD, GOOD, FEW = (row("verdicts", "staging", name) for name in ("myapp-canary", "myapp-next", "myapp-slim"))
HOSTILE = "<img src=x onerror=window.hurt=1>"


@asynccontextmanager
async def opened(tab: Tab, judged: Judged) -> AsyncIterator[str]:
    """The page, open. In the end nothing is on its console, and it asked nobody else."""
    async with page(judged) as url:
        await tab.go(url)
        await shows(tab, "#link", "Live")
        yield url
        assert {asked for asked in tab.requests if not asked.startswith((url, "data:"))} == set()
        assert tab.complaints == []
        assert await tab.js("window.hurt === undefined")


async def press(tab: Tab, key: str) -> None:
    text = {"Enter": "\r"}.get(key, "")
    code = {"Enter": 13, "Tab": 9}[key]
    for kind in ("keyDown", "keyUp"):
        await tab.call("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)


async def nodes(tab: Tab, role: str) -> list[dict[str, Any]]:
    """What assistive technology is told of the elements of a role."""
    found = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
    return [each for each in found if each.get("role", {}).get("value") == role and not each["ignored"]]


def named(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", ""))


async def test_each_shadow_has_its_verdict_with_figures_and_pictures(tab: Tab) -> None:
    async with opened(tab, three()):
        await shows(tab, BAD, "staging/myapp-canary", "of Service web", "Worse", "POST /orders")
        await shows(tab, BAD, "Fields of bodies that differ: 1", "100 % of the sampled pairs arrived")
        await shows(tab, f"{BAD} .key.canary", "Mirrored", "/s", "% failed")
        await shows(tab, f"{BAD} td:nth-child(4)", "Canary p50", "Primary p50 16 ms, p95 38 ms, p99 54 ms")
        await shows(tab, GOOD, "NoWorse", "fails at most")
        await shows(tab, FEW, "TooEarly", "120 of at least 1000 pairs")
        await shows(tab, "#verdicts .counts", "1 Worse", "1 TooEarly", "1 NoWorse")
        assert await tab.js("document.title") == "(1) xds-shadow"
        assert await tab.js(f"document.querySelectorAll({json.dumps(f'{BAD} svg')}).length") == 2
        await tab.js("document.querySelector('#verdicts .counts button').click()")
        await eventually(rows_are(tab, 1))


def rows_are(tab: Tab, count: int) -> Any:
    async def there() -> bool:
        return bool(
            await tab.js("document.querySelectorAll('#verdicts > table > tbody > tr').length") == count
        )

    return there


async def test_a_row_is_opened_with_the_keyboard_and_stays_open(tab: Tab) -> None:
    judged = three()
    async with opened(tab, judged):
        await shows(tab, BAD, "Paths and fields")
        summary = f"{BAD} summary"
        await tab.js(f"document.querySelector({json.dumps(summary)}).focus()")
        await press(tab, "Enter")
        await shows(tab, f"{BAD} .evidence", "POST /orders", "1200", "200: 1140, 500: 60", "p99")
        await shows(tab, f"{BAD} .evidence", "$.items[].price", "type", "380 of 400", "0 of 400")
        await shows(tab, f"{BAD} .evidence", "more than the baseline", "as the baseline")
        await shows(tab, f"{BAD} .evidence", "made no pair: 7 not sent.", "not compared: 3 encoding.")
        await press(tab, "Tab")
        assert await tab.js("document.activeElement.getAttribute('aria-label')") == "Pairs by path"

        judged.pair(judged.records[NamespacedName("staging", "myapp-canary")], "DELETE /orders/{id}", 70)
        judged.judge()
        await shows(tab, f"{BAD} .evidence", "DELETE /orders/{id}")
        assert await tab.js(f"document.querySelector({json.dumps(f'{BAD} details')}).open")


async def test_pictures_and_controls_have_names(tab: Tab) -> None:
    async with opened(tab, three()):
        await shows(tab, FEW, "TooEarly")
        await tab.js(f"document.querySelector({json.dumps(f'{BAD} summary')}).click()")
        await shows(tab, f"{BAD} .evidence", "POST /orders")
        images = [named(each) for each in await nodes(tab, "image")]
        assert len(images) == 6
        assert [each for each in images if each.startswith("Requests of the last 30 minutes. Mirrored 8.")]
        assert [each for each in images if each.startswith("Latencies of 6000 pairs. Canary p50 ")]
        openers = [named(each) for each in await nodes(tab, "DisclosureTriangle")]
        assert sorted(openers) == [
            f"Paths and fields of staging/{name}" for name in ("myapp-canary", "myapp-next", "myapp-slim")
        ]
        assert {"Pairs by path", "Fields of bodies that differ"} <= {
            named(each) for each in await nodes(tab, "region")
        }
        headers = {named(each) for each in await nodes(tab, "columnheader")}
        assert {"Verdict", "Requests", "Latency", "Only the canary failed"} <= headers


async def test_figures_that_change_are_not_announced_and_a_verdict_is(tab: Tab) -> None:
    judged = three()
    async with opened(tab, judged):
        await shows(tab, FEW, "TooEarly")
        judged.add("myapp-slim", pairs=300)
        judged.judge()
        await shows(tab, FEW, "300 of at least 1000 pairs")
        assert await tab.text("#announcement") == ""
        assert not await tab.js(f"document.querySelector({json.dumps(FEW)}).classList.contains('changed')")
        judged.add("myapp-slim", pairs=3_000, failing=0.2)
        judged.judge()
        await shows(tab, FEW, "Worse")
        assert await tab.text("#announcement") == "The verdict on staging/myapp-slim is Worse"
        assert await tab.js(f"document.querySelector({json.dumps(FEW)}).classList.contains('changed')")


async def test_a_replica_whose_evidence_is_missing_is_named(tab: Tab) -> None:
    judged = three()
    judged.replicas = (Replica("xds-shadow-0"), Replica("xds-shadow-1", "it did not answer in 2 s"))
    async with opened(tab, judged):
        await shows(
            tab, "#source", "Verdicts are without the replica xds-shadow-1: it did not answer in 2 s."
        )


async def test_what_callers_send_is_shown_as_text(tab: Tab) -> None:
    judged = Judged()
    judged.add("myapp-canary", pairs=100).tally.groups[HOSTILE] = Group()
    async with opened(tab, judged):
        await shows(tab, BAD, "TooEarly")
        await tab.js(f"document.querySelector({json.dumps(f'{BAD} summary')}).click()")
        await shows(tab, f"{BAD} .evidence", HOSTILE)


async def test_without_shadows_there_are_no_verdicts(tab: Tab) -> None:
    async with opened(tab, Judged()):
        await shows(tab, "#shadows .note", "No shadows")
        assert await tab.js("document.querySelector('#verdicts').hidden")


async def test_two_hundred_shadows_are_sent_once_and_can_be_filtered(tab: Tab) -> None:
    judged = Judged()
    for number in range(200):
        judged.add(f"canary-{number:03}", pairs=100)
    async with opened(tab, judged) as url:
        await eventually(rows_are(tab, 200))
        await eventually(
            lambda: [status for asked, status in tab.answers if asked == f"{url}api/v1/pictures"][3:]
        )
        statuses = [status for asked, status in tab.answers if asked == f"{url}api/v1/pictures"]
        assert statuses[0] == 200
        assert set(statuses[1:]) == {304}
        await tab.js(
            "const filter = document.querySelector('#verdicts input');"
            " filter.value = 'canary-199'; filter.dispatchEvent(new Event('input'))"
        )
        await eventually(rows_are(tab, 1))


@pytest.mark.parametrize(
    ("name", "scheme", "width"), [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390)]
)
async def test_verdicts_fit(tab: Tab, name: str, scheme: str, width: int) -> None:
    """Their pictures in docs/ are written with ``UPDATE_SCREENSHOTS=1``."""
    await tab.size(width, 800)
    await tab.prefer(prefers_color_scheme=scheme)
    async with opened(tab, three()):
        await shows(tab, FEW, "TooEarly")
        await tab.js(f"document.querySelector({json.dumps(f'{BAD} summary')}).click()")
        await shows(tab, f"{BAD} .evidence", "$.trace")
        assert await tab.js("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        await tab.js(
            "document.querySelectorAll('header, section:not(#verdicts)').forEach((each) => each.remove())"
        )
        picture = await tab.picture(HEIGHT)
        assert len(picture) < LARGEST
        if os.environ.get("UPDATE_SCREENSHOTS"):
            (DOCS / f"verdicts-{name}.png").write_bytes(picture)
