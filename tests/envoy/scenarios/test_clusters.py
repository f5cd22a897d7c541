"""Clusters that warm: what ends it, and what Envoy acknowledges meanwhile."""

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import MAGLEV, cluster
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Acked, Nacked, Sent
from xds_server.xds.types import CLUSTER, ENDPOINT

pytestmark = pytest.mark.envoy


async def test_basic_cluster_initial_warming(stage: Stage) -> None:
    stage.commit_warming(cluster("cluster_0"))
    await stage.until_warming(1)
    await stage.release()
    await stage.until_warming(0)
    await stage.until_stat("cluster_manager.active_clusters", 3)  # and the two of the bootstrap
    await stage.until_stat("cluster.cluster_0.membership_healthy", 1)


async def test_cluster_initialization_update_the_only_warming_cluster(stage: Stage) -> None:
    stage.commit_warming(cluster("cluster_0"))
    await stage.until_warming(1)
    stage.commit_warming(cluster("cluster_0", policy=MAGLEV))
    await stage.until_stat("cluster_manager.cluster_modified", 1)
    await stage.until_warming(1)
    await stage.release()
    await stage.until_warming(0)
    await stage.until_stat("cluster_manager.active_clusters", 3)
    await stage.until_stat("cluster.cluster_0.membership_healthy", 1)


async def test_cds_eds_replacement_warming(stage: Stage) -> None:
    """The new cluster differs by its policy, where Envoy's own test adds TLS: another cluster either way."""
    await stage.opened()
    [_, endpoints, *others] = stage.basics()
    snapshot = stage.commit(cluster("cluster_0", policy=MAGLEV), endpoints, *others)
    await stage.until_stat("cluster_manager.cluster_modified", 1)
    await stage.until_warming(0)
    await stage.until_acked(snapshot, CLUSTER)
    assert len(stage.of(Sent, CLUSTER)) == 1
    # Rule 13: the same assignment once more, as the new cluster has none yet.
    assert {sent.version for sent in stage.of(Sent, ENDPOINT)} == {snapshot.of(ENDPOINT).version}
    await stage.until_stat("cluster.cluster_0.membership_healthy", 1)
    await stage.until_answered("listener_0")


async def test_cds_paused_during_warming(stage: Stage) -> None:
    await stage.opened()
    stage.commit_warming(cluster("warming_1"), beside=stage.basics())
    await stage.until_warming(1)
    stage.commit_warming(cluster("warming_1"), cluster("warming_2"), beside=stage.basics())
    await stage.until_warming(2)
    assert len(stage.of(Sent, CLUSTER)) == 2
    assert stage.of(Acked, CLUSTER) == []  # rule 12: who waits for this before sending endpoints waits long
    await stage.release()
    await stage.until_warming(0)
    await stage.until_acked(_with(stage, "warming_1", "warming_2"), CLUSTER, ENDPOINT)
    await stage.until_answered("listener_0")


async def test_remove_warming_cluster(stage: Stage) -> None:
    await stage.opened()
    stage.commit_warming(cluster("warming_1"), beside=stage.basics())
    await stage.until_warming(1)
    stage.commit_warming(cluster("warming_2"), beside=stage.basics())
    await stage.until_stat("cluster_manager.cluster_removed", 1)
    await stage.until_warming(1)
    await stage.release()
    await stage.until_warming(0)
    await stage.until_stat("cluster_manager.active_clusters", 4)
    await stage.until_acked(_with(stage, "warming_2"), CLUSTER)
    assert stage.of(Nacked, CLUSTER) == stage.of(Nacked, ENDPOINT) == []


def _with(stage: Stage, *names: str) -> Snapshot:
    return Snapshot().updated([*stage.basics(), *stage.whole(*names)])
