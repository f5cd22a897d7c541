"""A control plane that takes no load reports costs the Envoys and their callers nothing."""

import asyncio
import os
import signal
import time

import pytest

from bench.process import used
from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SILENT_S = 7.0
"""Two intervals of load reports, and some."""

SOME_MIB = 8


async def test_a_stopped_control_plane_costs_nothing(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
    fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
    await fleet.until_shadow("Active")

    async def mirroring() -> bool:
        for envoy in fleet.envoys:
            assert (await fleet.send(envoy)).status == 200
        shadow = await fleet.shadow()
        return shadow is not None and shadow.reason == "Mirroring"

    await eventually(mirroring, what="the first reports")
    before = [used(envoy.process.pid).rss_mib for envoy in fleet.envoys]
    pid = fleet.control_plane.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until, slowest, sent = time.monotonic() + SILENT_S, 0.0, 0
        while time.monotonic() < until:
            for envoy in fleet.envoys:
                began = time.monotonic()
                answers = await fleet.send_many(envoy, 20)
                slowest = max(slowest, time.monotonic() - began)
                assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
                sent += len(answers)
            await asyncio.sleep(0.05)
        after = [used(envoy.process.pid).rss_mib for envoy in fleet.envoys]
    finally:
        os.kill(pid, signal.SIGCONT)
    print(f"{sent} requests, 20 at once took at most {slowest:.2f} s; MiB before {before}, after {after}")
    assert all(now - was < SOME_MIB for was, now in zip(before, after, strict=True))
    await eventually(mirroring, what="reports again")
