"""A server that rejects: everything to everybody while it starts, one kind for a missing permission, all
for a token that it no longer takes. Nothing is concluded from a rejection, and what is missing is said.
"""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.kube.cluster import Cluster, deployment
from tests.kube.proxy import Proxy
from tests.kube.test_faults import TIMING, agrees, fill, following, source, watched
from tests.support.recorder import Recorder, running, started
from tests.support.waiting import eventually
from xds_server.core.objects import Kind
from xds_server.core.world import Change, Report


async def turned_away(faults: Proxy, plural: str) -> None:
    """Wait until a kind was rejected several times more."""
    wanted = faults.turned_away[plural] + 3
    await eventually(lambda: faults.turned_away[plural] >= wanted, what=f"{plural} rejected")


async def test_a_starting_server_that_forbids_everything_is_waited_for(
    server: Cluster, faults: Proxy
) -> None:
    """First to everybody, then Pods alone."""
    await fill(server)
    faults.rejected[""] = 403
    followed = source(server, faults)
    async with started(followed) as recorder:
        await turned_away(faults, "services")
        assert "waiting for the first list of" in followed.health().message
        faults.rejected = {"pods": 403}
        await watched(faults, "services", "endpointslices", "deployments", "namespaces")
        await turned_away(faults, "pods")
        assert recorder.syncs == 0
        assert f"No permission to watch pods in namespace {server.namespace}" in followed.health().message
        assert 'grant list and watch on "pods"' in followed.health().message
        faults.rejected = {}
        await recorder.until(lambda: recorder.syncs == 1)
        assert recorder.world_at_sync is not None
        view = recorder.world_at_sync.view(server.namespace)
        assert view.awaited == set()
        assert set(view.pods) == {"canary-1"}
        await agrees(server, recorder)
        assert recorder.deletions == []


async def test_a_namespace_that_is_forbidden_for_a_moment_is_waited_for(
    server: Cluster, faults: Proxy
) -> None:
    await fill(server)
    faults.rejected["namespaces"] = 403
    async with started(source(server, faults)) as recorder:
        await watched(faults, "services", "endpointslices", "deployments", "pods")
        await turned_away(faults, "namespaces")
        assert recorder.syncs == 0
        faults.rejected = {}
        await recorder.until(lambda: recorder.syncs == 1)
        assert recorder.world_at_sync is not None
        view = recorder.world_at_sync.view(server.namespace)
        assert view.namespace is not None
        assert view.awaited == set()


async def test_a_namespace_that_stays_forbidden_is_given_up(server: Cluster, faults: Proxy) -> None:
    await fill(server)
    faults.rejected["namespaces"] = 403
    followed = source(server, faults, replace(TIMING, give_up_after=0.2))
    async with running(followed) as recorder:
        view = recorder.world.view(server.namespace)
        assert view.namespace is None
        assert view.awaited == set()
        assert set(view.services) == {"web"}
        assert followed.health().outage_s is None
        assert recorder.reasons == {"Forbidden"}
        faults.rejected = {}
        await agrees(server, recorder)


async def test_the_pods_of_a_new_canary_are_awaited_while_they_are_forbidden(
    server: Cluster, faults: Proxy
) -> None:
    async with following(server, faults) as recorder:
        faults.rejected["pods"] = 403
        await server.create("deployments", deployment("new", shadow_of="web"))
        await server.create_ready_pod("new-1", {"app": "new"})
        await turned_away(faults, "pods")
        view = recorder.world.view(server.namespace)
        assert set(view.workloads) == {"canary", "new"}
        assert view.awaited == {"app=new"}
        faults.rejected = {}
        await agrees(server, recorder)
        assert recorder.names(Kind.POD) == {"canary-1", "new-1"}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_server_that_rejects_everything_for_a_while_is_an_outage(
    server: Cluster, faults: Proxy, status: int
) -> None:
    await fill(server)
    followed = source(server, faults)
    async with running(followed) as recorder:
        await watched(faults)
        await agrees(server, recorder)
        before = recorder.world.namespaces
        faults.rejected[""] = status
        faults.cut()
        kinds = {kind for kind in Kind if kind.built_in} - {Kind.SECRET}  # which are not followed here
        await eventually(
            lambda: {kind for kind, lasted in followed.health().outages.items() if lasted} == kinds,
            what="an outage of all kinds",
        )
        await server.delete("services", "web")
        await server.label("endpointslices", "web-1", n="changed")
        await server.mark("canary", None)
        await turned_away(faults, "services")
        assert recorder.world.namespaces == before
        health = followed.health()
        assert health.outage_s
        assert "has rejected requests for" in health.message
        assert "the last known objects stay in use" in health.message

        batches = remembered(recorder)
        faults.rejected = {}
        await agrees(server, recorder)
        await recorder.until(lambda: recorder.problems == [])
        reported = [batch for batch in batches if any(not isinstance(change, Report) for change in batch)]
        assert len(reported) == 1
        assert followed.health().outage_s is None
        assert followed.health().message.endswith("is being watched")


def remembered(recorder: Recorder) -> list[list[Change]]:
    """What comes together from now on."""
    batches: list[list[Change]] = []
    put = recorder.put

    def remember(changes: Iterable[Change]) -> None:
        batches.append(list(changes))
        put(batches[-1])

    recorder.put = remember  # type: ignore[method-assign]
    return batches
