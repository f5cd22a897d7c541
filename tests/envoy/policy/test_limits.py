"""A canary gets no more than was asked for, and one that fails is left alone."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web

from bench.process import used
from tests.envoy.policy.conftest import Annotate
from tests.support import objects
from tests.support.backends import Recorder, dead, serving
from tests.support.holding import holding
from tests.support.rig import Rig
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.base.sizes import MIB
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SHADOW = "cluster.staging/myapp/http/shadow/myapp-canary."


async def mirror_to(fleet: Rig, address: Address, **annotations: str) -> None:
    """Mirror to a canary at this address alone."""
    fleet.write("canary.yaml", [objects.canary(shadow_of=None)])
    await fleet.until_no_shadow()
    pod = objects.pod("canary-1", address)
    fleet.write("canary.yaml", [objects.canary(selects=None, **annotations), pod])
    await fleet.until_shadow("Active")


async def requests(fleet: Rig, envoy: Envoy, count: int) -> None:
    """Requests, all answered by the stable version."""
    answers = await fleet.send_many(envoy, count)
    assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}


async def test_a_mirrored_request_ends_with_its_timeout(fleet: Rig) -> None:
    async with holding() as canary:
        await mirror_to(fleet, canary.address, timeout="300ms")
        for number, envoy in enumerate(fleet.envoys):
            await requests(fleet, envoy, 1)
            # Its default is 10 s.
            await eventually(lambda n=number: canary.given_up == n + 1, within=9)  # type: ignore[misc]
        assert canary.most == 1


async def test_no_more_are_in_flight_than_may_be(fleet: Rig) -> None:
    for envoy in fleet.envoys:
        async with holding() as canary:
            await mirror_to(fleet, canary.address, max_concurrent="3")
            await requests(fleet, envoy, 20)
            await eventually(lambda canary=canary: canary.held == 3)  # type: ignore[misc]
            # As many wait for a connection as there may be, and the rest is not sent.
            await eventually(partial(_stat_is, envoy, "upstream_rq_pending_overflow", 14))
            canary.go_on.set()
            await eventually(lambda canary=canary: canary.arrived == 6)  # type: ignore[misc]
            await eventually(partial(_stat_is, envoy, "upstream_rq_active", 0))
            assert (canary.most, canary.arrived) == (3, 6)


async def _stat_is(envoy: Envoy, name: str, value: int) -> bool:
    return await envoy.stat(SHADOW + name) == value


async def test_no_more_are_sent_in_a_second_than_may_be(
    fleet: Rig, canary: Recorder, annotate: Annotate
) -> None:
    rps = 5
    for envoy in fleet.envoys:
        await annotate(max_rps="1000")  # the bucket of the next is a new one
        await annotate(max_rps=str(rps))
        began = time.monotonic()
        sent = {answer.test_id for answer in await fleet.send_many(envoy, 200)}
        elapsed = time.monotonic() - began
        # The bucket has filled up again when another one arrives.
        await eventually(partial(_arrives, fleet, envoy, canary))
        arrived = sum(arrival.test_id in sent for arrival in canary.arrivals)
        assert rps <= arrived <= rps + elapsed * rps + 1


async def _arrives(fleet: Rig, envoy: Envoy, canary: Recorder) -> bool:
    answer = await fleet.send(envoy)
    try:
        await eventually(lambda: canary.of(answer.test_id), within=0.2)
    except AssertionError:
        return False
    return True


async def test_a_body_that_is_larger_is_not_sent(
    fleet: Rig, stable: Recorder, canary: Recorder, annotate: Annotate
) -> None:
    await annotate(max_body="1Ki")
    for envoy in fleet.envoys:
        largest = await fleet.send(envoy, method="POST", body=b"x" * 1024)
        larger = await fleet.send(envoy, method="POST", body=b"x" * 1025)
        unsaid = await chunked(fleet, envoy, 1025)
        for test_id in (largest.test_id, (await fleet.send(envoy)).test_id):
            await canary.until_seen(test_id)
        assert [len(arrival.body) for arrival in canary.of(largest.test_id)] == [1024]
        for test_id in (larger.test_id, unsaid):
            assert [len(arrival.body) for arrival in stable.of(test_id)] == [1025]
            assert canary.of(test_id) == []


async def chunked(fleet: Rig, envoy: Envoy, size: int) -> str:
    """A request that does not say how long its body is; returns its id."""
    test_id = fleet.new_id()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    url = f"http://127.0.0.1:{envoy.gateway_port}/"
    headers = {"Host": "myapp.staging", "x-test-id": test_id}
    async with fleet.session.post(url, data=body(), headers=headers) as response:
        assert response.status == 200
    return test_id


async def test_a_canary_that_cannot_be_reached_is_left_alone(fleet: Rig) -> None:
    with dead() as address:
        await mirror_to(fleet, address)
        for envoy in fleet.envoys:
            await requests(fleet, envoy, 50)
            await eventually(partial(_stat_is, envoy, "outlier_detection.ejections_active", 1))
            tried = await envoy.stat(SHADOW + "upstream_cx_connect_fail")
            await requests(fleet, envoy, 50)
            await eventually(partial(_at_least, envoy, "upstream_cx_none_healthy", 50))
            assert await envoy.stat(SHADOW + "upstream_cx_connect_fail") == tried


async def _at_least(envoy: Envoy, name: str, value: int) -> bool:
    return await envoy.stat(SHADOW + name) >= value


@pytest.mark.parametrize("kind", ["errors", "no answer in time"])
async def test_a_canary_that_answers_badly_is_left_alone(fleet: Rig, kind: str) -> None:
    arrived: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        arrived.append(request.path)
        if kind != "errors":
            await asyncio.Event().wait()
        return web.Response(status=500)

    server = web.Server(handle, handler_cancellation=True)
    async with serving(web.ServerRunner(server, shutdown_timeout=1)) as address:
        await mirror_to(fleet, address, timeout="200ms")
        for envoy in fleet.envoys:
            await requests(fleet, envoy, 60)
            await eventually(partial(_stat_is, envoy, "outlier_detection.ejections_active", 1))
            await eventually(partial(_stat_is, envoy, "upstream_rq_active", 0))
            before = len(arrived)
            await requests(fleet, envoy, 20)
            await eventually(partial(_at_least, envoy, "upstream_cx_none_healthy", 20))
            assert len(arrived) == before > 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_response_that_does_not_end_takes_no_memory(fleet: Rig, method: str) -> None:
    written = [0]

    async def flood(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse()
        await response.prepare(request)
        while True:  # until the connection is closed
            await response.write(b"z" * 65536)
            written[0] += 65536

    async with serving(web.ServerRunner(web.Server(flood), shutdown_timeout=1)) as address:
        await mirror_to(fleet, address, timeout="3s")
        for envoy in fleet.envoys:
            written[0], before = 0, used(envoy.process.pid).rss_mib
            body = b"x" if method == "POST" else None
            answers = [await fleet.send(envoy, method=method, body=body) for _ in range(8)]
            assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
            await eventually(lambda: written[0] > 100 * MIB, what="100 MiB that the canary has sent")
            assert used(envoy.process.pid).peak_mib - before < 20
            await eventually(partial(_stat_is, envoy, "upstream_rq_active", 0))
