"""A stream that is reset: what Envoy says on the next one, and what it must be told again."""

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import MAGLEV, cluster
from xds_server.xds.stream_events import Acked, Nacked, Sent, StreamOpened, Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

pytestmark = pytest.mark.envoy


async def test_resend_node_on_stream_reset(stage: Stage) -> None:
    await stage.opened()
    await stage.reset()
    await stage.until(Acked, ENDPOINT)
    # Rule 1: the first request has the node, though the stream before had it. (In the others only Envoy 1.36
    # has it, in delta.)
    first = next(asked.message for asked in stage.tap.asked if asked.stream == stage.tap.streams)
    assert first.node.id == stage.envoy.id
    opened = [event.node.id for event in stage.events if isinstance(event, StreamOpened)]
    assert opened == [stage.envoy.id] * 2


async def test_resource_names_on_stream_reset(stage: Stage) -> None:
    await stage.opened()
    two = stage.commit(*stage.basics(), *stage.whole("cluster_1"))
    await stage.until_acked(two, CLUSTER, ENDPOINT)
    await stage.reset()
    held = {"cluster_0", "cluster_1"}
    clusters, endpoints = await stage.until_asked(CLUSTER), await stage.until_asked(ENDPOINT)
    assert endpoints.names == held
    assert (await stage.until_asked(ROUTE)).names == {"routes_0"}
    if stage.variant is Variant.DELTA:
        assert set(clusters.message.initial_resource_versions) == held
        assert set(endpoints.message.initial_resource_versions) == held
    else:
        assert clusters.message.version_info == two.of(CLUSTER).version

    # Rule 14: what is asked for by name is answered, though it is held; of the rest nothing is sent again.
    await stage.until(Acked, ENDPOINT)
    await stage.until(Acked, ROUTE)
    assert sum(sent.resources for sent in (*stage.of(Sent, CLUSTER), *stage.of(Sent, LISTENER))) == 0

    # A wildcard is one still, also for what comes and goes after the reset.
    after = stage.commit(*stage.basics(), *stage.whole("cluster_2"))
    await stage.until_acked(after, CLUSTER)
    await stage.until_stat("cluster_manager.cluster_removed", 1)
    await stage.until_stat("cluster.cluster_2.membership_healthy", 1)
    await stage.until_answered("listener_0")


async def test_cluster_warming_on_named_response(stage: Stage) -> None:
    """Envoy's test answers one of two clusters that warm, and resets the stream while the other still does.
    In delta that other is answered as well, with the word that there is nothing: it ends its warming with no
    hosts, and a reset does not change that."""
    await stage.opened()
    both = [*stage.basics(), cluster("warming_1"), cluster("warming_2")]
    one = [*both, stage.endpoints("warming_1")]
    still_warming = 1 if stage.variant is Variant.SOTW else 0
    if stage.variant is Variant.SOTW:
        stage.commit(*both)
        await stage.until_warming(2)
    stage.commit(*one)
    await stage.until_stat("cluster.warming_1.membership_healthy", 1)
    await stage.until_warming(still_warming)

    await stage.reset()
    await stage.until(Acked, ENDPOINT)
    await stage.until_warming(still_warming)
    assert await stage.envoy.stat("cluster.warming_2.membership_total") == 0

    snapshot = stage.commit(*one, stage.endpoints("warming_2"))
    await stage.until_warming(0)
    await stage.until_stat("cluster.warming_2.membership_healthy", 1)
    await stage.until_acked(snapshot, CLUSTER, ENDPOINT)


async def test_a_changed_cluster_whose_assignment_was_lost_with_the_stream_warms_on_the_next(
    stage: Stage,
) -> None:
    """Rule 14, which Envoy's tests have no name for: on the new stream Envoy says that it holds the
    assignment, and yet the new cluster waits for it."""
    await stage.opened()
    _, *others = stage.basics()
    stage.tap.keep_back(ENDPOINT)
    snapshot = stage.commit(cluster("cluster_0", policy=MAGLEV), *others)
    await stage.until_warming(1)
    await stage.until(Sent, ENDPOINT)
    await stage.reset()
    await stage.until_warming(0)
    await stage.until_acked(snapshot, CLUSTER, ENDPOINT)
    assert stage.of(Nacked, ENDPOINT) == []
    await stage.until_answered("listener_0")
