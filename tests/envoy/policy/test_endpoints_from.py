"""A canary at the endpoints of another Service, and Services that would mirror to each other in a loop."""

import pytest

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OTHER = "green.staging"


async def test_mirrored_requests_go_to_the_other_services_endpoints(fleet: Rig, canary: Recorder) -> None:
    fleet.write(
        "canary.yaml",
        [
            objects.service("green"),
            *objects.endpoint_slice("green", [("green-1", canary.address)]),
            objects.canary(endpoints_from="service/green"),
        ],
    )
    await fleet.until_shadow("Active")
    for envoy in fleet.envoys:
        answer = await fleet.send(envoy)
        assert (answer.status, answer.backend) == (200, "stable")
        await canary.until_seen(answer.test_id)
        # The other Service is served as before, and not mirrored.
        direct = await fleet.send(envoy, host=OTHER)
        assert (direct.status, direct.backend) == (200, "canary")
        assert len(canary.of(direct.test_id)) == 1


async def test_services_that_would_mirror_to_each_other_mirror_nothing(
    fleet: Rig, stable: Recorder, canary: Recorder
) -> None:
    fleet.write(
        "canary.yaml",
        [
            objects.service("green"),
            *objects.endpoint_slice("green", [("green-1", canary.address)]),
            objects.canary(endpoints_from="service/green"),
            objects.canary("green-canary", shadow_of="green", endpoints_from="service/myapp"),
        ],
    )
    await fleet.until_shadow("Rejected", "MirrorLoop")
    await fleet.until_shadow("Rejected", "MirrorLoop", "green-canary")
    for envoy in fleet.envoys:
        for host, backend, other in (("myapp.staging", stable, canary), (OTHER, canary, stable)):
            answer = await fleet.send(envoy, host=host)
            assert (answer.status, answer.backend) == (200, backend.name)
            assert len(backend.of(answer.test_id)) == 1
            assert other.of(answer.test_id) == []
