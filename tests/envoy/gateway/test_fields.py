"""What each field of the gateway file does, on real Envoys, grouped by what the file says."""

import asyncio
import json
import socket
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.envoy.gateway.conftest import FROM_BALANCER, H2C, Metadata, Scene
from tests.support import objects
from tests.support.backends import Recorder
from tests.support.rig import Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SEVERAL = {
    "profile": "hardened",
    "normalize_paths": "false",
    "header_underscores": "drop",
    "keep_request_id": "true",
    "http10": "true",
    "http1_trailers": "true",
    "other_methods": "allow",
    "upgrades": ["websocket", "Echo/1", "k" * 32],
    "other_upgrades": "ignore",
    "connection_idle_timeout": "300ms",
    "trusted_cidrs": ["127.0.0.0/8", "10.0.0.1", "10.0.0.1/32"],
}


@pytest.fixture
async def hardened(scene: Scene) -> Scene:
    """An Envoy whose gateway is hardened."""
    await scene.file.says(profile="hardened")
    return scene


@pytest.fixture
async def several(scene: Scene) -> Scene:
    """An Envoy whose gateway is hardened, but for many fields."""
    await scene.file.says(**SEVERAL)
    return scene


async def test_a_hardened_gateway_normalises_paths(hardened: Scene) -> None:
    reply, arrival = await hardened.asked("POST /projects/group%2Fname HTTP/1.1")
    assert (reply.status, reply.headers["location"], arrival) == (307, "/projects/group/name", None)
    for path, normalised in (("//a///b", "/a/b"), ("/a/./b/../c", "/a/c")):
        reply, arrival = await hardened.asked(f"GET {path} HTTP/1.1")
        assert (reply.status, arrival and arrival.path) == (200, normalised)


async def test_a_hardened_gateway_rejects_unusual_requests(hardened: Scene, echo: list[Metadata]) -> None:
    for status, request, *headers in (
        (403, "GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: TLS/1.2"),
        (400, "GET / HTTP/1.1", "api_key: 1"),
        (426, "GET / HTTP/1.0"),
        (400, "INVALIDATE / HTTP/1.1"),
        (200, "GET / HTTP/1.1", *H2C),
    ):
        reply = await hardened.ask(request, *headers)
        assert (reply.status, reply.is_from_backend) == (status, status == 200)
    underscored = (("tenant_id", hardened.envoy.id),)
    assert await hardened.call(metadata=underscored) is grpc.StatusCode.INTERNAL
    assert not [each for each in echo if each.get("tenant_id") == hardened.envoy.id]


async def test_a_hardened_gateway_replaces_the_request_id(hardened: Scene) -> None:
    _, arrival = await hardened.asked("GET / HTTP/1.1", "X-Request-Id: mine-1")
    assert arrival
    await hardened.canary.until_seen(arrival.test_id)
    [mirrored] = hardened.canary.of(arrival.test_id)
    assert "mine-1" != arrival.headers["x-request-id"] == mirrored.headers["x-request-id"]


async def test_a_hardened_gateway_does_not_mirror_what_is_mirrored(hardened: Scene) -> None:
    _, marked = await hardened.asked("GET / HTTP/1.1", "x-xds-shadow: elsewhere/app")
    _, after = await hardened.asked("GET / HTTP/1.1")
    assert marked
    assert after
    await hardened.canary.until_seen(after.test_id)
    assert not hardened.canary.of(marked.test_id)


async def test_each_field_goes_before_its_profile(several: Scene) -> None:
    headers = ("X-Request-Id: mine-1", "api_key: 1", "Connection: Upgrade", "Upgrade: TLS/1.2")
    reply, arrival = await several.asked("GET //a%2Fb HTTP/1.1", *headers)
    assert arrival
    assert (reply.status, arrival.path) == (200, "//a%2Fb")
    assert arrival.headers["x-request-id"] == "mine-1"
    assert {"api_key", "upgrade"}.isdisjoint(arrival.headers)
    reply, arrival = await several.asked("GET / HTTP/1.0")
    assert (reply.status, arrival is not None) == (200, True)
    assert (await several.ask("INVALIDATE / HTTP/1.1")).is_from_backend


async def test_an_upgrade_that_is_named_is_handed_on_and_not_mirrored(several: Scene) -> None:
    for token, handed_on in (("WebSocket", True), ("echo/1", True), ("echo/2", False)):
        _, arrival = await several.asked("GET / HTTP/1.1", "Connection: Upgrade", f"Upgrade: {token}")
        _, after = await several.asked("GET / HTTP/1.1")
        assert arrival
        assert after
        assert ("upgrade" in arrival.headers) is handed_on
        await several.canary.until_seen(after.test_id)
        assert len(several.canary.of(arrival.test_id)) == (not handed_on)


async def test_a_connection_without_requests_is_closed(scenes: list[Scene]) -> None:
    await scenes[0].file.says(**SEVERAL)
    # Together, as Envoy gives a client that may be about to ask five seconds more.
    closed = [each.is_closed_by_gateway("GET / HTTP/1.1\r\nHost: myapp.staging\r\n\r\n") for each in scenes]
    assert all(await asyncio.gather(*closed))


async def test_a_trusted_peer_is_believed(several: Scene) -> None:
    _, arrival = await several.asked("GET / HTTP/1.1", *FROM_BALANCER)
    assert arrival
    assert arrival.headers["x-forwarded-proto"] == "https"
    assert arrival.headers["x-forwarded-for"].startswith("203.0.113.9,")
    assert arrival.headers["x-envoy-external-address"] == "203.0.113.9"
    assert "x-envoy-retry-on" not in arrival.headers


