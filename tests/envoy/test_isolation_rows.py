"""A mistake costs only itself: each that one user can make, on four real Envoys, beside another who must not
notice. What is about limits is in `test_isolation_limits`.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.envoy.histories.fleet import Fleet, fleet, start_of
from tests.envoy.histories.story import asking, service, until_answered, until_problem, world
from tests.envoy.histories.world import PREFIX, Canary, Document, Endpoint, Port, Service
from tests.envoy.scenarios.stage import BINARIES
from xds_server.local.demo.fleet import reserved_ports
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

A, B, C, NEXT = "127.0.73.1", "127.0.73.2", "127.0.73.3", "127.0.73.9"
SHOP = "shop.example.com"
BAD = ("010.0.0.1", "0177.0.0.1", "10.1", "1.2.3.4%eth0", "", "no-address", "::1")


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(tmp_path, (A, B, C, NEXT)) as running:
        yield running


async def test_f1_a_service_changes_its_ports_and_no_request_fails(gateways: Fleet) -> None:
    web = service("shop", "web", A, claims=(SHOP,))
    web.ports = [Port("http", 80, 0), Port("http-admin", 81, 1)]
    await gateways.become(world(gateways, web).documents())
    await until_answered(gateways.envoys, SHOP, [A])
    async with asking(gateways, SHOP, "web.shop", "web.shop:81") as asked:
        for number in (8080, 8081, 80):
            web.ports[0].number = number
            await gateways.become(world(gateways, web).documents())
            await until_answered(gateways.envoys, f"web.shop:{number}", [A])
        del web.ports[0]
        await gateways.become(world(gateways, web).documents())
        await until_answered(gateways.envoys, SHOP, [A])
        web.ports = [Port("http-new", 82, 2)]
        await gateways.become(world(gateways, web).documents())
        await until_answered(gateways.envoys, SHOP, [A])
    assert {answer for authority in (SHOP, "web.shop") for answer in asked.of(authority)} == {A}


async def test_f1_a_port_is_added_and_takes_its_requests_from_the_first(gateways: Fleet) -> None:
    """A port without a virtual host of its own is the first one's, so there is something to lose."""
    web = service("shop", "web", A)
    await gateways.become(world(gateways, web).documents())
    await until_answered(gateways.envoys, "web.shop:9000", [A])
    async with asking(gateways, "web.shop:9000") as asked:
        for turn in range(16):
            if turn % 2 == 0:
                web.ports = [Port("http", 80, 0), Port(f"http-{turn}", 9000, 1)]
            else:
                del web.ports[1:]
            web.endpoints = [Endpoint(A if turn % 2 else B)]  # to see when it has arrived
            await gateways.become(world(gateways, web).documents())
            await until_answered(gateways.envoys, "web.shop:9000", [web.endpoints[0].address])
    assert asked.of("web.shop:9000") == {A, B}


async def test_f1_two_services_swap_their_hosts_and_no_request_fails(gateways: Fleet) -> None:
    one = service("shop", "web", A, claims=("one.example",))
    other = service("evil", "web", B, claims=("other.example",))
    await gateways.become(world(gateways, one, other).documents())
    await until_answered(gateways.envoys, "one.example", [A])
    await until_answered(gateways.envoys, "other.example", [B])
    async with asking(gateways, "one.example", "other.example") as asked:
        for _ in range(3):
            one.claims, other.claims = other.claims, one.claims
            await gateways.become(world(gateways, one, other).documents())
            await until_answered(gateways.envoys, one.claims[0], [A])
            await until_answered(gateways.envoys, other.claims[0], [B])
    assert asked.of("one.example") | asked.of("other.example") == {A, B}


async def test_c1_a_bad_address_in_the_push_of_anothers_rollout(gateways: Fleet) -> None:
    evil, web = service("evil", "app", C), service("shop", "web", A, claims=(SHOP,))
    await gateways.become(world(gateways, evil, web).documents())
    await until_answered(gateways.envoys, SHOP, [A])
    async with asking(gateways, SHOP) as asked:
        for bad, address in zip(BAD, itertools.cycle((B, A)), strict=False):
            evil.bad, web.endpoints = [bad], [Endpoint(address)]
            await gateways.become(world(gateways, evil, web).documents())
            await until_answered(gateways.envoys, SHOP, [address])
            await until_problem(gateways, "EndpointSlice evil/app-0")
            await until_answered(gateways.envoys, "app.evil", [C])
            evil.bad = []
            await gateways.become(world(gateways, evil, web).documents())
    assert asked.of(SHOP) == {A, B}


