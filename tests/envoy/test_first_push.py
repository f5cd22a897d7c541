"""Callers that send requests before the first push: none of their requests reaches a canary, not even while
the configuration changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.objects import Document
from tests.support.rig import Answer, Rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PER_ENVOY = 100
TRACK = {"track": "canary"}


class Caller:
    """Sends one request after the other through one Envoy, so that their order is that of their arrival."""

    def __init__(self, fleet: Rig, envoy: Envoy) -> None:
        self.answers: list[Answer] = []
        self._fleet = fleet
        self._envoy = envoy

    async def run(self) -> None:
        while True:
            self.answers.append(await self._fleet.send(self._envoy))

    def ids(self) -> set[str]:
        return {answer.test_id for answer in self.answers}


@contextlib.asynccontextmanager
async def callers(fleet: Rig) -> AsyncIterator[list[Caller]]:
    """One caller for each Envoy, which stop at the end of the block; a failure of theirs fails the block."""
    everyone = [Caller(fleet, envoy) for envoy in fleet.envoys]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(caller.run()) for caller in everyone]
        await eventually(lambda: all(len(caller.answers) > PER_ENVOY for caller in everyone))
        yield everyone
        for task in tasks:
            task.cancel()


@pytest_asyncio.fixture(loop_scope="module")
async def mixed() -> AsyncIterator[tuple[Recorder, Recorder]]:
    """A stable and a canary backend of this test alone."""
    async with recorder("stable") as stable, recorder("canary") as canary:
        yield stable, canary


def world(stable: Recorder, canary: Recorder, *, shadow_of: str | None = "myapp") -> list[Document]:
    """A Service whose selector matches the stable version and the canary alike."""
    addresses = [("stable-1", stable.address), ("canary-1", canary.address)]
    return [
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", addresses),
        objects.canary(shadow_of=shadow_of, selects=TRACK),
        objects.pod("canary-1", canary.address, labels={"app": "myapp", **TRACK}),
    ]


async def test_the_first_answer_already_comes_from_the_stable_version(
    fleet: Rig, mixed: tuple[Recorder, Recorder]
) -> None:
    stable, canary = mixed
    async with callers(fleet) as everyone:
        assert {answer.status for caller in everyone for answer in caller.answers} == {404}
        fleet.write("all.yaml", world(stable, canary))
        await fleet.until_shadow("Active")
        for caller in everyone:
            seen = len(caller.answers)
            await eventually(lambda caller=caller, seen=seen: len(caller.answers) > seen + PER_ENVOY)  # type: ignore[misc]
            await eventually(lambda caller=caller: _mirrored(caller, canary), what="a mirrored request")  # type: ignore[misc]
    served = {(a.status, a.backend) for caller in everyone for a in caller.answers}
    # 503: for a moment there is a route and the endpoints are on their way, as nothing was there before.
    assert served - {(503, "")} == {(404, ""), (200, "stable")}
    assert canary.live == []


async def test_a_label_ends_live_traffic_before_the_first_mirrored_request(
    fleet: Rig, mixed: tuple[Recorder, Recorder]
) -> None:
    stable, canary = mixed
    fleet.write("all.yaml", world(stable, canary, shadow_of=None))
    await fleet.until_no_shadow()
    await eventually(lambda: _both_serve(fleet, stable, canary), what="both versions serving live traffic")
    async with callers(fleet) as everyone:
        await eventually(
            lambda: all(_live(caller, canary) for caller in everyone), what="live traffic for each caller"
        )
        fleet.write("all.yaml", world(stable, canary))
        await fleet.until_shadow("Active")
        for caller in everyone:
            seen = len(caller.answers)
            await eventually(lambda caller=caller, seen=seen: len(caller.answers) > seen + PER_ENVOY)  # type: ignore[misc]
            await eventually(lambda caller=caller: _mirrored(caller, canary), what="a mirrored request")  # type: ignore[misc]
    assert {answer.status for caller in everyone for answer in caller.answers} == {200}
    for caller in everyone:
        ids = caller.ids()
        mirrored = [arrival.shadow is not None for arrival in canary.arrivals if arrival.test_id in ids]
        assert mirrored == sorted(mirrored), "no live request after the first mirrored request"


async def _both_serve(fleet: Rig, stable: Recorder, canary: Recorder) -> bool:
    """Whether each Envoy has both endpoints: `until_no_shadow` does not wait for endpoints."""
    served = [{answer.backend for answer in await fleet.send_many(envoy, 8)} for envoy in fleet.envoys]
    return all(each == {stable.name, canary.name} for each in served)


def _live(caller: Caller, canary: Recorder) -> bool:
    """Whether the canary has answered this caller."""
    return any(answer.backend == canary.name for answer in caller.answers)


def _mirrored(caller: Caller, canary: Recorder) -> bool:
    """Whether the canary has had a mirrored request of this caller."""
    ids = caller.ids()
    return any(arrival.shadow is not None and arrival.test_id in ids for arrival in canary.arrivals)
