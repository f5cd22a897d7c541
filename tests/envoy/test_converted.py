"""What `convert` prints, on real Envoys: no request reaches another Service, and none more is mirrored.

For each document 50 requests are sent. What the documents do with them is told by an interpreter of each
project (`tests/support/originals`). All documents are in one world, a Namespace for each.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.envoy.scenarios.stage import BINARIES
from tests.support.converted import NAMES, Case, Seen, case_of, exceeds
from tests.support.converted_world import Everybody, World, everybody
from tests.support.originals.answers import Asked
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 50
AT_ONCE = 32


@dataclass
class Answered:
    """All that the Envoys of one version did with all requests: by variant, case and request."""

    world: World
    seen: dict[tuple[str, str], list[tuple[Asked, Seen | None, dict[Seen, float]]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(BINARIES))
async def answered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Answered]:
    directory = tmp_path_factory.mktemp("converted")
    async with everybody() as backend, rig(directory, binary=BINARIES[request.param]) as fleet:
        world = World([case_of(name) for name in NAMES], backend.ports)
        for case in world.cases:
            fleet.write(f"{case.name}.yaml", world.manifests(case))
        await eventually(lambda: _all_active(fleet, world), what="every shadow Active")
        await fleet.until_synced()
        found = {}
        for envoy in fleet.envoys:
            for case, results in zip(world.cases, await _asked(fleet, envoy, world, backend), strict=True):
                found[envoy.id, case.name] = results
        yield Answered(world, found)


async def _all_active(fleet: Rig, world: World) -> bool:
    shadows = (await fleet.status()).shadows
    return {(each.namespace, each.name) for each in shadows if each.state == "Active"} == world.shadows()


async def _asked(
    fleet: Rig, envoy: Envoy, world: World, backend: Everybody
) -> list[list[tuple[Asked, Seen | None, dict[Seen, float]]]]:
    places = asyncio.Semaphore(AT_ONCE)
    before = backend.count

    async def one(asked: Asked) -> str:
        query = f"?{urlencode(asked.query)}" if asked.query else ""
        async with places:
            answer = await fleet.send(
                envoy,
                method=asked.method,
                path=asked.path + query,
                host=asked.host,
                headers=dict(asked.headers),
            )
        return answer.test_id

    asked = [(case, each) for case in world.cases for each in case.asked(REQUESTS)]
    ids = await asyncio.gather(*(one(each) for _, each in asked))

    async def all_arrived() -> bool:
        sent = await envoy.stats(r"^cluster\.[^.]+/.*\.upstream_rq_(total|active)$")
        active = sum(value for name, value in sent.items() if name.endswith("_active"))
        return active == 0 and sum(sent.values()) == backend.count - before

    await eventually(all_arrived, what="every request of this Envoy at its backend")
    results = [
        (each, *_who(world, case, backend, test_id)) for (case, each), test_id in zip(asked, ids, strict=True)
    ]
    return [results[start : start + REQUESTS] for start in range(0, len(results), REQUESTS)]


def _who(world: World, case: Case, backend: Everybody, test_id: str) -> tuple[Seen | None, dict[Seen, float]]:
    live = [world.seen(at) for at in backend.live.get(test_id, ())]
    assert len(live) <= 1
    mirrored = {}
    for at in backend.shadow.get(test_id, ()):
        seen = world.seen(at)
        mirrored[seen] = world.share(case, (seen.namespace, seen.deployment))
    return live[0] if live else None, mirrored


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", ["delta", "sotw"])
async def test_never_another_service_and_never_more_mirrored(
    answered: Answered, variant: str, name: str
) -> None:
    results = answered.seen[variant, name]
    assert len(results) == REQUESTS
    for asked, live, mirrored in results:
        assert not (why := exceeds(case_of(name), asked, live, mirrored)), f"{asked}: {why}"


@pytest.mark.parametrize("variant", ["delta", "sotw"])
async def test_the_requests_are_served_and_mirrored(answered: Answered, variant: str) -> None:
    """What is converted does something: each of these documents had requests that were mirrored."""
    idle = {
        case.name
        for case in answered.world.cases
        if case.converted.running
        and not any(mirrored for _, _, mirrored in answered.seen[variant, case.name])
    }
    running = sum(bool(case.converted.running) for case in answered.world.cases)
    assert running >= 45
    assert len(idle) < running / 3, idle