async def test_c1_an_address_that_turns_bad_every_10_ms(gateways: Fleet) -> None:
    evil, web = service("evil", "app", C), service("shop", "web", A)
    await gateways.become(world(gateways, evil, web).documents())
    await until_answered(gateways.envoys, "web.shop", [A])

    async def flip() -> None:
        for number in itertools.count():
            evil.bad = ["010.0.0.1"] if number % 2 else []
            await gateways.become(world(gateways, evil, web).documents())
            await asyncio.sleep(0.01)

    flipping = asyncio.create_task(flip())
    try:
        async with asking(gateways, "app.evil", "web.shop") as asked:
            for address in (B, A, B, A, B, A):
                web.endpoints = [Endpoint(address)]
                await until_answered(gateways.envoys, "web.shop", [address])
    finally:
        flipping.cancel()
        await asyncio.gather(flipping, return_exceptions=True)
    assert asked.of("web.shop") == {A, B}
    assert asked.of("app.evil") == {C}


async def test_c2_a_gateway_that_starts_while_a_bad_slice_is_there(gateways: Fleet, tmp_path: Path) -> None:
    evil, web = service("evil", "app"), service("shop", "web", A)
    evil.bad, evil.bad_port = list(BAD), 0
    await gateways.become(world(gateways, evil, web).documents())
    kinds = [(version, variant) for version in BINARIES for variant in Variant]
    with reserved_ports(len(kinds)) as ports:
        fresh = [
            start_of(gateways.plane, tmp_path, version, variant, port)
            for (version, variant), port in zip(kinds, ports, strict=True)
        ]
        try:
            await asyncio.gather(*(envoy.start() for envoy in fresh))
            await asyncio.gather(*(envoy.until_serving() for envoy in fresh))
            await until_answered(fresh, "web.shop", [A])
        finally:
            await asyncio.gather(*(envoy.stop() for envoy in fresh))


@pytest.mark.parametrize(
    "function", ["xds_server.core.resolve:plan_service", "xds_server.server.pipeline:translate_service"]
)
async def test_p_our_own_code_raises_on_one_service(gateways: Fleet, function: str) -> None:
    broken, web = service("evil", "app", C, claims=("evil.example",)), service("shop", "web", A)
    await gateways.become(world(gateways, broken, web).documents())
    await until_answered(gateways.envoys, "evil.example", [C])
    await gateways.plane.break_for("evil/app", function)
    async with asking(gateways, "web.shop", "evil.example") as asked:
        broken.endpoints = [Endpoint(B)]
        for address in (B, C, A, B):
            web.endpoints = [Endpoint(address)]
            await gateways.become(world(gateways, broken, web).documents())
            await until_answered(gateways.envoys, "web.shop", [address])
        await until_problem(gateways, "Service evil/app", "InternalError")
    assert asked.of("web.shop") == {A, B, C}
    assert asked.of("evil.example") == {C}
    assert gateways.plane.log.read_text().count("Traceback") == 1
    await gateways.plane.mend()
    broken.endpoints = [Endpoint(A)]
    await gateways.become(world(gateways, broken, web).documents())
    await until_answered(gateways.envoys, "evil.example", [A])
    status = await gateways.status()
    assert not [problem for problem in status.conditions if problem.reason == "InternalError"]


async def test_h3_an_older_service_claims_the_host_of_another_tenant(gateways: Fleet) -> None:
    evil, web = service("evil", "app", C, born=1), service("shop", "web", A, born=2, claims=(SHOP,))
    hidden = service("shop", "db", B, born=3)
    hidden.expose = "false"
    bounded = {"shop": "example.com", "evil": "evil.example"}

    def documents(*services: Service) -> list[Document]:
        found = list(world(gateways, *services).documents())
        for document in found:
            if document["kind"] == "Namespace":
                allowed = bounded[document["metadata"]["name"]]
                document["metadata"]["annotations"] = {f"{PREFIX}hosts-allowed": allowed}
        return found

    await gateways.become(documents(evil, web, hidden))
    await until_answered(gateways.envoys, SHOP, [A])
    async with asking(gateways, SHOP, "db.shop") as asked:
        evil.claims = [SHOP, "db.shop", "app.evil.example"]
        await gateways.become(documents(evil, web, hidden))
        await until_answered(gateways.envoys, "app.evil.example", [C])
        await until_problem(gateways, "Service evil/app", "NotAllowed")
    assert asked.of(SHOP) == {A}
    async with asking(gateways, SHOP, "db.shop") as later:
        await gateways.become(documents(evil, hidden))
        await until_answered(gateways.envoys, SHOP, None)
        web.born = 4
        await gateways.become(documents(evil, hidden, web))
        await until_answered(gateways.envoys, SHOP, [A])
    assert C not in later.of(SHOP)
    assert {C, B}.isdisjoint(asked.of("db.shop") | later.of("db.shop"))


