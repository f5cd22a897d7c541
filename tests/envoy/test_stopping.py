"""A shadow that was stopped is `Stopping` until each real Envoy has acknowledged that."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.observed_fleet import control_plane, envoy_of
from tests.support.waiting import eventually
from tests.unit.test_pipeline import _changes
from xds_server.core.source import Sink
from xds_server.local.demo.envoy import Envoy
from xds_server.server.app import App
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

WAYS = [
    pytest.param(version, variant, id=f"{version}-{variant}") for version in BINARIES for variant in Variant
]
ENVOYS = ("near", "far")


class Fleet:
    """A control plane in this process with two Envoys, which mirror."""

    def __init__(self, app: App, sink: Sink, canary: Recorder) -> None:
        self.app = app
        self.sink = sink
        self.canary = canary
        self.envoys: dict[str, Envoy] = {}

    def shadow(self) -> tuple[str, str]:
        """The state of the shadow, and the sentence."""
        found = self.app.reporter.shadows()
        return (found[0].state, found[0].message) if found else ("", "")

    def reported(self) -> list[str]:
        """The reasons that were reported so far, the newest first."""
        return [each.reason for each in self.app.reporter.server_state().changes]

    def stop(self) -> None:
        """Remove the label."""
        self.sink.put(_changes(objects.canary(shadow_of=None)))

    async def until_mirrored(self, at: Envoy, session: aiohttp.ClientSession) -> None:
        async def mirrored() -> bool:
            before = len(self.canary.arrivals)
            async with session.get(f"http://{at.gateway}", headers={"Host": "myapp.staging"}):
                return len(self.canary.arrivals) > before

        await eventually(mirrored, what=f"a mirrored request through {at.id}")


@contextlib.asynccontextmanager
async def mirroring(directory: Path, version: str, variant: Variant) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        app, source = await stack.enter_async_context(control_plane())
        stable = await stack.enter_async_context(recorder("stable"))
        canary = await stack.enter_async_context(recorder("canary"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        fleet = Fleet(app, await source.opened(), canary)
        fleet.sink.put(
            _changes(
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
                objects.canary(),
                objects.pod("canary-1", canary.address),
            )
        )
        for name in ENVOYS:
            envoy, _ = await stack.enter_async_context(
                envoy_of(app.addresses.xds, directory, version, variant, node_id=name)
            )
            fleet.envoys[name] = envoy
            await fleet.until_mirrored(envoy, session)
        yield fleet


@pytest.mark.parametrize(("version", "variant"), WAYS)
async def test_it_has_stopped_when_every_envoy_has_acknowledged(
    tmp_path: Path, version: str, variant: Variant
) -> None:
    async with mirroring(tmp_path, version, variant) as fleet:
        far = fleet.envoys["far"].process
        os.kill(far.pid, signal.SIGSTOP)
        try:
            fleet.stop()
            await eventually(
                lambda: "1 of 2 Envoys; Envoy far" in fleet.shadow()[1], what="the other to stop"
            )
            assert fleet.shadow()[0] == "Stopping"
            assert "ShadowStopped" not in fleet.reported()
        finally:
            os.kill(far.pid, signal.SIGCONT)
        await eventually(lambda: fleet.shadow() == ("", ""), what="the end")
        assert fleet.reported()[0] == "ShadowStopped"


@pytest.mark.parametrize("variant", Variant)
async def test_an_envoy_that_dies_has_stopped_when_it_is_back(tmp_path: Path, variant: Variant) -> None:
    async with mirroring(tmp_path, "1.40", variant) as fleet:
        far = fleet.envoys["far"]
        os.kill(far.process.pid, signal.SIGSTOP)
        fleet.stop()
        await eventually(lambda: "1 of 2 Envoys; Envoy far has not" in fleet.shadow()[1], what="the other")
        await far.stop(signal.SIGKILL)
        await eventually(lambda: "Envoy far has disconnected without" in fleet.shadow()[1], what="its death")
        assert "ShadowStopped" not in fleet.reported()
        await far.start()
        await eventually(lambda: fleet.shadow() == ("", ""), what="the end")
        assert fleet.reported()[0] == "ShadowStopped"


async def test_a_pause_is_reported_when_it_is_true(tmp_path: Path) -> None:
    async with mirroring(tmp_path, "1.40", Variant.DELTA) as fleet:
        far = fleet.envoys["far"].process
        os.kill(far.pid, signal.SIGSTOP)
        try:
            fleet.sink.put(_changes(objects.canary(paused="true")))
            await eventually(
                lambda: "1 of 2 Envoys; Envoy far" in fleet.shadow()[1], what="the other to stop"
            )
            assert fleet.shadow()[0] == "Paused"
            assert "ShadowPaused" not in fleet.reported()
        finally:
            os.kill(far.pid, signal.SIGCONT)
        await eventually(lambda: "Envoys" not in fleet.shadow()[1], what="the end")
        assert fleet.reported()[0] == "ShadowPaused"
