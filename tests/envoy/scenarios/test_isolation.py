"""A resource that Envoy rejects affects no other, and moves are make-before-break: rules 37 to 41 of
docs/internals/xds-checklist.md."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_components_pb2

from tests.envoy.scenarios.stage import Stage
from tests.support.backends import Recorder, recorder
from tests.support.resources import (
    assignment,
    cluster,
    listener,
    open_routes,
    resource,
    virtual_host,
)
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.types import CLUSTER, ENDPOINT, VIRTUAL_HOST

pytestmark = pytest.mark.envoy


def service(
    stage: Stage, name: str, port: int, *, host: str | None = None, to: Address | None = None
) -> list[Resource]:
    """All that one port of a Service is to Envoy."""
    target = f"{name}/{port}"
    return [
        cluster(target),
        assignment(target, to or stage.backend.address),
        virtual_host("routes_0", f"{name}:{port}", host or f"{name}.test", target),
    ]


def frame() -> list[Resource]:
    return [listener("listener_0", "routes_0"), open_routes("routes_0")]


def bad_assignment(name: str) -> Resource:
    """Envoy takes no leading zeros in an address, and does not say whose it is."""
    message = endpoint_pb2.ClusterLoadAssignment.FromString(assignment(name, Address("010.0.0.1", 80)).body)
    return resource(ENDPOINT, name, message)


def bad_host(name: str, domain: str, to: str) -> Resource:
    """Envoy rejects its regular expression, without a word on whose it is."""
    good = virtual_host("routes_0", name, domain, to)
    message = route_components_pb2.VirtualHost.FromString(good.body)
    message.routes[0].match.safe_regex.regex = "(("
    return Resource(good.key, message.SerializeToString(deterministic=True), good.refs, claims=good.claims)


def bad_cluster(name: str) -> Resource:
    """Envoy rejects it by name, and takes the others of the response."""
    message = cluster_pb2.Cluster.FromString(cluster(name).body)
    message.lb_policy = cluster_pb2.Cluster.RING_HASH
    message.ring_hash_lb_config.minimum_ring_size.value = 2000
    message.ring_hash_lb_config.maximum_ring_size.value = 1000
    return resource(CLUSTER, name, message, ResourceKey(ENDPOINT, name))


async def answered(stage: Stage, *hosts: str) -> None:
    for host in hosts:
        await stage.until_status("listener_0", host, HTTPStatus.OK)


@dataclass
class Traffic:
    """Callers who send one request after another."""

    sent: int = 0
    failed: list[tuple[str, int]] = field(default_factory=list)


@asynccontextmanager
async def callers(stage: Stage, *hosts: str) -> AsyncIterator[Traffic]:
    """Requests for these hosts all the time; each has to be answered by the backend."""
    [status] = (await stage.envoy.admin("/listeners?format=json"))["listener_statuses"]
    address = status["local_address"]["socket_address"]
    url = f"http://{address['address']}:{address['port_value']}/"
    traffic = Traffic()

    async def one(session: aiohttp.ClientSession, host: str) -> None:
        while True:
            async with session.get(url, headers={"Host": host}) as response:
                await response.read()
                traffic.sent += 1
                if response.status != HTTPStatus.OK:
                    traffic.failed.append((host, response.status))

    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.create_task(one(session, host), name=f"user of {host}") for host in hosts]
        try:
            yield traffic
            before = traffic.sent
            await eventually(lambda: traffic.sent > before + 5 * len(hosts) or any(t.done() for t in tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until_gone(stage: Stage, *names: str) -> None:
    """Wait until Envoy has these clusters no more."""

    async def gone() -> bool:
        dump = await stage.envoy.admin("/config_dump?resource=dynamic_active_clusters")
        return set(names).isdisjoint(each["cluster"]["name"] for each in dump.get("configs", ()))

    await eventually(gone, what=f"{names} gone")


async def test_a_port_that_is_renumbered_costs_no_request(stage: Stage) -> None:
    """F1: the virtual host and the cluster of a Service have other names from one moment to the next."""
    stage.commit(*frame(), *service(stage, "app", 80), *service(stage, "shop", 80))
    await answered(stage, "app.test", "shop.test")
    async with callers(stage, "app.test", "shop.test") as traffic:
        for port in range(81, 87):
            stage.commit(*frame(), *service(stage, "app", port), *service(stage, "shop", 80))
            await until_gone(stage, f"app/{port - 1}")
    assert traffic.failed == []
    assert traffic.sent > 0


async def test_two_services_swap_their_hosts_without_a_failed_request(stage: Stage) -> None:
    hosts = ["a.test", "b.test"]
    async with recorder("other") as other:
        stage.commit(*frame(), *service(stage, "a", 80), *service(stage, "b", 80, to=other.address))
        await answered(stage, *hosts)
        async with callers(stage, *hosts) as traffic:
            for _ in range(3):
                hosts.reverse()
                swapped = stage.commit(
                    *frame(),
                    *service(stage, "a", 80, host=hosts[0]),
                    *service(stage, "b", 80, host=hosts[1], to=other.address),
                )
                await _until_all_for(other, hosts[1])
        assert swapped.of(VIRTUAL_HOST).resources
        assert traffic.failed == []


async def test_a_host_moves_on_while_envoy_rejects_the_service_that_it_leaves(stage: Stage) -> None:
    """Rule 40: what the old Service becomes is rejected, so its host stays; once that is mended, it moves."""
    a, b = service(stage, "a", 80, host="x.test"), service(stage, "b", 80)
    stage.commit(*frame(), *a, *b)
    await answered(stage, "x.test", "b.test")
    async with callers(stage, "x.test", "b.test") as traffic:
        taker = virtual_host("routes_0", "c:80", "x.test", "b/80")
        broken = bad_host("a:80", "a.test", "a/80")
        stage.commit(*frame(), *a[:2], broken, *b, taker)
        await answered(stage, "x.test")
        mended = virtual_host("routes_0", "a:80", "a.test", "a/80")
        stage.commit(*frame(), *a[:2], mended, *b, taker)
        await answered(stage, "a.test", "x.test")
    assert traffic.failed == []


async def test_a_rejected_endpoint_delays_no_other_change(stage: Stage) -> None:
    """C1: in the same push as other tenants' rollouts; and what is mended is taken."""
    names = ["shop", "web", "blog"]
    whole = [each for name in names for each in service(stage, name, 80)]
    evil = service(stage, "evil", 80)
    stage.commit(*frame(), *whole, *evil)
    await answered(stage, *(f"{name}.test" for name in (*names, "evil")))
    async with recorder("new") as new:
        moved = [each for name in names for each in service(stage, name, 80, to=new.address)]
        stage.commit(*frame(), *moved, evil[0], bad_assignment("evil/80"), evil[2])
        await _until_at(stage, "new", names)
        await answered(stage, "evil.test")  # it keeps what it had
        stage.commit(*frame(), *moved, *service(stage, "evil", 80, to=new.address))
        await _until_at(stage, "new", [*names, "evil"])