async def test_m5_the_name_of_a_service_that_is_not_exposed_belongs_to_it(gateways: Fleet) -> None:
    """Without any bound on hosts."""
    hidden, evil = service("shop", "db", A, born=2), service("evil", "app", C, claims=("evil.example",))
    hidden.expose = "false"
    await gateways.become(world(gateways, hidden, evil).documents())
    await until_answered(gateways.envoys, "evil.example", [C])
    async with asking(gateways, "db.shop") as asked:
        evil.claims += ["db.shop", "second.example"]
        await gateways.become(world(gateways, hidden, evil).documents())
        await until_answered(gateways.envoys, "second.example", [C])
        await until_problem(gateways, "Service evil/app")
    assert C not in asked.of("db.shop")


async def test_h4_the_control_planes_own_addresses_are_no_endpoints(gateways: Fleet) -> None:
    own = [gateways.plane.xds_address, gateways.plane.admin_address, gateways.plane.http_address]
    names = [f"own-{number}" for number in range(len(own))]
    services = [service("evil", name, A) for name in names]
    documents = list(world(gateways, *services, service("shop", "web", A)).documents())
    for document in documents:
        name = document["metadata"]["name"].removesuffix("-0")
        if document["kind"] == "EndpointSlice" and name in names:
            address = own[names.index(name)]
            document["endpoints"][0]["addresses"] = [address.host]
            document["ports"][0]["port"] = address.port
    await gateways.become(documents)
    await until_answered(gateways.envoys, "web.shop", [A])
    for name in names:
        await until_problem(gateways, f"EndpointSlice evil/{name}-0")
    for envoy in gateways.envoys:
        clusters = (await envoy.admin("/clusters?format=json"))["cluster_statuses"]
        hosts = [
            host["address"]["socket_address"]
            for each in clusters
            for host in each.get("host_statuses", ())
            if "/" in each["name"]  # not those of the bootstrap
        ]
        listed = {(host["address"], host["port_value"]) for host in hosts}
        assert listed.isdisjoint((address.host, address.port) for address in own)


async def test_a1_an_unreadable_expose_label_on_a_live_service(gateways: Fleet) -> None:
    web = service("shop", "web", A, claims=(SHOP,))
    await gateways.become(world(gateways, web).documents())
    await until_answered(gateways.envoys, SHOP, [A])
    async with asking(gateways, SHOP) as asked:
        for unreadable, address in (("treu", B), ("yes", A), ("", B), ("1", A)):
            web.expose, web.endpoints = unreadable, [Endpoint(address)]
            await gateways.become(world(gateways, web).documents())
            await until_answered(gateways.envoys, SHOP, [address])
            await until_problem(gateways, "Service shop/web", "InvalidLabel")
            web.expose = None
            await gateways.become(world(gateways, web).documents())
    assert asked.of(SHOP) == {A, B}


async def test_a2_a_canary_whose_label_is_mistyped_gets_no_live_traffic(gateways: Fleet) -> None:
    web = service("shop", "web", A, claims=(SHOP,))
    canary = Canary("shop", "next", NEXT, shadow_of="wbe", joined="web", ready=False)
    await gateways.become(world(gateways, web, canaries=(canary,)).documents())
    await until_answered(gateways.envoys, SHOP, [A])
    async with asking(gateways, SHOP) as asked:
        for mark in ("wbe", "", "web", "shop/web", "Web", "wbe"):
            canary.shadow_of, canary.ready = mark, True
            await gateways.become(world(gateways, web, canaries=(canary,)).documents())
            web.endpoints = [Endpoint(B if web.endpoints[0].address == A else A)]
            await gateways.become(world(gateways, web, canaries=(canary,)).documents())
            await until_answered(gateways.envoys, SHOP, [web.endpoints[0].address])
    assert asked.of(SHOP) == {A, B}


async def test_k7_the_canary_stays_until_a_stable_endpoint_is_ready(gateways: Fleet) -> None:
    web = service("shop", "web", claims=(SHOP,))
    canary = Canary("shop", "next", NEXT, shadow_of="web", joined="web")
    await gateways.become(world(gateways, web, canaries=(canary,)).documents())
    await until_answered(gateways.envoys, SHOP, [NEXT])
    async with asking(gateways, SHOP) as asked:
        web.endpoints = [Endpoint(A, ready=False), Endpoint(B, ready=False)]
        other = service("shop", "seen", C)  # says that the step before has arrived everywhere
        await gateways.become(world(gateways, web, other, canaries=(canary,)).documents())
        await until_answered(gateways.envoys, "seen.shop", [C])
        await until_answered(gateways.envoys, SHOP, [NEXT])
        web.endpoints[0].ready = True
        await gateways.become(world(gateways, web, other, canaries=(canary,)).documents())
        await until_answered(gateways.envoys, SHOP, [A])
        web.endpoints[1].ready = True
        await gateways.become(world(gateways, web, other, canaries=(canary,)).documents())
        await until_answered(gateways.envoys, SHOP, [B])
    assert asked.of(SHOP) == {NEXT, A, B}
