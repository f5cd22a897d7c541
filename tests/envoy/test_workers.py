"""Several serving processes behind one builder, as Envoys see them."""

import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, extra=["--workers=2"]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def backends() -> AsyncIterator[tuple[Recorder, Recorder]]:
    async with recorder("stable") as stable, recorder("canary") as canary:
        yield stable, canary


def workers(parent: int) -> list[int]:
    """The processes that a control plane started."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found]


async def test_workers_serve_a_fleet_and_do_not_outlive_their_builder(
    fleet: Rig, backends: tuple[Recorder, Recorder]
) -> None:
    stable, canary = backends
    slices = objects.endpoint_slice("myapp", [("stable-1", stable.address)])
    fleet.write(
        "all.yaml",
        [
            objects.namespace(),
            objects.service(),
            *slices,
            objects.canary(),
            objects.pod("canary-1", canary.address),
        ],
    )
    await fleet.until_shadow("Active")
    for envoy in fleet.envoys:
        answers = await fleet.send_many(envoy, 20)
        assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
        ids = {answer.test_id for answer in answers}
        await eventually(lambda ids=ids: ids <= {a.test_id for a in canary.arrivals})  # type: ignore[misc]
    pid = fleet.control_plane.process.pid
    started = workers(pid)
    assert len(started) == 2
    await fleet.control_plane.stop(signal.SIGKILL)
    await eventually(lambda: not any(_runs(each) for each in started), what="the workers to end")


def _runs(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False
