"""What differs between a copy and the request that it is a copy of: what was asked for, and nothing else."""

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

import pytest

from tests.envoy.policy.conftest import Annotate
from tests.support.backends import Arrival, Recorder
from tests.support.rig import Rig
from xds_server.demo.envoy import Envoy
from xds_server.shadows.policy import LARGEST_REDACTED

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

MARK = ("x-xds-shadow", "staging/myapp-canary")
Sent = dict[str, str]


@dataclass(frozen=True)
class Scene:
    """One Envoy of the fleet, and what arrives behind it."""

    fleet: Rig
    envoy: Envoy
    stable: Recorder
    canary: Recorder
    annotate: Annotate

    async def both(
        self,
        *,
        method: str = "GET",
        path: str = "/",
        headers: Sent | None = None,
        body: bytes | None = None,
    ) -> tuple[Arrival, Arrival]:
        """One request as the stable version got it, and its copy."""
        answer = await self.fleet.send(self.envoy, method=method, path=path, headers=headers, body=body)
        assert (answer.status, answer.backend) == (200, "stable")
        await self.canary.until_seen(answer.test_id)
        [original], [copy] = self.stable.of(answer.test_id), self.canary.of(answer.test_id)
        return original, copy

    async def missing(self, body: bytes, headers: Sent) -> None:
        """A request with this body reaches the stable version and not the canary."""
        answer = await self.fleet.send(self.envoy, method="POST", body=body, headers=headers)
        assert (answer.status, answer.backend) == (200, "stable")
        fence = await self.fleet.send(self.envoy)
        await self.canary.until_seen(fence.test_id)
        assert [arrival.body for arrival in self.stable.of(answer.test_id)] == [body]
        assert self.canary.of(answer.test_id) == []


@pytest.fixture(params=[0, 1], ids=["delta", "sotw"])
def scene(
    request: pytest.FixtureRequest, fleet: Rig, stable: Recorder, canary: Recorder, annotate: Annotate
) -> Scene:
    return Scene(fleet, fleet.envoys[request.param], stable, canary, annotate)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forwarded-for": "203.0.113.7, 198.51.100.2"},
        # What carries the originals past Envoy is nobody else's to set.
        {"x-xds-shadow-forwarded-for": "spoofed", "x-xds-shadow-internal": "spoofed"},
        {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx"},
    ],
    ids=["plain", "forwarded", "spoofed", "steering"],
)
async def test_a_copy_has_the_headers_of_its_original_and_a_mark(scene: Scene, headers: Sent) -> None:
    await scene.annotate()
    original, copy = await scene.both(method="POST", path="/a?b=c", headers=headers, body=b"x")
    before = {k: v for k, v in original.headers.items() if not k.startswith("x-xds-shadow")}
    assert dict(copy.headers) == before | dict([MARK])
    assert (copy.method, copy.path, copy.body) == ("POST", "/a?b=c", b"x")


async def test_headers_are_set_and_removed_on_the_copy_alone(scene: Scene) -> None:
    await scene.annotate(
        set_headers="x-env=shadow, x-was=%REQ(x-secret)% by %REQ(:method)% over %PROTOCOL%, x-share=100%%",
        remove_headers="X-Secret,cookie,x-forwarded-for",
    )
    sent = {"x-secret": "hush", "cookie": "a=b", "x-env": "live"}
    original, copy = await scene.both(headers=sent)
    assert original.headers.items() >= sent.items()
    removed = sent.keys() | {"x-forwarded-for"}
    changed = {"x-env": "shadow", "x-was": "hush by GET over HTTP/1.1", "x-share": "100%"}
    kept = {name: value for name, value in original.headers.items() if name not in removed}
    assert copy.headers == kept | changed | dict([MARK])


async def test_values_of_headers_are_those_of_the_clients_request(scene: Scene) -> None:
    # Each of them has another value, or none, once Envoy has made the mirrored request.
    await scene.annotate(
        host="canary.example",
        set_headers="x-from=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%, x-id=%STREAM_ID%,"
        "x-host=%REQ(:authority)% %REQ(host)%, x-over=%PROTOCOL%100%%, x-for=%REQ(x-forwarded-for)%,"
        "x-internal=%REQ(x-envoy-internal)%, x-peer=%DOWNSTREAM_REMOTE_ADDRESS%, x-at=%START_TIME%",
    )
    for sent in {}, {"x-forwarded-for": "203.0.113.7"}:
        original, copy = await scene.both(headers=sent)
        expected = {
            "x-from": "127.0.0.1",
            "x-id": original.headers["x-request-id"],
            "x-host": "myapp.staging myapp.staging",
            "x-over": "HTTP/1.1100%",
            "x-for": original.headers["x-forwarded-for"],
            "x-internal": original.headers.get("x-envoy-internal"),
        }
        assert {name: copy.headers.get(name) for name in expected} == expected
        assert copy.headers["x-peer"].startswith("127.0.0.1:")
        assert datetime.fromisoformat(copy.headers["x-at"]).tzinfo