async def test_an_untrusted_peer_is_not(scene: Scene) -> None:
    await scene.file.says(trusted_hops="2", trusted_cidrs=["10.0.0.0/8", "::1"])
    _, arrival = await scene.asked("GET / HTTP/1.1", *FROM_BALANCER)
    assert arrival
    assert arrival.headers["x-forwarded-proto"] == "http"
    assert arrival.headers["x-envoy-external-address"] == "127.0.0.1"
    assert "x-envoy-retry-on" not in arrival.headers


async def test_several_hops_are_counted(scene: Scene) -> None:
    await scene.file.says(trusted_hops="2", header_underscores="reject")
    by_network, by_balancer = "X-Forwarded-For: 198.51.100.7, 203.0.113.9", "X-Forwarded-Proto: https"
    _, arrival = await scene.asked("GET / HTTP/1.1", by_network, by_balancer)
    assert arrival
    assert arrival.headers["x-forwarded-proto"] == "https"
    assert arrival.headers["x-envoy-external-address"] == "198.51.100.7"
    assert (await scene.ask("GET / HTTP/1.1", "api_key: 1")).status == 400


async def test_headers_that_do_not_come_are_not_waited_for(scenes: list[Scene]) -> None:
    await scenes[0].file.says(request_headers_timeout="300ms")
    assert all(
        await asyncio.gather(*(each.is_closed_by_gateway("GET / HTTP/1.1\r\nHost:") for each in scenes))
    )


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("addresses", [["::"], ["::1", "127.0.0.1"], ["::", "0.0.0.0"]], ids=str)
async def test_both_families_are_listened_on(scenes: list[Scene], addresses: list[str]) -> None:
    await scenes[0].file.says(listeners=[{"addresses": addresses}])
    for scene in scenes:
        for at in ("127.0.0.1", "::1"):
            reply, arrival = await scene.asked("GET / HTTP/1.1", at=at)
            assert (reply.status, arrival is not None) == (200, True)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_a_network_of_ipv4_is_trusted_by_a_gateway_of_both(scenes: list[Scene]) -> None:
    await scenes[0].file.says(listeners=[{"addresses": ["::"]}], trusted_cidrs=["127.0.0.0/8"])
    for scene in scenes:
        for at, believed in (("127.0.0.1", "https"), ("::1", "http")):
            _, arrival = await scene.asked("GET / HTTP/1.1", *FROM_BALANCER, at=at)
            assert arrival
            assert arrival.headers["x-forwarded-proto"] == believed


async def test_a_request_has_a_line_of_json(scene: Scene) -> None:
    await scene.file.says(access_log="json")
    path = f"/of/{scene.envoy.id}"
    _, arrival = await scene.asked(f"POST {path}?secret=1 HTTP/1.1", *FROM_BALANCER, body=b"order")
    assert arrival
    await eventually(lambda: _line(scene, path), what="a line in the access log")
    found = _line(scene, path)
    assert found
    assert "secret" not in json.dumps(found)
    assert isinstance(found.pop("duration_ms"), int)
    assert found.pop("time")[:2] == "20"
    assert found == {
        "request_id": arrival.headers["x-request-id"],
        "method": "POST",
        "host": "myapp.staging",
        "path": path,
        "protocol": "HTTP/1.1",
        "status": 200,
        "flags": "-",
        "bytes_received": 5,
        "bytes_sent": 6,
        "client": "127.0.0.1",
        "peer": "127.0.0.1",
        "service": "staging/myapp/http",
        "endpoint": str(scene.stable.address),
        "route": "all",
        "mirrored_to": ["staging/myapp-canary"],
    }


@pytest.mark.usefixtures("_sampled")
async def test_the_line_says_of_each_request_whether_it_was_mirrored(scene: Scene) -> None:
    """Half of the requests of this Service are, and each line is right about its own."""
    await scene.file.says(access_log="json")
    asked = {}
    for number in range(40):
        path = f"/half/{scene.envoy.id}/{number}"
        _, arrival = await scene.asked(f"GET {path} HTTP/1.1", "Host: sampled.staging")
        assert arrival
        asked[path] = arrival.test_id
    path = f"/marked/{scene.envoy.id}"
    await scene.asked(f"GET {path} HTTP/1.1", "x-xds-shadow: elsewhere/app")
    await eventually(lambda: _line(scene, path), what="the last line")
    marked = _line(scene, path)
    assert marked
    assert (marked["mirrored_to"], marked["route"]) == (None, "already-mirrored")
    reported = {each["path"]: each["mirrored_to"] for each in _lines(scene) if each["path"] in asked}
    assert reported.keys() == asked.keys()
    mirrored = {each for each, canaries in reported.items() if canaries}
    assert {str(reported[each]) for each in mirrored} == {"['staging/sampled-canary']"}
    for each in mirrored:
        await scene.canary.until_seen(asked[each])
    assert {each for each, test_id in asked.items() if scene.canary.of(test_id)} == mirrored
    assert 0 < len(mirrored) < len(asked)  # a chance of one in 550 billion that it is all or none


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _sampled(fleet: Rig, stable: Recorder, canary: Recorder) -> None:
    """A Service of which half of the requests are mirrored."""
    slices = objects.endpoint_slice("sampled", [("stable-2", stable.address)])
    pod = objects.pod("sampled-1", canary.address, labels={"app": "sampled-canary"})
    half = objects.canary("sampled-canary", shadow_of="sampled", percent="50")
    fleet.write("sampled.yaml", [objects.service("sampled"), *slices, half, pod])
    await fleet.until_shadow("Active", deployment="sampled-canary")


def _lines(scene: Scene) -> list[dict[str, Any]]:
    lines = scene.envoy.process.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def _line(scene: Scene, path: str) -> dict[str, Any] | None:
    return next((each for each in _lines(scene) if each["path"] == path), None)
