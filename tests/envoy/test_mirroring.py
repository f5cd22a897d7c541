"""Mirrored requests arrive complete and exactly once, and every response is of the stable version."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 500
LARGEST = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _shadowed(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
    fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
    await fleet.until_shadow("Active")


@pytest.mark.parametrize("index", [0, 1], ids=["delta", "sotw"])
async def test_every_request_is_copied_once_and_whole(
    fleet: Rig, stable: Recorder, canary: Recorder, index: int
) -> None:
    envoy = fleet.envoys[index]
    chance = random.Random(index)  # noqa: S311 - reproducible
    digests: dict[str, str] = {}
    places = asyncio.Semaphore(8)

    async def one() -> None:
        body = chance.randbytes(chance.randint(0, LARGEST)) if chance.random() < 0.5 else None
        async with places:
            answer = await fleet.send(envoy, method="POST" if body is not None else "GET", body=body)
        assert (answer.status, answer.backend) == (200, "stable")
        digests[answer.test_id] = hashlib.sha256(body or b"").hexdigest()

    await asyncio.gather(*(one() for _ in range(REQUESTS)))
    await eventually(lambda: sum(a.test_id in digests for a in canary.arrivals) >= REQUESTS)

    mirrored = [arrival for arrival in canary.arrivals if arrival.test_id in digests]
    live = [arrival for arrival in stable.arrivals if arrival.test_id in digests]
    for arrivals, marker in ((mirrored, "staging/myapp-canary"), (live, None)):
        assert sorted(a.test_id for a in arrivals) == sorted(digests)
        assert {a.test_id: a.digest for a in arrivals} == digests
        assert {a.host for a in arrivals} == {"myapp.staging"}
        assert {a.shadow for a in arrivals} == {marker}


async def test_a_mirrored_request_is_not_mirrored_again(
    fleet: Rig, stable: Recorder, canary: Recorder
) -> None:
    for envoy in fleet.envoys:
        marked = await fleet.send(envoy, headers={"x-xds-shadow": "elsewhere/app"})
        after = await fleet.send(envoy)
        await canary.until_seen(after.test_id)
        assert len(stable.of(marked.test_id)) == 1
        assert not canary.of(marked.test_id)


async def test_a_websocket_works_and_is_not_copied(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    for envoy in fleet.envoys:
        test_id = fleet.new_id()
        url = f"http://127.0.0.1:{envoy.gateway_port}/ws"
        headers = {"Host": "myapp.staging", "x-test-id": test_id}
        async with fleet.session.ws_connect(url, headers=headers) as websocket:
            await websocket.send_str("hello")
            assert (await websocket.receive_str()) == "hello"
        after = await fleet.send(envoy)
        await canary.until_seen(after.test_id)
        assert len(stable.of(test_id)) == 1
        assert not canary.of(test_id)


async def test_every_name_of_the_service_reaches_it(fleet: Rig) -> None:
    port = fleet.envoys[0].gateway_port
    names = ["myapp.staging", "myapp.staging.svc", "myapp.staging.svc.cluster.local"]
    for name in names:
        for host in (name, f"{name}:8181", f"{name}:{port}"):
            answer = await fleet.send(fleet.envoys[0], host=host)
            assert (host, answer.status, answer.backend) == (host, 200, "stable")
    assert (await fleet.send(fleet.envoys[0], host="other.staging")).status == 404


async def test_only_the_methods_asked_for_are_copied(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    fleet.write("canary.yaml", [objects.canary(methods="GET,HEAD"), objects.pod("canary-1", canary.address)])
    await eventually(partial(_methods, fleet))
    await fleet.until_synced()
    for envoy in fleet.envoys:
        posted = await fleet.send(envoy, method="POST", body=b"order")
        got = await fleet.send(envoy)
        await canary.until_seen(got.test_id)
        assert (posted.status, got.status) == (200, 200)
        assert len(stable.of(posted.test_id)) == 1
        assert not canary.of(posted.test_id)


async def _methods(fleet: Rig) -> bool:
    shadow = await fleet.shadow()
    return shadow is not None and list(shadow.methods) == ["GET", "HEAD"]


@pytest_asyncio.fixture(loop_scope="module")
async def grpc_backends() -> AsyncIterator[tuple[dict[str, list[bytes]], dict[str, Address]]]:
    calls: dict[str, list[bytes]] = {"stable": [], "canary": []}
    servers, addresses = [], {}
    for name, received in calls.items():

        async def echo(
            request: bytes, _context: object, name: str = name, received: list[bytes] = received
        ) -> bytes:
            received.append(request)
            return name.encode()

        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),)
        )
        addresses[name] = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    yield calls, addresses
    for server in servers:
        await server.stop(0)


async def test_grpc_calls_are_copied(
    fleet: Rig, grpc_backends: tuple[dict[str, list[bytes]], dict[str, Address]]
) -> None:
    calls, addresses = grpc_backends
    port = {"name": "api", "port": 50051, "targetPort": "api", "appProtocol": "grpc"}
    fleet.write(
        "grpc.yaml",
        [
            objects.service("echo", ports=[port]),
            *objects.endpoint_slice("echo", [("echo-1", addresses["stable"])], port_name="api"),
            objects.canary("echo-canary", shadow_of="echo"),
            objects.pod("echo-canary-1", addresses["canary"], labels={"app": "echo-canary"}, port_name="api"),
        ],
    )
    await fleet.until_shadow("Active", deployment="echo-canary")
    for envoy in fleet.envoys:
        await _call_over_grpc(envoy, calls)


async def _call_over_grpc(envoy: Envoy, calls: dict[str, list[bytes]]) -> None:
    message = f"hello from {envoy.id}".encode()
    options = [("grpc.default_authority", "echo.staging:50051")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{envoy.gateway_port}", options=options) as channel:
        say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Echo/Say")
        assert await say(message, timeout=PATIENCE_S) == b"stable"
    await eventually(lambda: message in calls["canary"])
    assert calls["canary"].count(message) == calls["stable"].count(message) == 1