async def test_a_rejected_endpoint_that_changes_all_the_time_delays_no_other_change(stage: Stage) -> None:
    """C1, every 10 ms."""
    evil = service(stage, "evil", 80)
    stage.commit(*frame(), *service(stage, "shop", 80), *evil)
    await answered(stage, "shop.test")
    wrong = [bad_assignment("evil/80"), assignment("evil/80", Address("127.0.0.1", 1))]
    async with recorder("new") as new:
        for to in (new.address, stage.backend.address) * 3:
            shop = service(stage, "shop", 80, to=to)
            name = "new" if to == new.address else stage.backend.name
            for at in range(1000):
                stage.commit(*frame(), *shop, evil[0], wrong[at % 2], evil[2])
                if await _backend(stage, "shop.test") == name:
                    break
                await asyncio.sleep(0.01)  # not a wait: what is tested is that time
            else:
                raise AssertionError(f"the move to {name} did not arrive")


async def test_an_envoy_that_starts_has_all_but_what_it_rejects(stage: Stage) -> None:
    """C2: everything comes at once, with one of each kind that is rejected."""
    names = [f"s{n}" for n in range(9)]
    whole = [each for name in names for each in service(stage, name, 80)]
    stage.commit(
        *frame(),
        *whole,
        *(
            cluster("evil/1"),
            bad_assignment("evil/1"),
            virtual_host("routes_0", "evil:1", "e.test", "evil/1"),
        ),
        *(bad_cluster("evil/2"), assignment("evil/2", stage.backend.address)),
        bad_host("evil:3", "e3.test", "s0/80"),
        virtual_host("routes_0", "evil:4", "s1.test", "s2/80"),
    )
    await answered(stage, *(f"{name}.test" for name in names if name != "s1"))
    # Of two virtual hosts with the same domain one is there, and nobody else notices.
    await answered(stage, "s1.test")
    stage.commit(*frame(), *whole, *service(stage, "evil", 4))
    await answered(stage, *(f"{name}.test" for name in (*names, "evil")))


