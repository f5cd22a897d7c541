"""A canary never answers callers, even if its Pods match the stable Service's selector."""

import pytest

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 100
SHARED = {"app": "myapp"}
CANARY_ONLY = {"app": "myapp", "track": "canary"}


def _canary() -> objects.Document:
    return objects.canary(selects={"track": "canary"})


async def test_pods_that_match_the_service_get_only_mirrored_requests_from_the_first_push_on(
    fleet: Rig, stable: Recorder, canary: Recorder
) -> None:
    both = [("stable-1", stable.address), ("canary-1", canary.address)]
    # One write, so that nothing was pushed for this Service before.
    fleet.write(
        "all.yaml",
        [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", both),
            _canary(),
            objects.pod("canary-1", canary.address, labels=CANARY_ONLY),
        ],
    )
    await fleet.until_shadow("Active")
    for envoy in fleet.envoys:
        answers = await fleet.send_many(envoy, REQUESTS)
        assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
    await eventually(lambda: len(canary.arrivals) >= REQUESTS * len(fleet.envoys))
    assert canary.live == []


async def test_as_the_only_backend_it_is_rejected_and_callers_notice_nothing(
    fleet: Rig, canary: Recorder
) -> None:
    fleet.write(
        "all.yaml",
        [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("canary-1", canary.address)]),
            _canary(),
            objects.pod("canary-1", canary.address, labels=CANARY_ONLY),
        ],
    )
    await fleet.until_shadow("Rejected", "WouldEmptyService")
    canary.arrivals.clear()
    for envoy in fleet.envoys:
        answers = await fleet.send_many(envoy, REQUESTS)
        assert {(answer.status, answer.backend) for answer in answers} == {(200, "canary")}
    assert len(canary.live) == len(canary.arrivals) == REQUESTS * len(fleet.envoys)
    shadow = await fleet.shadow()
    assert shadow is not None
    assert "Service staging/myapp" in shadow.message
