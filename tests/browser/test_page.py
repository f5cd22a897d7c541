"""The live page in a real browser, while kubectl changes the fleet that it shows.

Each test opens the page once, and in the end it must be the same document: nothing was loaded again.
"""

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio

from tests.browser.chromium import Driver, Tab
from tests.browser.conftest import Fleet
from tests.support.waiting import eventually
from tests.wire.rig import Stream, node
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ROUTE

pytestmark = [pytest.mark.browser, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="session")]

CANARY = "myapp-canary"
MARKED = f"deployment/{CANARY}"
LABEL = "xds-shadow.io/shadow-of"
PAUSED, PERCENT = "xds-shadow.io/paused", "xds-shadow.io/percent"
UNREACHED = "net::ERR_CONNECTION_REFUSED"
HOSTILE = "<img src=x onerror=window.hurt=1>"


def row(table: str, *key: str) -> str:
    """The row of a table whose key starts so."""
    start = json.dumps(key, separators=(",", ":"))[:-1]
    return f"#{table} tr[data-key^='{start}']"


SHADOW = row("shadows", "staging", CANARY)


async def shows(tab: Tab, selector: str, *words: str) -> None:
    """Wait until there is such an element, and each of `words` can be read in it."""
    text = ""

    async def there() -> bool:
        nonlocal text
        text = await tab.text(selector)
        return bool(text) and all(word in text for word in words)

    try:
        await eventually(there)
    except AssertionError:
        raise AssertionError(f"{selector} is not there with {words}; it reads {text!r}") from None


async def is_gone(tab: Tab, selector: str) -> None:
    async def gone() -> bool:
        return await tab.text(selector) == ""

    await eventually(gone, what=f"no {selector}")


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def as_it_was(fleet: Fleet) -> AsyncIterator[None]:
    yield
    await fleet.user("label", MARKED, f"{LABEL}-")
    await fleet.user("annotate", MARKED, f"{PAUSED}-", f"{PERCENT}-")


@asynccontextmanager
async def opened(tab: Tab, fleet: Fleet, *, expected: str = "") -> AsyncIterator[Tab]:
    """The page, open. In the end it is the same document, it asked nobody but the control plane, and nothing
    is on its console but `expected`."""
    await tab.go(fleet.page)
    await shows(tab, "#link", "Live")
    await tab.js("window.opened = 'the same document'")
    yield tab
    assert await tab.js("window.opened") == "the same document"
    assert await tab.js("performance.getEntriesByType('navigation').length") == 1
    assert await tab.js("performance.getEntriesByType('navigation')[0].type") == "navigate"
    assert [url for url in tab.requests if url == fleet.page] == [fleet.page]
    assert {url for url in tab.requests if not url.startswith((fleet.page, "data:"))} == set()
    assert [each for each in tab.complaints if not expected or expected not in each] == []