async def test_rejected_routes_delay_no_other_change(stage: Stage) -> None:
    shop, evil = service(stage, "shop", 80), service(stage, "evil", 80)
    stage.commit(*frame(), *shop, *evil)
    await answered(stage, "shop.test", "evil.test")
    broken = [*evil[:2], bad_host("evil:80", "evil.test", "evil/80")]
    stage.commit(*frame(), *broken, *shop, *service(stage, "new", 80))
    await answered(stage, "new.test", "shop.test", "evil.test")
    mended = service(stage, "evil", 80, host="mended.test")
    stage.commit(*frame(), *mended, *shop, *service(stage, "new", 80))
    await answered(stage, "mended.test", "new.test", "shop.test")


async def test_a_rejected_cluster_delays_no_other_change(stage: Stage) -> None:
    shop, evil = service(stage, "shop", 80), service(stage, "evil", 80)
    stage.commit(*frame(), *shop, *evil)
    await answered(stage, "shop.test", "evil.test")
    async with callers(stage, "shop.test", "evil.test") as traffic:
        stage.commit(*frame(), *shop, bad_cluster("evil/80"), *evil[1:], *service(stage, "new", 80))
        await answered(stage, "new.test")
        stage.commit(*frame(), *shop, *evil, *service(stage, "new", 81))
        await until_gone(stage, "new/80")
        await answered(stage, "new.test")
    assert traffic.failed == []


async def test_a_cluster_that_never_warms_holds_up_its_own_routes_alone(stage: Stage) -> None:
    """Rule 41."""
    shop, evil = service(stage, "shop", 80), service(stage, "evil", 80)
    stage.commit(*frame(), *shop, *evil)
    await answered(stage, "shop.test", "evil.test")
    stage.chapter()
    async with callers(stage, "shop.test") as traffic:
        for port in range(81, 85):
            waiting = [cluster(f"evil/{port}"), bad_assignment(f"evil/{port}")]
            host = virtual_host("routes_0", f"evil:{port}", "evil.test", f"evil/{port}")
            stage.commit(*frame(), *waiting, host, *service(stage, "shop", port))
            await until_gone(stage, f"shop/{port - 1}")
        await answered(stage, "evil.test")  # over the old one, for a while
    assert traffic.failed == []


async def _until_all_for(backend: Recorder, host: str) -> None:
    """Wait until it has had many requests, and the latest were all for one host."""
    before = len(backend.arrivals)
    await eventually(lambda: {arrival.host for arrival in backend.arrivals[before + 50 :]} == {host})


async def _backend(stage: Stage, host: str) -> str:
    found = await stage.get("listener_0", host)
    return found[1] if found else ""


async def _until_at(stage: Stage, backend: str, names: Iterable[str]) -> None:
    for name in names:

        async def there(name: str = name) -> bool:
            return await _backend(stage, f"{name}.test") == backend

        await eventually(there, what=f"{name} at {backend}")
