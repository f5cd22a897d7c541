"""Listeners that wait for their routes, and routes whose listener went on without them."""

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import listener, route_configuration
from xds_server.xds.stream_events import Nacked, Sent
from xds_server.xds.types import LISTENER, ROUTE

pytestmark = pytest.mark.envoy

CREATED = "listener_manager.listener_create_success"


async def test_remove_warming_listener(stage: Stage) -> None:
    await stage.opened()
    stage.commit(*stage.basics(), listener("warming", "nowhere"))
    await stage.until_listeners_warming(1)
    snapshot = stage.commit(*stage.basics())
    await stage.until_stat("listener_manager.listener_removed", 1)
    await stage.until_listeners_warming(0)
    await stage.until_acked(snapshot, LISTENER)
    await stage.until_answered("listener_0")


async def test_listener_warming_on_named_response(stage: Stage) -> None:
    await stage.opened()
    *others, _, routes = stage.basics()
    # Routes that are there already: the new listener does not warm.
    stage.commit(*others, listener("listener_0", "routes_0", prefix="another"), routes)
    await stage.until_stat(CREATED, 2)
    await stage.until_listeners_warming(0)

    new = listener("listener_0", "routes_1", prefix="another")
    stage.commit(*others, new, routes)
    await stage.until_listeners_warming(1)
    # Other routes do not end it, and the old listener serves meanwhile.
    snapshot = stage.commit(*others, new, route_configuration("routes_0", "cluster_0", domain="*.test"))
    await stage.until_acked(snapshot, ROUTE)
    await stage.until_listeners_warming(1)
    assert await stage.envoy.stat(CREATED) == 2

    stage.commit(*others, new, routes, route_configuration("routes_1", "cluster_0"))
    await stage.until_listeners_warming(0)
    await stage.until_stat(CREATED, 3)
    await stage.until_answered("listener_0")


async def test_rds_after_lds_with_no_rds_changes(stage: Stage) -> None:
    await stage.opened()
    *others, _, routes = stage.basics()
    snapshot = stage.commit(*others, listener("listener_0", "routes_0", prefix="another"), routes)
    await stage.until_stat(CREATED, 2)
    await stage.until_acked(snapshot, LISTENER)
    # Envoy's test sends the same routes again; this server does not (rule 6), whether a client asks or not.
    assert stage.of(Sent, ROUTE) == []
    await stage.until_answered("listener_0")


async def test_rds_after_lds_invalidated(stage: Stage) -> None:
    await stage.opened()
    *others, _, routes = stage.basics()
    stage.commit(*others, listener("listener_0", "routes_1"), routes)
    await stage.until_listeners_warming(1)
    # Another listener in the place of the one that waits, and then what that one has waited for.
    new = listener("listener_0", "routes_1", prefix="another")
    snapshot = stage.commit(*others, new, routes)
    await stage.until_acked(snapshot, LISTENER)
    await stage.until_listeners_warming(1)
    snapshot = stage.commit(*others, new, route_configuration("routes_1", "cluster_0"))
    await stage.until_stat(CREATED, 2)
    await stage.until_listeners_warming(0)
    await stage.until_acked(snapshot, ROUTE)
    assert stage.of(Nacked, LISTENER) == stage.of(Nacked, ROUTE) == []
    await stage.until_answered("listener_0")


async def test_listener_drain_before_server_start(stage: Stage) -> None:
    clusters = stage.whole("cluster_0")
    stage.commit(*clusters, listener("listener_0", "nowhere"))
    await stage.until_stat("listener_manager.total_listeners_active", 1)
    # Active, but not in service: a server that waits for its first configuration shows it as warming.
    assert (await stage.envoy.admin("/server_info"))["state"] == "INITIALIZING"
    [shown] = (await stage.envoy.admin("/config_dump?resource=dynamic_listeners"))["configs"]
    assert "warming_state" in shown
    assert "active_state" not in shown

    snapshot = stage.commit(*clusters)
    await stage.until_stat("listener_manager.total_listeners_active", 0)
    await stage.until_acked(snapshot, LISTENER)

    stage.commit(*stage.basics())
    await stage.until_answered("listener_0")
    assert (await stage.envoy.admin("/server_info"))["state"] == "LIVE"
