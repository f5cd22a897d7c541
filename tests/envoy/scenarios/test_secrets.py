"""Secrets over the same stream (SDS): by name, and a rotation is one response."""

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import cluster_with_secret, generic_secret, listener, route_configuration
from tests.support.waiting import eventually
from xds_server.xds.resource import Resource
from xds_server.xds.stream_events import Nacked, Sent
from xds_server.xds.types import CLUSTER, SECRET

pytestmark = pytest.mark.envoy


def world(stage: Stage, *secrets: Resource) -> list[Resource]:
    return [
        *secrets,
        cluster_with_secret("cluster_0", "token"),
        stage.endpoints("cluster_0"),
        listener("listener_0", "routes_0"),
        route_configuration("routes_0", "cluster_0"),
    ]


async def until_authorized_as(stage: Stage, value: str) -> None:
    """Wait until requests arrive with this."""

    async def arrived() -> bool:
        await stage.until_answered("listener_0")
        return stage.backend.arrivals[-1].headers.get("authorization") == value

    await eventually(arrived, what=f"authorization {value}")


async def test_secret_rotated(stage: Stage) -> None:
    snapshot = stage.commit(*world(stage, generic_secret("token", "first")))
    await until_authorized_as(stage, "first")
    await stage.until_acked(snapshot, SECRET)
    stage.chapter()
    snapshot = stage.commit(*world(stage, generic_secret("token", "second")))
    await until_authorized_as(stage, "second")
    await stage.until_acked(snapshot, SECRET)
    assert len(stage.of(Sent, SECRET)) == 1
    assert stage.of(Sent, CLUSTER) == []
    assert stage.of(Nacked, SECRET) == []
    # Rule 14: over a new stream it is told again, and stays what it is.
    await stage.reset()
    await stage.until(Sent, SECRET)
    await until_authorized_as(stage, "second")


async def test_an_unused_secret_is_not_sent(stage: Stage) -> None:
    stage.commit(*world(stage, generic_secret("token", "first"), generic_secret("other", "hidden")))
    await until_authorized_as(stage, "first")
    stage.chapter()
    stage.commit(*world(stage, generic_secret("token", "second"), generic_secret("other", "changed")))
    await until_authorized_as(stage, "second")
    assert [sent.resources for sent in stage.of(Sent, SECRET)] == [1]
