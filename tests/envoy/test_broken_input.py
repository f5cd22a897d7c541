"""One broken object costs only itself, and `status` says what is wrong with it."""

import pytest

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HOSTS = "xds-shadow.io/hosts"
GOOD = 20


async def test_everything_broken_at_once_leaves_the_rest_working(
    fleet: Rig, stable: Recorder, canary: Recorder
) -> None:
    fleet.write("00-namespace.yaml", [objects.namespace()])
    for number in range(GOOD):
        slices = objects.endpoint_slice(f"good-{number}", [(f"good-{number}-1", stable.address)])
        fleet.write(f"good-{number:02}.yaml", [objects.service(f"good-{number}"), *slices])
    fleet.write("canary.yaml", [objects.canary(shadow_of="good-1"), objects.pod("canary-1", canary.address)])
    await fleet.until_shadow("Active")

    # good-07.yaml becomes unreadable: what it said stays.
    (fleet.manifests / "good-07.yaml").write_text("kind: Service\nmetadata: {name: [unclosed\n")
    fleet.write(
        "broken.yaml",
        [
            objects.canary("lost", shadow_of="nowhere"),
            objects.canary("much", shadow_of="good-2", percent="lots"),
            objects.canary("long", shadow_of="x" * 300),
            objects.service("portless", ports=[]),
            objects.canary("on-portless", shadow_of="portless"),
            objects.service("twin-a", annotations={HOSTS: "shop.example.com"}),
            objects.service("twin-b", annotations={HOSTS: "shop.example.com"}),
        ],
    )
    await eventually(lambda: _reported(fleet, "HostConflict"), what="the broken objects being seen")
    await eventually(lambda: _reported(fleet, "InvalidFile"), what="the broken file being seen")
    await fleet.until_synced()

    status = await fleet.status()
    shadows = {shadow.name: shadow for shadow in status.shadows}
    assert (shadows["lost"].reason, shadows["much"].reason) == ("ServiceNotFound", "InvalidPolicy")
    assert "staging/nowhere" in shadows["lost"].message
    assert "xds-shadow.io/percent" in shadows["much"].message
    assert "'lots'" in shadows["much"].message
    assert shadows["on-portless"].reason == "NoHttpPort"
    assert shadows["myapp-canary"].state == "Active"
    assert "long" not in shadows

    problems = {
        (problem.reason, problem.subject): problem
        for problem in status.conditions
        if problem.severity == "Error"
    }
    found = {key: problem.message + problem.origin for key, problem in problems.items()}
    assert "good-07.yaml" in found["InvalidFile", ""]
    assert "spec.ports" in found["NoHttpPort", "Service staging/portless"]
    assert "Service staging/twin-a" in found["HostConflict", "Service staging/twin-b"]
    assert "xds-shadow.io/shadow-of" in found["InvalidObject", "Deployment staging/long"]
    assert "broken.yaml" in found["InvalidObject", "Deployment staging/long"]
    assert len(problems) == 4, problems

    for envoy in fleet.envoys:
        for number in range(GOOD):
            answer = await fleet.send(envoy, host=f"good-{number}.staging")
            assert (answer.status, answer.backend) == (200, "stable")
            if number == 1:
                await canary.until_seen(answer.test_id)


async def _reported(fleet: Rig, reason: str) -> bool:
    return any(problem.reason == reason for problem in (await fleet.status()).conditions)
