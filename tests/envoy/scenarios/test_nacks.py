"""What Envoy rejects, once for each type, and how it gets over it."""

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import (
    assignment,
    cluster,
    listener,
    route_configuration,
)
from xds_server.xds.stream_events import Acked, Nacked, Sent
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

pytestmark = pytest.mark.envoy

REJECTED = {
    CLUSTER: "cluster_manager.cds.update_rejected",
    ENDPOINT: "cluster.cluster_0.update_rejected",
    LISTENER: "listener_manager.lds.update_rejected",
    ROUTE: "http.scenario.rds.routes_0.update_rejected",
}


async def test_failure(stage: Stage) -> None:
    """Envoy's test sends messages of the wrong type. This server takes the type from the resource's key, so
    the messages here break rules of Envoy's own instead: a value that must be more than zero, a name that
    must not be empty."""
    good = stage.basics()
    bad = [
        cluster("cluster_0", connect_timeout_s=0),
        assignment("cluster_0", stage.backend.address, overprovisioning=0),
        listener("listener_0", "routes_0", prefix=""),
        route_configuration("routes_0", ""),
    ]
    for at, wrong in enumerate(bad):
        type_url = wrong.key.type_url
        snapshot = stage.commit(*good[:at], wrong)
        rejected = await stage.until(Nacked, type_url)
        assert (rejected.version, bool(rejected.message)) == (snapshot.of(type_url).version, True)
        await stage.until_stat(REJECTED[type_url], 1)
    snapshot = stage.commit(*good)
    await stage.until_acked(snapshot, CLUSTER, ENDPOINT, LISTENER, ROUTE)
    await stage.until_answered("listener_0")

    # Rule 5: nothing that was rejected was sent again, by the time that all the rest had come and gone.
    for type_url, counter in REJECTED.items():
        [rejected] = stage.of(Nacked, type_url)
        assert [sent.version for sent in stage.of(Sent, type_url)].count(rejected.version) == 1
        assert await stage.envoy.stat(counter) == 1


async def test_a_rejected_change_leaves_the_previous_version(stage: Stage) -> None:
    """All types at once, on an Envoy that serves: it goes on with what it has, and then takes the next."""
    await stage.opened()
    bad = stage.commit(
        cluster("cluster_0", connect_timeout_s=0),
        assignment("cluster_0", stage.backend.address, overprovisioning=0),
        listener("listener_0", "routes_0", prefix=""),
        route_configuration("routes_0", ""),
    )
    for type_url in REJECTED:
        assert (await stage.until(Nacked, type_url)).version == bad.of(type_url).version
    await stage.until_answered("listener_0")
    stage.chapter()
    stage.commit(*stage.basics())
    for type_url in REJECTED:
        await stage.until(Acked, type_url)
    await stage.until_answered("listener_0")
    assert not any(stage.of(Nacked, type_url) for type_url in REJECTED)
