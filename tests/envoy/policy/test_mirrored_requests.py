"""How a mirrored request differs from the live one: in what the annotations ask for, and in nothing else."""

from datetime import datetime

import pytest

from tests.envoy.policy.conftest import Scene, Sent

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

MARK = ("x-xds-shadow", "staging/myapp-canary")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forwarded-for": "203.0.113.7, 198.51.100.2"},
        # Callers cannot set the headers that carry values past Envoy.
        {"x-xds-shadow-forwarded-for": "spoofed", "x-xds-shadow-internal": "spoofed"},
        {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx"},
    ],
    ids=["plain", "forwarded", "spoofed", "steering"],
)
async def test_a_mirrored_request_has_the_headers_of_the_live_request_and_a_mark(
    scene: Scene, headers: Sent
) -> None:
    await scene.annotate()
    live, mirrored = await scene.both(method="POST", path="/a?b=c", headers=headers, body=b"x")
    before = {k: v for k, v in live.headers.items() if not k.startswith("x-xds-shadow")}
    assert dict(mirrored.headers) == before | dict([MARK])
    assert (mirrored.method, mirrored.path, mirrored.body) == ("POST", "/a?b=c", b"x")


async def test_headers_are_set_and_removed_only_on_the_mirrored_request(scene: Scene) -> None:
    await scene.annotate(
        set_headers="x-env=shadow, x-was=%REQ(x-secret)% by %REQ(:method)% over %PROTOCOL%, x-share=100%%",
        remove_headers="X-Secret,cookie,x-forwarded-for",
    )
    sent = {"x-secret": "hush", "cookie": "a=b", "x-env": "live"}
    live, mirrored = await scene.both(headers=sent)
    assert live.headers.items() >= sent.items()
    removed = sent.keys() | {"x-forwarded-for"}
    changed = {"x-env": "shadow", "x-was": "hush by GET over HTTP/1.1", "x-share": "100%"}
    kept = {name: value for name, value in live.headers.items() if name not in removed}
    assert mirrored.headers == kept | changed | dict([MARK])


async def test_values_of_headers_are_those_of_the_clients_request(scene: Scene) -> None:
    # Each of them has another value, or none, once Envoy has made the mirrored request.
    await scene.annotate(
        host="canary.example",
        set_headers="x-from=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%, x-id=%STREAM_ID%,"
        "x-host=%REQ(:authority)% %REQ(host)%, x-over=%PROTOCOL%100%%, x-for=%REQ(x-forwarded-for)%,"
        "x-internal=%REQ(x-envoy-internal)%, x-peer=%DOWNSTREAM_REMOTE_ADDRESS%, x-at=%START_TIME%",
    )
    for sent in {}, {"x-forwarded-for": "203.0.113.7"}:
        live, mirrored = await scene.both(headers=sent)
        expected = {
            "x-from": "127.0.0.1",
            "x-id": live.headers["x-request-id"],
            "x-host": "myapp.staging myapp.staging",
            "x-over": "HTTP/1.1100%",
            "x-for": live.headers["x-forwarded-for"],
            "x-internal": live.headers.get("x-envoy-internal"),
        }
        assert {name: mirrored.headers.get(name) for name in expected} == expected
        assert mirrored.headers["x-peer"].startswith("127.0.0.1:")
        assert datetime.fromisoformat(mirrored.headers["x-at"]).tzinfo


async def test_a_list_with_line_breaks_has_commas_in_its_values(scene: Scene) -> None:
    await scene.annotate(set_headers="accept=text/html, application/json\nx-env=shadow\n")
    _, mirrored = await scene.both()
    assert mirrored.headers["accept"] == "text/html, application/json"
    assert mirrored.headers["x-env"] == "shadow"


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("preserve", "myapp.staging"),
        ("shadow-suffix", "myapp.staging-shadow"),
        ("canary.example:8443", "canary.example:8443"),
    ],
)
async def test_the_host_of_a_mirrored_request(scene: Scene, host: str, seen: str) -> None:
    await scene.annotate(host=host)
    live, mirrored = await scene.both()
    assert (live.host, mirrored.host) == ("myapp.staging", seen)


async def test_path_prefixes_are_rewritten_only_on_the_mirrored_request(scene: Scene) -> None:
    await scene.annotate(rewrite_path_prefix="/api=/v2,/api/old/=/,/gone=/")
    for path, seen in {
        "/api": "/v2",
        "/api?q=/api": "/v2?q=/api",
        "/api/x?q=1": "/v2/x?q=1",
        "/api/": "/v2/",
        "/apis": "/apis",
        "/api/old/x": "/x",
        "/api/old": "/v2/old",
        "/gone": "/",
        "/gone?q": "/?q",
        "/": "/",
    }.items():
        live, mirrored = await scene.both(path=path)
        assert (live.path, mirrored.path) == (path, seen)


FORM = "application/x-www-form-urlencoded"


async def test_changes_go_together(scene: Scene) -> None:
    await scene.annotate(
        redact="form:password",
        rewrite_path_prefix="/a=/b",
        host="c.example",
        remove_headers="x-a",
        max_rps="1000",
    )
    _, mirrored = await scene.both(
        method="POST", path="/a/c", headers={"content-type": FORM, "x-a": "1"}, body=b"password=1"
    )
    assert (mirrored.path, mirrored.host, mirrored.body) == ("/b/c", "c.example", b"password=***")
    assert "x-a" not in mirrored.headers
