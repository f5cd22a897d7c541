"""Two replicas, restarted one after the other under load: no Envoy changes its configuration, no request
fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.objects import write_documents
from tests.support.rig import Rig
from tests.support.waiting import eventually
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

ENVOYS_EACH = 2
CHANGES = (
    "listener_manager.listener_added",
    "listener_manager.listener_modified",
    "listener_manager.listener_removed",
    "cluster_manager.cluster_added",
    "cluster_manager.cluster_modified",
    "cluster_manager.cluster_removed",
    "http.gateway.rds.gateway.config_reload",
    "http.gateway.rds.vhds.gateway.config_reload",
)


@contextlib.asynccontextmanager
async def two_replicas(directory: Path) -> AsyncIterator[tuple[list[ControlPlane], Rig]]:
    """Two control planes that read the same directory, and Envoys that know both."""
    manifests = directory / "manifests"
    manifests.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        replicas = []
        for name in ("a", "b"):
            (directory / name).mkdir()
            replica = ControlPlane([f"--manifests={manifests}"], directory / name)
            stack.push_async_callback(replica.stop)
            replicas.append(await replica.start())
        first, second = (replica.xds_address for replica in replicas)
        count = ENVOYS_EACH * len(Variant)
        ports = stack.enter_context(reserved_ports(count))
        envoys = []
        for number, (mode, port) in enumerate(zip(list(Variant) * ENVOYS_EACH, ports, strict=True)):
            options = BootstrapOptions(
                node_id=f"{mode.value}-{number}",
                mode=mode,
                xds_address=first,
                further_xds_addresses=(second,),
                admin_port=0,
                gateway_port=port,
            )
            envoys.append(Envoy(options, directory))
            stack.push_async_callback(envoys[-1].stop)
        await asyncio.gather(*(envoy.start() for envoy in envoys))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield replicas, Rig(manifests, replicas[0], tuple(envoys), session)


async def _connected(replicas: list[ControlPlane]) -> dict[str, int]:
    """On how many streams each Envoy is, where it has taken all that it was sent."""
    found: dict[str, int] = {}
    for replica in replicas:
        status = await asyncio.to_thread(get_status, replica.admin_address)
        for each in status.nodes:
            if each.types and all(kind.sync == "SYNCED" for kind in each.types):
                found[each.id] = found.get(each.id, 0) + 1
    return found


async def _changes(envoy: Envoy) -> dict[str, int]:
    stats = await envoy.stats("^(listener_manager|cluster_manager|http.gateway.rds)")
    return {name: stats.get(name, 0) for name in CHANGES}


async def test_a_rolling_restart_changes_no_configuration_and_fails_no_request(tmp_path: Path) -> None:
    async with (
        recorder("stable") as stable,
        recorder("canary") as canary,
        two_replicas(tmp_path) as (replicas, fleet),
    ):
        write_documents(fleet.manifests / "all.yaml", _world(stable, canary))
        everybody = {envoy.id: 1 for envoy in fleet.envoys}

        async def all_in_sync() -> bool:
            return await _connected(replicas) == everybody

        async def all_mirrored() -> bool:
            answers = [await fleet.send(envoy) for envoy in fleet.envoys]
            ids = {answer.test_id for answer in answers}
            return ids <= {arrival.test_id for arrival in canary.arrivals}

        await asyncio.gather(*(envoy.until_serving() for envoy in fleet.envoys))
        await eventually(all_mirrored, what="mirrored requests from every Envoy")
        await eventually(all_in_sync, what="every Envoy in sync")
        before = [await _changes(envoy) for envoy in fleet.envoys]
        async with _users(fleet) as statuses:
            for replica in replicas:
                await replica.stop()
                await replica.start()
                await eventually(all_in_sync, what="every Envoy in sync again")
        assert [await _changes(envoy) for envoy in fleet.envoys] == before
        assert set(statuses) == {200}
        assert canary.live == []


@contextlib.asynccontextmanager
async def _users(fleet: Rig) -> AsyncIterator[list[int]]:
    """One for each Envoy, who send requests one after another until the block ends."""
    statuses: list[int] = []

    async def use(envoy: Envoy) -> None:
        while True:
            statuses.append((await fleet.send(envoy)).status)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(use(envoy)) for envoy in fleet.envoys]
        yield statuses
        for task in tasks:
            task.cancel()


def _world(stable: Recorder, canary: Recorder) -> list[objects.Document]:
    return [
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
        objects.canary(),
        objects.pod("canary-1", canary.address),
    ]
