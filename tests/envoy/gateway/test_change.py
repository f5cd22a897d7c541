"""A change of the gateway file while requests come: none fails, and what is open stays open."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.envoy.gateway.conftest import Scene
from tests.support.cli import xds_shadow
from tests.support.rig import HOST
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

IN_PLACE: list[dict[str, Any]] = [
    {"profile": "hardened"},
    {"trusted_cidrs": ["127.0.0.0/8"], "access_log": "json"},
    {"upgrades": ["websocket", "spdy/3.1"], "stream_idle_timeout": "1h"},
    {},
]
AT_ONCE = 3
Failure = int | aiohttp.ClientError


class Callers:
    """Through every Envoy some that keep their connection, and one that opens another for each request."""

    def __init__(self, scenes: list[Scene]) -> None:
        self._scenes = scenes
        self._answered = 0
        self._done = False
        self.failed: list[Failure] = []
        self.failed_to_connect: list[aiohttp.ClientConnectorError] = []

    async def _ask(self, scene: Scene, *, keep: bool) -> None:
        connector = aiohttp.TCPConnector(limit=1, force_close=not keep)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._done:
                try:
                    async with session.get(f"http://{scene.envoy.gateway}/", headers={"Host": HOST}) as got:
                        await got.read()
                        if got.status != HTTPStatus.OK:
                            self.failed.append(got.status)
                except aiohttp.ClientConnectorError as error:
                    self.failed_to_connect.append(error)
                except aiohttp.ClientError as error:
                    self.failed.append(error)
                self._answered += 1

    async def go_on(self) -> None:
        """Return when they have asked some more."""
        before = self._answered
        await eventually(lambda: self._answered > before + 100, what="requests")

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for scene in self._scenes:
                for number in range(AT_ONCE):
                    group.create_task(self._ask(scene, keep=number > 0))
            try:
                yield
            finally:
                self._done = True


async def test_no_request_fails_when_the_file_changes(scenes: list[Scene]) -> None:
    file = scenes[0].file
    await file.says()
    in_place = await updated_in_place(scenes)
    callers = Callers(scenes)
    async with contextlib.AsyncExitStack() as stack:
        websockets = [await stack.enter_async_context(each.websocket()) for each in scenes]
        async with callers.asking():
            for settings in IN_PLACE:
                await file.says(**settings)
                await callers.go_on()
        for websocket in websockets:  # each of a filter chain that has been replaced several times
            await websocket.send_str("still here")
            assert await websocket.receive_str() == "still here"
    assert (callers.failed, callers.failed_to_connect) == ([], [])
    assert await updated_in_place(scenes) == [each + len(IN_PLACE) for each in in_place]


async def updated_in_place(scenes: list[Scene]) -> list[int]:
    """How many changes kept the listening sockets, by Envoy."""
    return [await each.envoy.stat("listener_manager.listener_in_place_updated") for each in scenes]


async def test_another_address_costs_at_most_connections_that_are_being_opened(scenes: list[Scene]) -> None:
    file = scenes[0].file
    await file.says()
    in_place = await updated_in_place(scenes)
    callers = Callers(scenes)
    async with callers.asking():
        await file.says(listeners=[{"addresses": ["127.0.0.1"]}])
        await callers.go_on()
    # What the kernel had taken and Envoy had not: reset at once, or when the request is written.
    resets = [each for each in callers.failed if isinstance(each, aiohttp.ClientOSError)]
    assert [each for each in callers.failed if each not in resets] == []
    assert {each.errno for each in (*resets, *callers.failed_to_connect)} <= {errno.ECONNRESET}
    assert len(resets) + len(callers.failed_to_connect) <= AT_ONCE * len(scenes)
    assert await updated_in_place(scenes) == in_place


async def test_a_bad_file_changes_nothing_and_status_says_why(scenes: list[Scene]) -> None:
    file, fleet = scenes[0].file, scenes[0].fleet
    await file.says()
    file.write("profile: hardened\nupgrade: [websocket]\n")

    async def problems() -> list[tuple[str, str, str]]:
        status = await fleet.status()
        return [
            (each.reason, each.origin, each.message) for each in status.conditions if each.severity == "Error"
        ]

    await eventually(problems, what="a problem in status")
    message = (
        f"--gateway {file.path}: 'upgrade' is not a key of a gateway file; did you mean upgrades?"
        " The last valid gateway configuration stays in use."
    )
    assert await problems() == [("InvalidGateway", str(file.path), message)]
    for scene in scenes:
        reply, arrival = await scene.asked("GET //a HTTP/1.1", "api_key: 1")
        assert (reply.status, arrival and arrival.path) == (200, "//a")
    await file.says(keep_request_id="false")
    assert await problems() == []


async def test_render_prints_what_the_file_means(scenes: list[Scene], tmp_path: Path) -> None:
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text("profile: hardened\naccess-log: json\ntrusted-cidrs: [10.0.0.0/8]\n")
    options = (f"--manifests={scenes[0].fleet.manifests}", f"--gateway={gateway}")
    static = tmp_path / "static.yaml"
    static.write_text(await xds_shadow("render", *options, "-o", "static"))
    for scene in scenes:
        command = [scene.envoy.command(static)[0], "--mode", "validate", "--config-path", str(static)]
        child = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await child.communicate()
        assert child.returncode == 0, printed.decode()
