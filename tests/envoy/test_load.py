"""Changes under load fail no request of a caller."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.support import objects
from tests.support.fast_backends import FastBackends, fast_backends
from tests.support.load import load
from tests.support.rig import HOST, Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TOGGLES = 30
REPLACEMENTS = 10
REQUESTS = 200
"""So many arrive at each Envoy between two changes."""


async def test_toggling_and_replacing_endpoints_fails_no_request(fleet: Rig, tmp_path: Path) -> None:
    async with fast_backends(tmp_path, "blue", "green", "canary") as backends:
        fleet.write("base.yaml", [objects.namespace(), objects.service()])
        _point_at(fleet, backends, "blue")
        fleet.write("pods.yaml", [objects.pod("canary-1", backends.addresses["canary"])])
        fleet.write("canary.yaml", [objects.canary()])
        await fleet.until_shadow("Active")
        before = [await envoy.stat("cluster_manager.cluster_added") for envoy in fleet.envoys]

        async with asyncio.TaskGroup() as group:
            over = asyncio.Event()
            loads = [group.create_task(load(e.gateway_port, HOST, until=over)) for e in fleet.envoys]
            await _change_things(fleet, backends)
            over.set()
        added = [await envoy.stat("cluster_manager.cluster_added") for envoy in fleet.envoys]
        served = {name: await backends.answered(name) for name in backends.addresses}

    results = [task.result() for task in loads]
    print(*(f"{r.tool}: {r.requests} requests, {r.bad} bad" for r in results), served, sep="\n")
    assert [result.bad for result in results] == [0, 0], [result.output for result in results]
    assert min(served.values()) > 0, "every backend had its turn, the canary with mirrored requests"
    # Each time that the label came back, the shadow cluster was a new one in each Envoy.
    assert [b - a for a, b in zip(before, added, strict=True)] == [TOGGLES // 2, TOGGLES // 2]


async def _change_things(fleet: Rig, backends: FastBackends) -> None:
    colours = ["blue", "green"]
    for number in range(TOGGLES):
        # Some requests see each state.
        await eventually(partial(_is_ahead, fleet, await _requests(fleet)))
        if number % 2 == 0:
            fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
            await fleet.until_no_shadow()
        else:
            fleet.write("canary.yaml", [objects.canary()])
            await fleet.until_shadow("Active")
        if number % (TOGGLES // REPLACEMENTS) == 0:
            colours.reverse()
            before = (await fleet.status()).server.versions["EDS"]
            _point_at(fleet, backends, colours[0])
            await eventually(partial(_moved_on, fleet, before))
            await fleet.until_synced("EDS")


async def _requests(fleet: Rig) -> list[int]:
    """How many requests each Envoy has had."""
    return [await envoy.stat("http.gateway.downstream_rq_total") for envoy in fleet.envoys]


async def _is_ahead(fleet: Rig, before: list[int]) -> bool:
    return all(now > then + REQUESTS for now, then in zip(await _requests(fleet), before, strict=True))


async def _moved_on(fleet: Rig, version: str) -> bool:
    return (await fleet.status()).server.versions["EDS"] != version


def _point_at(fleet: Rig, backends: FastBackends, colour: str) -> None:
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [(colour, backends.addresses[colour])]))