async def test_a_list_with_line_breaks_has_commas_in_its_values(scene: Scene) -> None:
    await scene.annotate(set_headers="accept=text/html, application/json\nx-env=shadow\n")
    _, copy = await scene.both()
    assert copy.headers["accept"] == "text/html, application/json"
    assert copy.headers["x-env"] == "shadow"


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("preserve", "myapp.staging"),
        ("shadow-suffix", "myapp.staging-shadow"),
        ("canary.example:8443", "canary.example:8443"),
    ],
)
async def test_the_host_of_a_copy(scene: Scene, host: str, seen: str) -> None:
    await scene.annotate(host=host)
    original, copy = await scene.both()
    assert (original.host, copy.host) == ("myapp.staging", seen)


async def test_path_prefixes_are_rewritten_on_the_copy_alone(scene: Scene) -> None:
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
        original, copy = await scene.both(path=path)
        assert (original.path, copy.path) == (path, seen)


REDACT = "json:/card/number,json:/items/*/pin,json:/token,form:password,form:user name"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("kind", "body", "seen"),
    [
        (JSON, b'{"card": {"number": "4111", "name": "A"}}', b'{"card": {"number": "***", "name": "A"}}'),
        ("application/vnd.api+json; charset=UTF-8", b'{"token":true}', b'{"token":false}'),
        (
            JSON,
            b'{"items":[{"pin":-1.5e3},{"pin":null,"x":[]}]}',
            b'{"items":[{"pin":0},{"pin":null,"x":[]}]}',
        ),
        (JSON, b'{"token":{"a":[1]},"items":{"k":{"pin":[2]}}}', b'{"token":{},"items":{"k":{"pin":[]}}}'),
        (JSON, b' [ "token" , {"token":1} ] ', b' [ "token" , {"token":1} ] '),
        (
            JSON,
            b'{"t\\u006Fken":"\\"a\\\\","TOKEN":"b","to":"c"}',
            b'{"t\\u006Fken":"***","TOKEN":"***","to":"c"}',
        ),
        (FORM, b"a=1&password=x%20y&b=%26&Pass%77ord=z", b"a=1&password=***&b=%26&Pass%77ord=***"),
        (
            FORM,
            b"user+name=x&user%20name=y;z&c=1;password=2;d",
            b"user+name=***&user%20name=***&c=1;password=***",
        ),
        (FORM, b"password&=&password=", b"password&=&password=***"),
    ],
)
async def test_values_are_masked_in_the_copy_alone(
    scene: Scene,
    kind: str,
    body: bytes,
    seen: bytes,
) -> None:
    await scene.annotate(redact=REDACT)
    original, copy = await scene.both(method="POST", headers={"content-type": kind}, body=body)
    assert (original.body, copy.body) == (body, seen)
    assert copy.headers["content-length"] == str(len(seen))
    if "json" in kind:
        json.loads(copy.body)
    else:
        assert parse_qsl(copy.body.decode(), keep_blank_values=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"token":1}}',
        b'{"token":1,}',
        b'{"token":01}',
        b'{"token":"a\nb"}',
        b'{"token":"\\x"}',
        b"{'token':1}",
        b'{"token":1}{"token":2}',
        b'\xef\xbb\xbf{"token":1}',
        '{"token":1}'.encode("utf-16"),
        b"[" * 200 + b"]" * 200,
        b"token",
    ],
)
async def test_what_is_no_json_is_not_sent(scene: Scene, body: bytes) -> None:
    await scene.annotate(redact=REDACT)
    if body:
        await scene.missing(body, {"content-type": JSON})
    else:  # there is nothing to mask
        _, copy = await scene.both(method="POST", headers={"content-type": JSON}, body=body)
        assert copy.body == b""


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json, text/plain"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": JSON, "content-encoding": "compress"},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
async def test_a_body_that_cannot_be_looked_into_is_not_sent(scene: Scene, headers: Sent) -> None:
    await scene.annotate(redact=REDACT)
    await scene.missing(b'{"token":1}', headers)


async def test_a_body_of_a_kind_that_nothing_is_said_of_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact="json:/card/number")
    await scene.missing(b"card=4111", {"content-type": FORM})


async def test_large_bodies_are_masked_whole(scene: Scene) -> None:
    await scene.annotate(redact="json:/items/*/pin")
    items = [{"pin": number, "text": "x" * 90, "deep": {"pin": number}} for number in range(1850)]
    body = json.dumps({"items": items}).encode()
    _, copy = await scene.both(method="POST", headers={"content-type": JSON}, body=body)
    masked = json.dumps({"items": [{**item, "pin": 0} for item in items]}).encode()
    assert 0.9 * LARGEST_REDACTED < len(body) <= LARGEST_REDACTED
    assert copy.headers["content-length"] == str(len(masked))
    assert masked.startswith(copy.body)


async def test_changes_go_together(scene: Scene) -> None:
    await scene.annotate(
        redact="form:password",
        rewrite_path_prefix="/a=/b",
        host="c.example",
        remove_headers="x-a",
        max_rps="1000",
    )
    _, copy = await scene.both(
        method="POST", path="/a/c", headers={"content-type": FORM, "x-a": "1"}, body=b"password=1"
    )
    assert (copy.path, copy.host, copy.body) == ("/b/c", "c.example", b"password=***")
    assert "x-a" not in copy.headers
