"""A canary that is dead, hangs or reads nothing changes no answer and delays no upload beyond its timeout."""

import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import backends, objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from xds_server.config import Address
from xds_server.translate.clusters import SHADOW_TIMEOUT_S

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

UPLOAD = b"x" * (20 * 1024 * 1024)
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
        began = time.monotonic()
        answer = await fleet.send(fleet.envoys[0], method="POST", body=UPLOAD)
        took = time.monotonic() - began
        copied = await fleet.envoys[0].stat(
            "cluster.staging/myapp/8181/shadow/myapp-canary.upstream_rq_total"
        )
        fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
        await fleet.until_no_shadow()
    print(f"20 MiB upload with a canary that {kind}: {took:.2f} s")
    assert (answer.status, answer.backend) == (200, "stable")
    assert took < SHADOW_TIMEOUT_S + MARGIN_S
    assert copied > 0 or kind == "dead"
