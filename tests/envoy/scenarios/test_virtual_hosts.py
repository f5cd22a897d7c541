"""Virtual hosts as resources of their own where Envoy can have them so (rule 25: delta, from 1.37 on), inside
their route configuration for the others: the same for callers."""

from http import HTTPStatus

import pytest

from tests.envoy.scenarios.stage import Stage
from tests.support.resources import listener, open_routes, virtual_host
from tests.support.waiting import eventually
from xds_server.translate.routes import no_host
from xds_server.xds.resource import Resource
from xds_server.xds.stream_events import Acked, Nacked, Sent
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST

pytestmark = pytest.mark.envoy

A = virtual_host("routes_0", "a.80", "a.test", "cluster_0")
B = virtual_host("routes_0", "b.80", "b.test", "cluster_0")


def base(stage: Stage) -> list[Resource]:
    """Everything but virtual hosts."""
    return [*stage.whole("cluster_0"), listener("listener_0", "routes_0"), open_routes("routes_0")]


async def test_virtual_host_added_changed_and_removed(stage: Stage) -> None:
    stage.commit(*base(stage), A)
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)
    await stage.until_status("listener_0", "b.test", HTTPStatus.NOT_FOUND)
    stage.chapter()
    stage.commit(*base(stage), A, B)
    await stage.until_status("listener_0", "b.test", HTTPStatus.OK)
    stage.commit(*base(stage), A, virtual_host("routes_0", "b.80", "c.test", "cluster_0"))
    await stage.until_status("listener_0", "c.test", HTTPStatus.OK)
    await stage.until_status("listener_0", "b.test", HTTPStatus.NOT_FOUND)
    snapshot = stage.commit(*base(stage), A)
    await stage.until_status("listener_0", "c.test", HTTPStatus.NOT_FOUND)
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)
    sent = {kind: stage.of(Sent, kind) for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)}
    changed = VIRTUAL_HOST if stage.hosts_apart else ROUTE
    assert {kind: len(events) for kind, events in sent.items() if events} == {changed: 3}
    if stage.hosts_apart:
        await stage.until_acked(snapshot, VIRTUAL_HOST)
        assert [(each.resources, each.removed) for each in sent[VIRTUAL_HOST]] == [(1, 0), (1, 0), (0, 1)]
    assert stage.of(Nacked, changed) == []


async def test_listener_warms_until_its_virtual_hosts_are_there(stage: Stage) -> None:
    await stage.opened()
    # Where the hosts come with the routes, it is those that it waits for.
    stage.tap.keep_back(VIRTUAL_HOST if stage.hosts_apart else ROUTE)
    host = virtual_host("routes_1", "a.80", "a.test", "cluster_0")
    stage.commit(*stage.basics(), listener("listener_1", "routes_1"), open_routes("routes_1"), host)
    await stage.until_listeners_warming(1)
    await stage.tap.let_through()
    await stage.until_listeners_warming(0)
    await stage.until_status("listener_1", "a.test", HTTPStatus.OK)


async def test_routes_without_any_virtual_host_are_served(stage: Stage) -> None:
    stage.commit(*base(stage))
    await stage.until_status("listener_0", "a.test", HTTPStatus.NOT_FOUND)
    stage.commit(*base(stage), A)
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)
    stage.commit(*base(stage))
    await stage.until_status("listener_0", "a.test", HTTPStatus.NOT_FOUND)


async def test_a_virtual_host_that_went_while_the_stream_was_down_goes(stage: Stage) -> None:
    stage.commit(*base(stage), A, B)
    await stage.until_status("listener_0", "b.test", HTTPStatus.OK)
    stage.tap.keep_back(VIRTUAL_HOST if stage.hosts_apart else ROUTE)
    stage.commit(*base(stage), A)
    await stage.reset()
    await stage.until_status("listener_0", "b.test", HTTPStatus.NOT_FOUND)
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)


async def test_the_first_virtual_hosts_come_in_parts_that_do_not_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Envoy that starts takes requests after the first part, so the others must not be long (rule 42)."""
    if not stage.hosts_apart:
        pytest.skip("the hosts are inside their route configuration")
    monkeypatch.setattr("xds_server.xds.responses.MAX_RESPONSE_BYTES", 1000)
    hosts = [virtual_host("routes_0", f"{n}.80", f"{n}.test", "cluster_0") for n in range(30)]
    snapshot = stage.commit(*base(stage), *hosts)
    await stage.until_acked(snapshot, VIRTUAL_HOST)
    await stage.until_status("listener_0", "29.test", HTTPStatus.OK)
    sent = stage.of(Sent, VIRTUAL_HOST)
    assert len(sent) > 1
    await eventually(lambda: len(stage.of(Acked, VIRTUAL_HOST)) == len(sent))
    assert stage.of(Nacked, VIRTUAL_HOST) == []


async def test_an_envoy_has_the_virtual_hosts_of_its_route_configurations_alone(stage: Stage) -> None:
    """Three of them have the same domain, and one has no listener."""
    routes = ("routes_0", "routes_1", "unused")
    hosts = [virtual_host(name, "a.80", "a.test", "cluster_0") for name in routes]
    listeners = [listener(f"listener_{number}", f"routes_{number}") for number in (0, 1)]
    served = [*stage.whole("cluster_0"), *listeners, *map(open_routes, routes)]
    stage.commit(*served, *hosts)
    for number in (0, 1):
        await stage.until_status(f"listener_{number}", "a.test", HTTPStatus.OK)
    stage.chapter()
    # A change of one of them is that of one.
    moved = virtual_host("routes_1", "a.80", "b.test", "cluster_0")
    stage.commit(*served, hosts[0], moved, hosts[2])
    await stage.until_status("listener_1", "b.test", HTTPStatus.OK)
    await stage.until_status("listener_1", "a.test", HTTPStatus.NOT_FOUND)
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)
    changed = VIRTUAL_HOST if stage.hosts_apart else ROUTE
    [sent] = stage.of(Sent, changed)
    assert sent.resources == 1
    # A route configuration that has no virtual host any more.
    stage.commit(*served, hosts[0], hosts[2])
    await stage.until_status("listener_1", "b.test", HTTPStatus.NOT_FOUND)
    stage.commit(*served, *hosts)
    await stage.until_status("listener_1", "a.test", HTTPStatus.OK)
    assert stage.of(Nacked, changed) == []


async def test_a_listener_waits_for_no_virtual_host_of_its_route_configuration_in_vain(stage: Stage) -> None:
    listeners = [listener(f"listener_{number}", f"routes_{number}") for number in (0, 1)]
    served = [*stage.whole("cluster_0"), *listeners, *map(open_routes, ("routes_0", "routes_1"))]
    stage.commit(*served, A, no_host("routes_1"))
    await stage.until_status("listener_0", "a.test", HTTPStatus.OK)
    await stage.until_status("listener_1", "a.test", HTTPStatus.NOT_FOUND)
    # Without a virtual host in one of them Envoy would wait for 15 seconds.
    waited = await stage.envoy.stats("init_fetch_timeout$")
    assert waited
    assert set(waited.values()) == {0}
