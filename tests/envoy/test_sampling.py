"""Shares of the traffic: as asked for, and of two canaries independent of each other."""

from math import sqrt

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 4000


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _routed(fleet: Rig, stable: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))


def within_deviations(count: int, share: float, deviations: float = 3) -> bool:
    """Whether `count` of `REQUESTS` may well be a fair sample of `share`."""
    return abs(count - REQUESTS * share) <= deviations * sqrt(REQUESTS * share * (1 - share))


async def settled(fleet: Rig, *canaries: Recorder) -> None:
    """Wait until the Envoys have no mirrored request in flight."""

    async def idle() -> bool:
        gauges = [
            await envoy.stats("^cluster.staging.*/shadow/.*upstream_rq_active$") for envoy in fleet.envoys
        ]
        return not any(value for found in gauges for value in found.values())

    await eventually(idle)
    assert all(canary.arrivals for canary in canaries)


@pytest.mark.parametrize("index", [0, 1], ids=["delta", "sotw"])
async def test_a_quarter_of_the_requests_is_copied(fleet: Rig, canary: Recorder, index: int) -> None:
    fleet.write("canary.yaml", [objects.canary(percent="25"), objects.pod("canary-1", canary.address)])
    await fleet.until_shadow("Active")
    # A fair sample lies outside once in 370 runs. Then a second one has to lie within, which leaves one false
    # alarm in 137,000 and no way past for a share that is wrong.
    counts = [await mirrored_of(fleet, canary, index)]
    if not within_deviations(counts[0], 0.25):
        counts.append(await mirrored_of(fleet, canary, index))
    print(f"25 percent of {REQUESTS} requests: {counts} mirrored")
    assert within_deviations(counts[-1], 0.25), counts


async def mirrored_of(fleet: Rig, canary: Recorder, index: int) -> int:
    """Send the requests and count the mirrored ones. None is mirrored twice, and no canary responds."""
    answers = await fleet.send_many(fleet.envoys[index], REQUESTS)
    await settled(fleet, canary)
    sent = {answer.test_id for answer in answers}
    mirrored = [arrival.test_id for arrival in canary.arrivals if arrival.test_id in sent]
    assert {answer.backend for answer in answers} == {"stable"}
    assert len(mirrored) == len(set(mirrored))
    return len(mirrored)


async def test_two_canaries_are_sampled_independently(fleet: Rig) -> None:
    async with recorder("one") as one, recorder("two") as two:
        documents = []
        for backend in (one, two):
            documents.append(objects.canary(backend.name, percent="50"))
            documents.append(objects.pod(f"{backend.name}-1", backend.address, labels={"app": backend.name}))
        fleet.write("canary.yaml", documents)
        await fleet.until_shadow("Active", deployment="one")
        await fleet.until_shadow("Active", deployment="two")
        answers = await fleet.send_many(fleet.envoys[0], REQUESTS)
        await settled(fleet, one, two)
        sent = {answer.test_id for answer in answers}
        at_one, at_two = ({a.test_id for a in b.arrivals} & sent for b in (one, two))
        print(f"two canaries at 50 percent: both {len(at_one & at_two)} of {len(sent)} requests")
        # Correlated sampling would give 50 percent both, 50 percent neither.
        shares = [
            len(at_one & at_two),
            len(at_one - at_two),
            len(at_two - at_one),
            len(sent - at_one - at_two),
        ]
        assert all(within_deviations(count, 0.25, deviations=4) for count in shares), shares
