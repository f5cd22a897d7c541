"""A real chromium without a window, driven over the DevTools protocol.

A client of a few methods on aiohttp, which is there: libraries for this bring a browser, a driver of the same
version or a Node.js of their own, and hide what tests want to see, each request and each word on the console.
"""

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.support.waiting import PATIENCE_S
from xds_server.local.demo.processes import Process

_OPTIONS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
_PORT_FILE: Final = "DevToolsActivePort"
"""Where it says on which port and path it is driven."""


def binary() -> str | None:
    """The chromium of this machine: `CHROMIUM`, else on the PATH under one of its names."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, filter(None, names))), None)


class Tab:
    """One page and what it did: the addresses that it asked, the status of each answer, and in `complaints`
    what is on its console: errors, exceptions, breaches of its policy."""

    def __init__(self, driver: "Driver", session: str) -> None:
        self._driver = driver
        self._session = session
        self.requests: list[str] = []
        self.answers: list[tuple[str, int]] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command about this page."""
        return await self._driver.call(method, self._session, **parameters)

    async def js(self, expression: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def text(self, selector: str) -> str:
        """What a person can read of the first such element; empty if it is not there or not to be seen."""
        return str(await self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def go(self, url: str) -> None:
        """Open an address."""
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int) -> None:
        """As a screen of so many pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def prefer(self, **features: str) -> None:
        """What the user prefers, such as `prefers_color_scheme="dark"`."""
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=given)

    async def picture(self, most: int) -> bytes:
        """The page down to so many pixels, as PNG."""
        height = min(most, await self.js("document.documentElement.scrollHeight"))
        width = await self.js("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        found = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def note(self, method: str, about: dict[str, Any]) -> None:
        """Keep what tests ask of an event."""
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Network.responseReceived":
                self.answers.append((about["response"]["url"], about["response"]["status"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(about["args"]))
            case "Log.entryAdded":
                self.complaints.append(about["entry"]["text"])


@dataclass
class Driver:
    """Commands to a browser, and what it says of its pages."""

    socket: aiohttp.ClientWebSocketResponse
    tabs: dict[str, Tab] = field(default_factory=dict)
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self._ids)
        command = {"id": number, "method": method, "params": parameters}
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json(command | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE_S):
            found = await answer
        assert "error" not in found, (method, found["error"])
        return dict(found["result"])

    async def listen(self) -> None:
        """Until the connection ends."""
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                answer = self._waiting.pop(said["id"])
                if not answer.done():
                    answer.set_result(said)
            elif tab := self.tabs.get(said.get("sessionId", "")):
                tab.note(said["method"], said["params"])

    @asynccontextmanager
    async def tab(self, width: int = 1280, height: int = 800) -> AsyncIterator[Tab]:
        """A page with nothing in it yet, closed at the end."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self.tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.size(width, height)
        try:
            yield tab
        finally:
            await self.call("Target.closeTarget", targetId=target)


@asynccontextmanager
async def chromium(path: str, directory: Path) -> AsyncIterator[Driver]:
    """A browser with a profile of its own in `directory`."""
    profile = directory / "profile"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [path, *_OPTIONS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    process = Process("chromium", command, directory / "chromium.log")

    async def listening() -> bool:
        file = profile / _PORT_FILE
        return file.exists() and len(file.read_text().split()) == 2

    try:
        await process.start()
        await process.until(listening, what="being driven")
        port, where = (profile / _PORT_FILE).read_text().split()
        url = f"ws://127.0.0.1:{port}{where}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            driver = Driver(socket)
            listening_task = asyncio.create_task(driver.listen(), name="devtools")
            try:
                yield driver
            finally:
                with suppress(ConnectionError):
                    await driver.call("Browser.close")
                await socket.close()
                await listening_task
    finally:
        await process.stop()
