"""A canary that is dead, hangs, reads nothing or does worse changes no answer and holds no upload back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.policy.backend import Kind
from bench.policy.stage import backend
from bench.process import used
from tests.support import backends, objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from xds_server.base.address import Address
from xds_server.core.annotations import UNTREATED
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

UPLOAD = b"x" * (20 * 1024 * 1024)
SHADOW = "cluster.staging/myapp/http/shadow/myapp-canary."


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
async def test_it_changes_no_answer_and_holds_nothing_back(fleet: Rig, kind: str) -> None:
    async with bad(kind) as address:
        fleet.write("canary.yaml", [objects.canary(max_body="32Mi"), objects.pod("canary-1", address)])
        await fleet.until_shadow("Active")
        for envoy in fleet.envoys:
            # Enough to find out that it is dead; otherwise fewer than the four that may be in flight.
            answers = await fleet.send_many(envoy, 10 if kind == "dead" else 2, at_once=2)
            assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
        uploads = await asyncio.gather(*(upload(fleet, envoy) for envoy in fleet.envoys))
        fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
        await fleet.until_no_shadow()
    for took, attempts in uploads:
        print(f"20 MiB upload, canary {kind}: {took:.2f} s, {attempts} attempts")
        # What waits for the canary waits for as long as a mirrored request may last.
        assert took < UNTREATED.timeout_ms / 1000
        # By then a canary that is dead has failed too often, and is left alone.
        assert (attempts > 0) == (kind != "dead")


async def upload(fleet: Rig, envoy: Envoy) -> tuple[float, int]:
    """Send the upload; give its seconds, and the attempts to mirror it to the canary."""
    counter = SHADOW + "upstream_rq_pending_total"
    before = await envoy.stat(counter)
    began = time.monotonic()
    answer = await fleet.send(envoy, method="POST", body=UPLOAD)
    took = time.monotonic() - began
    assert (answer.status, answer.backend) == (200, "stable")
    return took, await envoy.stat(counter) - before


HELD = 30
"""Uploads at once."""

SOME_MIB = 64
"""What else Envoy may need meanwhile, and what its allocator keeps."""


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.GOOD])
async def test_uploads_succeed_beside_a_hostile_canary(fleet: Rig, kind: Kind, tmp_path: Path) -> None:
    body = UPLOAD[:5_000_000]
    async with backend(kind, tmp_path / "port") as port:
        address = Address("127.0.0.1", port)
        fleet.write("canary.yaml", [objects.canary(max_body="8Mi"), objects.pod("canary-1", address)])
        await fleet.until_shadow("Active")
        for envoy in fleet.envoys:
            before = used(envoy.process.pid).rss_mib
            answers = await asyncio.gather(
                *(fleet.send(envoy, method="POST", body=body) for _ in range(HELD)),
                *(fleet.send(envoy) for _ in range(HELD)),
            )
            assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
            assert await envoy.stat(SHADOW + "upstream_rq_total") > 0
            # Copies are held whole while they last, twice over while they are being sent; answers are not.
            assert used(envoy.process.pid).rss_mib - before < 2 * HELD * len(body) / 2**20 + SOME_MIB
        fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
        await fleet.until_no_shadow()
