"""Without a word in the gateway file a request arrives as it was sent, mirrored or not."""

import asyncio
import contextlib
from uuid import UUID

import grpc
import pytest
from aiohttp import WSMsgType

from tests.envoy.gateway.conftest import FROM_BALANCER, H2C, Metadata, Scene, read_reply
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PATHS = ["/projects/group%2Fname", "//a///b", "/a/./b/../c", "/%5Cx?q=%2F//", "/a%2e%2e/b", "/a;b=c"]
UPGRADES = ["TLS/1.2", "TLS/1.0, TLS/1.2", "h2c, TLS/1.2", "websockets", "web", "HTTP/3", "websocke/1"]

NOT_PASSED_ON = [
    (400, "POST / HTTP/1.1", "Content-Length: 0", "Content-Length: 0"),
    (400, "POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"),
    (501, "POST / HTTP/1.1", "Transfer-Encoding: identity"),
    (501, "POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
    (400, "GET / HTTP/1.1", "Connection: x-forwarded-for"),
    (400, "GET / HTTP/1.1", "Connection: host"),
    (400, "GET / HTTP/1.1", f"Connection: {', '.join(f'x-{each}' for each in range(11))}"),
    (400, "GET /caf\xe9 HTTP/1.1"),
    (400, "GET /#a HTTP/1.1"),
    (404, "GET / HTTP/1.1", "Host: myapp.staging:"),
    (404, "OPTIONS * HTTP/1.1"),
    (404, "GET http://myapp.staging?x=1 HTTP/1.1"),
    (403, "GET https://myapp.staging/ HTTP/1.1"),
    (403, "GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket, websocket"),
]
"""What Envoy answers itself, whatever its configuration; docs/gateway.md lists it."""


@pytest.fixture
async def transparent(scene: Scene) -> Scene:
    """An Envoy whose gateway file says nothing."""
    await scene.file.says()
    return scene


@pytest.mark.parametrize("path", PATHS)
async def test_the_path_arrives_as_it_was_sent(transparent: Scene, path: str) -> None:
    for method in ("GET", "POST"):
        reply, arrival = await transparent.asked(f"{method} {path} HTTP/1.1")
        assert arrival
        assert (reply.status, arrival.path) == (200, path)
        await transparent.canary.until_seen(arrival.test_id)
        assert [each.path for each in transparent.canary.of(arrival.test_id)] == [path]


@pytest.mark.parametrize("token", UPGRADES)
async def test_an_upgrade_that_is_not_listed_is_ignored(transparent: Scene, token: str) -> None:
    upgrade = ("Connection: Upgrade", f"Upgrade: {token}")
    for request, body in (("GET / HTTP/1.1", b""), ("POST / HTTP/1.1", b"order")):
        reply, arrival = await transparent.asked(request, *upgrade, body=body)
        assert arrival
        assert (reply.status, arrival.body, arrival.headers.get("upgrade")) == (200, body, None)
        await transparent.canary.until_seen(arrival.test_id)


@pytest.mark.parametrize(("status", "request_", "headers"), [(s, r, h) for s, r, *h in NOT_PASSED_ON])
async def test_what_envoy_never_passes_on(
    transparent: Scene, status: int, request_: str, headers: list[str]
) -> None:
    reply, arrival = await transparent.asked(request_, *headers)
    assert (reply.status, arrival) == (status, None)


async def test_nor_a_request_without_a_host(transparent: Scene) -> None:
    for version in ("1.0", "1.1"):
        reader, writer = await asyncio.open_connection(*transparent.envoy.gateway)
        writer.write(f"GET / HTTP/{version}\r\n\r\n".encode())
        assert (await read_reply(reader)).status == 400
        writer.close()


async def test_an_upgrade_that_is_no_text_is_ignored_but_for_the_oldest_envoy(transparent: Scene) -> None:
    reply = await transparent.ask("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: caf\xe9")
    assert reply.status == (403 if "1.36" in transparent.envoy.id else 200)


async def test_a_request_with_a_body_is_served_without_its_upgrade(transparent: Scene) -> None:
    """Envoy would keep the body back until the backend has answered."""
    body = b"order" * 20_000
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    reply, arrival = await transparent.asked("POST / HTTP/1.1", *upgrade, body=body)
    assert arrival
    assert (reply.status, arrival.headers.get("upgrade")) == (200, None)
    assert (arrival.headers["content-length"], arrival.body[:5]) == (str(len(body)), b"order")


async def test_h2c_is_ignored(transparent: Scene) -> None:
    reply, arrival = await transparent.asked("GET / HTTP/1.1", *H2C)
    assert (reply.status, arrival and arrival.headers.get("upgrade")) == (200, None)


async def test_a_header_name_with_an_underscore_arrives(transparent: Scene) -> None:
    reply, arrival = await transparent.asked("GET / HTTP/1.1", "api_key: 1")
    assert arrival
    assert (reply.status, arrival.headers["api_key"]) == (200, "1")


async def test_so_does_grpc_metadata(transparent: Scene, echo: list[Metadata]) -> None:
    assert await transparent.call(metadata=(("tenant_id", transparent.envoy.id),)) is grpc.StatusCode.OK
    assert [each for each in echo if each.get("tenant_id") == transparent.envoy.id]


@pytest.mark.parametrize("sent", ["mine-1", "f3059d7b-ca86-4b7b-a781-c021f0dc2f86"])
async def test_the_request_id_of_the_caller_stays(transparent: Scene, sent: str) -> None:
    _, arrival = await transparent.asked("GET / HTTP/1.1", f"X-Request-Id: {sent}")
    assert arrival
    await transparent.canary.until_seen(arrival.test_id)
    [mirrored] = transparent.canary.of(arrival.test_id)
    assert arrival.headers["x-request-id"] == mirrored.headers["x-request-id"] == sent


async def test_a_request_without_an_id_gets_one(transparent: Scene) -> None:
    _, arrival = await transparent.asked("GET / HTTP/1.1")
    assert arrival
    await transparent.canary.until_seen(arrival.test_id)
    [mirrored] = transparent.canary.of(arrival.test_id)
    assert UUID(arrival.headers["x-request-id"]) == UUID(mirrored.headers["x-request-id"])


async def test_every_version_of_http_is_taken(transparent: Scene, echo: list[Metadata]) -> None:
    for version in ("1.0", "1.1"):
        reply, arrival = await transparent.asked(f"GET /old HTTP/{version}")
        assert (reply.status, arrival and arrival.path) == (200, "/old")
    assert await transparent.call() is grpc.StatusCode.OK  # HTTP/2, with prior knowledge
    assert echo


async def test_every_method_arrives(transparent: Scene) -> None:
    for method in ("PROPFIND", "PURGE", "M-SEARCH", "INVALIDATE"):  # aiohttp itself rejects the last
        assert (await transparent.ask(f"{method} / HTTP/1.1")).is_from_backend


async def test_a_response_has_the_headers_that_the_backend_gives_it(transparent: Scene) -> None:
    reply = await transparent.ask("GET / HTTP/1.1")
    async with transparent.fleet.session.get(f"http://{transparent.stable.address}/") as straight:
        assert sorted(reply.headers) == sorted(each.lower() for each in straight.headers)


async def test_the_forwarded_headers_of_just_anybody_are_not_believed(transparent: Scene) -> None:
    _, arrival = await transparent.asked("GET / HTTP/1.1", *FROM_BALANCER)
    assert arrival
    assert arrival.headers["x-forwarded-proto"] == "http"
    assert arrival.headers["x-forwarded-for"].startswith("203.0.113.9,")
    assert arrival.headers["x-envoy-external-address"] == "127.0.0.1"
    assert "x-envoy-retry-on" not in arrival.headers


async def test_a_client_that_is_gone_is_found_by_the_kernel(transparent: Scene) -> None:
    assert await transparent.has_keepalive()


async def test_nothing_ends_an_idle_websocket_unless_the_file_says_so(scenes: list[Scene]) -> None:
    file = scenes[0].file
    await file.says()
    async with contextlib.AsyncExitStack() as stack:
        patient = [await stack.enter_async_context(each.websocket()) for each in scenes]
        # Others end after they were idle for a time in which those were idle, too.
        await file.says(stream_idle_timeout="200ms")
        for scene in scenes:
            async with scene.websocket() as ended:
                assert (await ended.receive(timeout=PATIENCE_S)).type not in (
                    WSMsgType.TEXT,
                    WSMsgType.BINARY,
                )
        for websocket in patient:
            await websocket.send_str("still here")
            assert await websocket.receive_str() == "still here"
