"""A canary that is dead, hangs or reads nothing changes no answer and delays no upload beyond its timeout."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import backends, objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from xds_server.base.address import Address
from xds_server.demo.envoy import Envoy
from xds_server.translate.clusters import SHADOW_TIMEOUT_S

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

UPLOAD = b"x" * (20 * 1024 * 1024)
SHADOW = "cluster.staging/myapp/8181/shadow/myapp-canary."
MARGIN_S = 5.0
"""For the upload itself on a busy machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _routed(fleet: Rig, stable: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))


@contextlib.asynccontextmanager
async def bad(kind: str) -> AsyncIterator[Address]:
    """A canary of a bad kind."""
    if kind == "hangs":
        async with backends.hanging() as address:
            yield address
    else:
        with backends.dead() if kind == "dead" else backends.listening_but_deaf() as address:
            yield address


@pytest.mark.parametrize("kind", ["dead", "hangs", "reads nothing"])
async def test_it_changes_no_answer_and_bounds_the_delay(fleet: Rig, kind: str) -> None:
    async with bad(kind) as address:
        fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", address)])
        await fleet.until_shadow("Active")
        for envoy in fleet.envoys:
            answers = await fleet.send_many(envoy, 50)
            assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
        uploads = await asyncio.gather(*(upload(fleet, envoy) for envoy in fleet.envoys))
        fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
        await fleet.until_no_shadow()
    for took, attempts, backed_up in uploads:
        print(f"20 MiB upload, canary {kind}: {took:.2f} s, {attempts} attempts, backed up {backed_up}")
        assert took < SHADOW_TIMEOUT_S + MARGIN_S
        assert attempts > 0, "the upload had a copy"
        if kind == "reads nothing":
            assert backed_up > 0, "the canary held its copy back"
            assert took > SHADOW_TIMEOUT_S / 2, "and with it the upload, which is what the bound is for"


async def upload(fleet: Rig, envoy: Envoy) -> tuple[float, int, int]:
    """Send the upload; give its seconds, the attempts to send the canary a copy of it, and how often that
    copy was held back."""
    counters = [
        SHADOW + name for name in ("upstream_rq_pending_total", "upstream_flow_control_backed_up_total")
    ]
    before = [await envoy.stat(name) for name in counters]
    began = time.monotonic()
    answer = await fleet.send(envoy, method="POST", body=UPLOAD)
    took = time.monotonic() - began
    assert (answer.status, answer.backend) == (200, "stable")
    attempts, backed_up = [await envoy.stat(name) - b for name, b in zip(counters, before, strict=True)]
    return took, attempts, backed_up
