"""Rolling updates under load: no request fails, and the canary receives mirrored requests only."""

import pytest

from tests.cluster.fleet import Fleet
from tests.cluster.installation import Installation
from tests.cluster.namespace import CANARY, STABLE, Namespace
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.envoy, pytest.mark.timeout(600)]


async def test_the_stable_version_is_updated(fleet: Fleet, namespace: Namespace) -> None:
    await _mirroring(fleet, namespace)
    async with fleet.load(namespace.host) as responses:
        await namespace.kubectl("set", "image", f"deployment/{STABLE}", "backend=backend-v3:latest")
        await namespace.rolled_out(STABLE)
        await eventually(lambda: responses.images["backend-v3:latest"] > 100, what="the new version serves")
    assert set(responses.statuses) == {"200"}
    assert set(responses.images) == {"backend-v1:latest", "backend-v3:latest"}


async def test_the_canary_is_updated(fleet: Fleet, namespace: Namespace) -> None:
    await _mirroring(fleet, namespace)
    async with fleet.load(namespace.host) as responses:
        await namespace.kubectl("set", "image", f"deployment/{CANARY}", "backend=backend-v4:latest")
        await namespace.rolled_out(CANARY)

        async def received() -> bool:
            return (await namespace.received(CANARY, image="backend-v4:latest")).mirrored > 100

        await eventually(received, what="requests mirrored to the new version")
    assert set(responses.statuses) == {"200"}
    assert set(responses.images) == {"backend-v1:latest"}
    canary = await namespace.received(CANARY)
    assert canary.total == canary.mirrored


async def test_the_control_plane_is_updated(
    installation: Installation, fleet: Fleet, namespace: Namespace
) -> None:
    await _mirroring(fleet, namespace)
    before, changes = await installation.replicas(), await fleet.changes()
    async with fleet.load(namespace.host) as responses:
        await installation.restart()
        after = await installation.replicas()
        await eventually(fleet.connected, what="every Envoy connected")
        assert await fleet.changes() == changes, "the new replicas serve the same configuration"
        await namespace.mark(None)
        await namespace.until_event("ShadowStopped")
    assert set(responses.statuses) == {"200"}
    assert set(responses.images) == {"backend-v1:latest"}
    assert set(after).isdisjoint(before)


async def _mirroring(fleet: Fleet, namespace: Namespace) -> None:
    """Mark the canary and wait until every Envoy mirrors requests."""
    await eventually(lambda: fleet.served(namespace.host), what="a route")
    await namespace.mark()
    for envoy in fleet.envoys:
        before = (await namespace.received(CANARY)).mirrored

        async def mirrored() -> bool:
            await fleet.get(envoy, namespace.host)  # noqa: B023 - awaited before the next one
            return (await namespace.received(CANARY)).mirrored > before  # noqa: B023

        await eventually(mirrored, what=f"a mirrored request from {envoy.id}")
