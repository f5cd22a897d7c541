"""A control plane that dies takes nothing with it, and coming back changes nothing."""

import signal
from functools import partial

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

MODIFICATIONS = (
    "listener_manager.listener_added",
    "listener_manager.listener_modified",
    "listener_manager.listener_removed",
    "listener_manager.listener_in_place_updated",
    "cluster_manager.cluster_added",
    "cluster_manager.cluster_modified",
    "cluster_manager.cluster_removed",
    "cluster_manager.update_merge_cancelled",
    "http.gateway.rds.gateway.config_reload",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _shadowed(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
    fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
    await fleet.until_shadow("Active")


async def _modifications(envoy: Envoy) -> dict[str, int]:
    stats = await envoy.stats()
    return {name: stats.get(name, 0) for name in MODIFICATIONS}


async def _serves_and_mirrors(fleet: Rig, canary: Recorder) -> None:
    for envoy in fleet.envoys:
        answer = await fleet.send(envoy)
        assert (answer.status, answer.backend) == (200, "stable")
        await canary.until_seen(answer.test_id)


async def test_killed_and_restarted_it_modifies_nothing(fleet: Rig, canary: Recorder) -> None:
    before = [await _modifications(envoy) for envoy in fleet.envoys]
    assert all(counters["cluster_manager.cluster_added"] for counters in before), "the counters are real"

    await fleet.control_plane.stop(signal.SIGKILL)
    for envoy in fleet.envoys:
        await eventually(lambda envoy=envoy: _disconnected(envoy))  # type: ignore[misc]
    await _serves_and_mirrors(fleet, canary)

    await fleet.control_plane.start()
    await fleet.until_synced()
    after = [await _modifications(envoy) for envoy in fleet.envoys]
    assert after == before
    await _serves_and_mirrors(fleet, canary)

    # They listen to the new one: a change arrives.
    fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
    await fleet.until_no_shadow()
    for envoy in fleet.envoys:
        await eventually(partial(_has_no_shadow_cluster, envoy))


async def _has_no_shadow_cluster(envoy: Envoy) -> bool:
    return not await envoy.stats("^cluster.staging/myapp/http/shadow.*membership_total")


async def _disconnected(envoy: Envoy) -> bool:
    return await envoy.stat("control_plane.connected_state") == 0


async def test_an_orderly_stop_ends_streams_and_the_process(fleet: Rig) -> None:
    await fleet.control_plane.stop()
    assert "stopped" in fleet.control_plane.process.log.read_text().splitlines()[-1]
    for envoy in fleet.envoys:
        await eventually(lambda envoy=envoy: _disconnected(envoy))  # type: ignore[misc]
        assert (await fleet.send(envoy)).status == 200
    await fleet.control_plane.start()
    await fleet.until_synced()
