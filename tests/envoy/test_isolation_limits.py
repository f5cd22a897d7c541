"""One tenant asks for too much, on four real Envoys: another's changes arrive, callers get responses,
memory is bounded, and a condition names what was too much.
"""

import asyncio
import contextlib
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
import pytest

from bench.process import used
from tests.envoy.histories.fleet import Fleet, fleet
from tests.envoy.histories.story import asking, service, until_answered, until_problem, world
from tests.envoy.histories.world import PREFIX, Canary, Document, Endpoint, Port
from tests.support.waiting import eventually

pytestmark = pytest.mark.envoy

A, B, C, NEXT = "127.0.74.1", "127.0.74.2", "127.0.74.3", "127.0.74.9"
MOST_SHADOWS = 16
ENVOY_MIB = 256
STALLED_MIB = 128 + 3 * 2 * 128  # of three Services, as many bodies wait as are sent
PLANE_MIB = 512
BODY = bytes(1 << 20)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", *(f"METHOD-{n}" for n in range(7))]


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(tmp_path, (A, B, C, NEXT)) as running:
        yield running


def canaries_of_one_pod(policies: Sequence[Mapping[str, str]]) -> list[Document]:
    """Deployments that scale to nothing, and all select the one Pod of another."""
    pod = {"app": "next"}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": f"next-{number:03}",
                "namespace": "evil",
                "creationTimestamp": f"2026-01-02T00:{number // 60:02}:{number % 60:02}Z",
                "labels": {f"{PREFIX}shadow-of": "app"},
                "annotations": {f"{PREFIX}{key}": value for key, value in policy.items()},
            },
            "spec": {"replicas": 0, "selector": {"matchLabels": pod}},
        }
        for number, policy in enumerate(policies)
    ]


async def nobody_else_notices(gateways: Fleet, evil: Sequence[Document]) -> None:
    """Another's rollout arrives, no user of either sees a failure, and memory stays what it should be."""
    app, web = service("evil", "app", C), service("shop", "web", A)
    pod = Canary("evil", "next", NEXT)
    await gateways.become(world(gateways, app, web, canaries=[pod]).documents())
    await until_answered(gateways.envoys, "app.evil", [C])
    async with asking(gateways, "app.evil", "web.shop") as asked:
        for turn, address in enumerate((B, A)):
            web.endpoints = [Endpoint(address)]
            fresh = service("shop", f"fresh-{turn}", address)
            await gateways.become([*world(gateways, app, web, fresh, canaries=[pod]).documents(), *evil])
            await until_answered(gateways.envoys, "web.shop", [address])
            await until_answered(gateways.envoys, f"fresh-{turn}.shop", [address])
    assert (asked.of("app.evil"), asked.of("web.shop")) == ({C}, {A, B})
    for envoy in gateways.envoys:
        assert used(envoy.process.pid).peak_mib < ENVOY_MIB
    assert used(gateways.plane.pid).peak_mib < PLANE_MIB


async def states(gateways: Fleet, most: int) -> None:
    """The oldest shadows stay, as many as may; the others say why not."""

    async def there() -> bool:
        shadows = (await gateways.status()).shadows
        found = Counter((shadow.state, shadow.reason) for shadow in shadows)
        active = sorted(shadow.name for shadow in shadows if shadow.state == "Active")
        rejected = {reason for state, reason in found if state == "Rejected"}
        oldest = sorted(shadow.name for shadow in shadows)[: len(active)]
        return 0 < len(active) <= most and active == oldest and rejected >= {"TooManyShadows"}

    await eventually(there, what=f"at most {most} active shadows, the oldest")


async def test_c3_header_changes_of_61_canaries(gateways: Fleet) -> None:
    headers = "\n".join(f"x-header-{number}={'v' * 1000}" for number in range(32))
    policies = [
        {"set-headers": headers, "sample": "correlated", "percent": f"{number + 1}"} for number in range(61)
    ]
    await nobody_else_notices(gateways, canaries_of_one_pod(policies))
    await states(gateways, MOST_SHADOWS)


async def test_c3_percents_of_250_canaries(gateways: Fleet) -> None:
    policies = [{"sample": "correlated", "percent": f"{number / 10 + 1}"} for number in range(250)]
    await nobody_else_notices(gateways, canaries_of_one_pod(policies))
    await states(gateways, MOST_SHADOWS)


async def test_c3_bodies_mirrored_to_200_canaries(gateways: Fleet) -> None:
    await nobody_else_notices(gateways, canaries_of_one_pod([{}] * 200))
    await states(gateways, MOST_SHADOWS)
    body = bytes(1 << 20)
    async with aiohttp.ClientSession() as session:

        async def post(port: int) -> int:
            url, headers = f"http://127.0.0.1:{port}/", {"Host": "app.evil"}
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                return response.status

        for envoy in gateways.envoys:
            found = await asyncio.gather(*(post(envoy.gateway_port) for _ in range(6)))
            assert set(found) == {200}
            assert used(envoy.process.pid).peak_mib < ENVOY_MIB