async def test_a_label_makes_a_row_and_its_end_takes_it_away(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        await shows(
            tab, "#shadows .note", "No shadows. Label a Deployment with xds-shadow.io/shadow-of=SERVICE."
        )
        await fleet.user("label", MARKED, f"{LABEL}=myapp")
        await shows(tab, SHADOW, f"staging/{CANARY}", "of Service myapp", "Active")
        await shows(tab, SHADOW, "100 %", "all methods", "10.0.0.2:8080")
        await shows(tab, "#shadows .counts", "1 Active")
        await shows(tab, "#changes tbody tr", f"Deployment staging/{CANARY}", "ShadowActive")
        await fleet.user("label", MARKED, f"{LABEL}-")
        await is_gone(tab, SHADOW)
        await shows(tab, "#shadows .note", "No shadows")
        await shows(tab, "#changes tbody tr", "ShadowStopped")
        assert (await tab.text("#shadows .counts")).strip() == ""


async def test_what_annotations_say_is_shown_in_the_row_that_is_there(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        await fleet.user("label", MARKED, f"{LABEL}=myapp")
        await shows(tab, SHADOW, "Active")
        await tab.js(f"window.row = document.querySelector({json.dumps(SHADOW)})")
        await tab.js("getSelection().selectAllChildren(row.querySelector('th'))")
        selected = await tab.js("String(getSelection())")

        await fleet.user("annotate", MARKED, f"{PERCENT}=25", "xds-shadow.io/methods=GET,HEAD")
        await shows(tab, SHADOW, "25 %", "GET, HEAD")
        await fleet.user("annotate", MARKED, f"{PAUSED}=true", "xds-shadow.io/timeout=2s")
        await shows(tab, SHADOW, "Paused", "timeout=2s")
        await fleet.user("annotate", MARKED, f"{PAUSED}-", f"{PERCENT}=lots", "--overwrite")
        await shows(tab, SHADOW, "Rejected", "InvalidPolicy", "'lots' is not a percentage", "unknown")
        await shows(tab, "#shadows .counts", "1 Rejected")
        assert await tab.js("document.title") == "(1) xds-shadow"

        assert CANARY in selected
        assert await tab.js("String(getSelection())") == selected, "the selection survives"
        assert await tab.js("row.isConnected"), "the row is the same"
        assert await tab.js("row.classList.contains('changed')"), "it is marked"
        assert await tab.text("#announcement") == f"staging/{CANARY} is Rejected"
        await fleet.user("annotate", MARKED, "xds-shadow.io/methods-", "xds-shadow.io/timeout-")


async def test_ports_that_are_not_routed_are_shown_without_an_alarm(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        await fleet.user("create", "service", "clusterip", "pair", "--tcp=80:9001", "--tcp=81:9002")
        await shows(tab, "#notices tbody tr", "Service staging/pair", "PortsNotRouted", "80 (80-9001)")
        assert await tab.js("document.title") == "xds-shadow"
        assert await tab.js("document.querySelector('#problems').hidden")
        await fleet.user("annotate", "service", "pair", "xds-shadow.io/http-ports=")
        await is_gone(tab, "#notices tbody tr")
        await fleet.user("delete", "service", "pair")


async def test_the_fleet_is_shown_with_its_versions(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        for variant in Variant:
            await shows(tab, row("nodes", f"envoy-{variant}"), "In sync", str(variant), "none")
            await shows(tab, row("nodes", f"envoy-{variant}"), "envoy 1.")
        versions = row("nodes", "envoy-sotw") + " td:nth-child(3)"
        before = await tab.text(versions)
        assert re.search(r"CDS [0-9a-f]{8} ✓", before)
        await fleet.user("label", MARKED, f"{LABEL}=myapp")

        async def others() -> bool:
            return await tab.text(versions) != before

        await eventually(others, what="other versions")
        await shows(tab, row("nodes", "envoy-sotw"), "In sync")


async def test_a_control_plane_that_does_not_answer_is_shown_until_it_is_back(tab: Tab, fleet: Fleet) -> None:
    await fleet.user("label", MARKED, f"{LABEL}=myapp")
    async with opened(tab, fleet, expected=UNREACHED):
        await shows(tab, SHADOW, "Active")
        await fleet.control_plane.stop(signal.SIGKILL)
        try:
            await shows(tab, "#lost", "The control plane has not responded since")
            await shows(tab, "#link", "No response")
            await shows(tab, SHADOW, "Active")  # what it said last
            await fleet.user("annotate", MARKED, f"{PAUSED}=true")
        finally:
            await fleet.control_plane.start()
        await shows(tab, SHADOW, "Paused")
        await shows(tab, "#link", "Live")
        await is_gone(tab, "#lost")
        for variant in Variant:
            await shows(tab, row("nodes", f"envoy-{variant}"), "In sync")


async def test_a_frozen_control_plane_is_shown_too(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        os.kill(fleet.control_plane.process.pid, signal.SIGSTOP)
        try:
            await shows(tab, "#lost", "The control plane has not responded since")
        finally:
            os.kill(fleet.control_plane.process.pid, signal.SIGCONT)
        await is_gone(tab, "#lost")


async def test_a_hidden_page_sends_no_requests(tab: Tab, fleet: Fleet, browser: Driver) -> None:
    async def looks(at_it: str) -> None:
        await tab.js(f"Object.defineProperty(document, 'hidden', {{ value: !{at_it}, configurable: true }})")
        await tab.js("document.dispatchEvent(new Event('visibilitychange'))")

    async with opened(tab, fleet), browser.tab() as other:
        await looks("false")
        await other.go(fleet.page)
        await eventually(lambda: len(other.answers) >= 4)  # by then what was under way has ended
        asked = len(tab.requests)
        await eventually(lambda: len(other.answers) >= 10, what="three rounds of a page that is looked at")
        assert len(tab.requests) == asked
        await tab.js("window.setTimeout = () => 0")  # only a request at once can follow
        await looks("true")
        await eventually(lambda: len(tab.requests) > asked, what="a request at once")


async def test_what_others_write_is_shown_as_text(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet):
        await fleet.user("label", MARKED, f"{LABEL}=myapp")
        await fleet.user("annotate", MARKED, f"{PERCENT}={HOSTILE}")
        await shows(tab, SHADOW, "Rejected", HOSTILE)
        async with grpc.aio.insecure_channel(str(fleet.control_plane.xds_address)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node(HOSTILE))
            await envoy.ask(CLUSTER, answers=await envoy.take(), error=f"bad: {HOSTILE}")
            await shows(tab, "#nodes .counts", "1 Rejecting")
            found = "#nodes tr:has(.badge.bad)"
            await shows(tab, f"{found} th", HOSTILE)
            await shows(tab, f"{found} td:last-child", f"bad: {HOSTILE}")
            assert await tab.js("document.title") == "(2) xds-shadow"
        await is_gone(tab, found)
        assert await tab.js("window.hurt === undefined")
        assert await tab.js("document.querySelectorAll('main img, main script').length") == 0


async def test_an_envoy_with_listeners_of_its_own_is_known_by_that(tab: Tab, fleet: Fleet) -> None:
    async with opened(tab, fleet), grpc.aio.insecure_channel(str(fleet.control_plane.xds_address)) as channel:
        envoy = Stream(channel, Variant.SOTW)
        await envoy.ask(CLUSTER, node=node("edge-1"))
        await envoy.ask(CLUSTER, answers=await envoy.take())
        await shows(tab, row("nodes", "edge-1"), "In sync", "CDS")
        await envoy.ask(ROUTE, "gatway")
        await shows(tab, row("nodes", "edge-1"), "sotw, routes only", "Waiting", "RDS not sent")
        await shows(tab, "#problems", "Envoy edge-1", "UnknownRouteConfiguration", "'gatway'")