@contextlib.asynccontextmanager
async def stalled_uploads(port: int, host: str, count: int) -> AsyncIterator[None]:
    """Requests of which all but the last byte was sent."""
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    async with contextlib.AsyncExitStack() as stack:

        async def upload() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(head + BODY[:-1])
            await writer.drain()

        await asyncio.gather(*(upload() for _ in range(count)))
        yield


async def test_stalled_uploads_of_a_tenants_callers(gateways: Fleet) -> None:
    apps = [service("evil", name, C) for name in ("app", "two", "three")]
    pod = Canary("evil", "next", NEXT)
    documents = world(gateways, *apps, service("shop", "web", A), canaries=[pod]).documents()
    shadows = canaries_of_one_pod([{}] * 15)
    for number, shadow in enumerate(shadows):
        shadow["metadata"]["labels"] = {f"{PREFIX}shadow-of": apps[number % 3].name}
    await gateways.become([*documents, *shadows])
    await until_answered(gateways.envoys, "three.evil", [C])
    for envoy in gateways.envoys:
        async with contextlib.AsyncExitStack() as stack, asking(gateways, "web.shop") as asked:
            for app in apps:
                await stack.enter_async_context(stalled_uploads(envoy.gateway_port, f"{app.name}.evil", 100))
        assert asked.of("web.shop") == {A}
        assert used(envoy.process.pid).peak_mib < STALLED_MIB


async def test_h2_changes_of_others_beside_60_canaries_with_many_conditions(gateways: Fleet) -> None:
    policies = [
        {
            "methods": ",".join(METHODS[number % 5 : number % 5 + 10]),
            "paths": ",".join(f"/p{number}/{each}" for each in range(5)),
            "exclude-paths": f"/p{number}/0/x,/p{number}/1/y",
            "headers": f"x-{number}=a,x-any-{number % 7}",
        }
        for number in range(60)
    ]
    app, web = service("evil", "app", C), service("shop", "web", A)
    pod = Canary("evil", "next", NEXT)

    flips = 0

    async def become(turn: int) -> None:
        nonlocal flips
        policies[turn % 60]["percent"] = f"{turn % 50 + 50}"
        shadows = canaries_of_one_pod(policies)
        await gateways.become([*world(gateways, app, web, canaries=[pod]).documents(), *shadows])
        flips += 1

    await become(0)
    await until_answered(gateways.envoys, "web.shop", [A])
    turn, took = 0, []
    async with asking(gateways, "app.evil", "web.shop") as asked:
        for address in (B, A, B, A, B):
            in_full_swing = flips + 3
            flipping = asyncio.create_task(_each(0.2, become, turn))
            await eventually(lambda until=in_full_swing: flips >= until)  # type: ignore[misc]
            web.endpoints = [Endpoint(address)]
            turn += 1
            await become(turn)
            took.append(await until_answered(gateways.envoys, "web.shop", [address]))
            flipping.cancel()
            await asyncio.gather(flipping, return_exceptions=True)
            turn += 10
    assert (asked.of("app.evil"), asked.of("web.shop")) == ({C}, {A, B})
    assert statistics.median(took) < 1.0, took


async def _each(seconds: float, become: Callable[[int], Awaitable[None]], first: int) -> None:
    for turn in range(first, first + 10_000):
        await become(turn)
        await asyncio.sleep(seconds)


async def test_h5_forty_ports_with_ten_thousand_addresses(gateways: Fleet) -> None:
    app = service("evil", "big")
    app.ports = [Port(f"http-{number}", 8000 + number, number % 3) for number in range(40)]
    big = world(gateways, app).documents()
    [template] = [each for each in big if each["kind"] == "EndpointSlice"]
    slices = [
        {
            **template,
            "metadata": template["metadata"] | {"name": f"big-{number}"},
            "endpoints": [
                {"addresses": [f"10.{number}.{each >> 8}.{each & 255}"], "conditions": {"ready": True}}
                for each in range(1000)
            ],
        }
        for number in range(10)
    ]
    service_document = next(each for each in world(gateways, app).documents() if each["kind"] == "Service")
    await nobody_else_notices(gateways, [service_document, *slices])
    for reason in ("TooManyPorts", "TooManyEndpoints"):
        await until_problem(gateways, "Service evil/big", reason)


async def test_h5_a_thousand_hosts(gateways: Fleet) -> None:
    claims = [f"h{number}.evil.example" for number in range(1000)]
    many = service("evil", "many", C, claims=claims)
    documents = [each for each in world(gateways, many).documents() if each["metadata"]["name"] != "shop"]
    await nobody_else_notices(gateways, [each for each in documents if each["kind"] != "Namespace"])
    await until_problem(gateways, "Service evil/many", "TooManyHosts")
    await until_answered(gateways.envoys, claims[0], [C])
