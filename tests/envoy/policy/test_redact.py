"""What `redact` masks, and that what it cannot look into is not sent: whatever the client calls it."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.policy.conftest import Scene, Sent
from tests.envoy.scenarios.stage import BINARIES
from tests.support.rig import Rig, rig
from xds_server.core.policy import MAX_REDACTED

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BINARIES)
async def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("fleet"), binary=BINARIES[request.param]) as running:
        yield running


REDACT = (
    "json:/card/number,json:/items/*/pin,json:/token,json:/\N{GRINNING FACE},"
    "form:password,form:user name,form:user_id,form:x;y"
)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


MASKED = [
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
    (  # The longest name, escaped as far as it can be.
        JSON,
        b'{"card":{"\\u006e\\u0075\\u006d\\u0062\\u0065\\u0072":"4111"}}',
        b'{"card":{"\\u006e\\u0075\\u006d\\u0062\\u0065\\u0072":"***"}}',
    ),
    (FORM, b"a=1&password=x%20y&b=%26&Pass%77ord=z", b"a=1&password=***&b=%26&Pass%77ord=***"),
    (
        FORM,
        b"user+name=x&user%20name=y;z&c=1;password=2;d",
        b"user+name=***&user%20name=***&c=1;password=***",
    ),
    (FORM, b"password&=&password=", b"password&=&password=***"),
    # As decoders of several languages nest names.
    (FORM, b"password[]=a&password[0]=b&x=c", b"password[]=***&password[0]=***&x=c"),
    (FORM, b"u[password]=a&u[password][]=b&u[x]=c", b"u[password]=***&u[password][]=***&u[x]=c"),
    (FORM, b"u%5BPassword%5D%5b%5d=a&u.password=b", b"u%5BPassword%5D%5b%5d=***&u.password=***"),
    (
        FORM,
        b"+password=a&%20%20password=b&password.x=c",
        b"+password=***&%20%20password=***&password.x=***",
    ),
    (FORM, b"user.id=a&user%5Bid=b&user+id=c", b"user.id=***&user%5Bid=***&user+id=***"),
    (FORM, b"user;id=a&user_id=b", b"user;id=a&user_id=***"),
    (FORM, b"x;y=a;b&x%3By=c&y=d", b"x;y=***&x%3By=***&y=d"),
    (FORM, b"passwords=a&my-password=b&[pass]word=c", b"passwords=a&my-password=b&[pass]word=c"),
    (FORM, b"_charset_=UTF-8&password=b", b"_charset_=UTF-8&password=***"),
    # Letters that some decoders take for others, in names.
    (FORM, b"pa%C5%BFsword=a&pas\xc5\xbfword=b", b"pa%C5%BFsword=***&pas\xc5\xbfword=***"),
    (
        JSON,
        b'{"to\xe2\x84\xaaen":"a","to\\u212aen":"b"}',
        b'{"to\xe2\x84\xaaen":"***","to\\u212aen":"***"}',
    ),
    (JSON, b'{"token":"a","token":"b"}', b'{"token":"***","token":"***"}'),
    (JSON, b'{"\\ud83d\\ude00":1,"token":true}', b'{"\\ud83d\\ude00":0,"token":false}'),
    (JSON, b'{"\xf0\x9f\x98\x80":1,"\xc3\xa9":2}', b'{"\xf0\x9f\x98\x80":0,"\xc3\xa9":2}'),
    # What is JSON is taken for it, whatever curl calls it.
    (FORM, b' {"token":"a"}', b' {"token":"***"}'),
    (FORM, b'[{"token":"a"},{"items":[{"pin":1}]}]', b'[{"token":"a"},{"items":[{"pin":1}]}]'),
    (f"{FORM}; charset=UTF-8", b"password=a", b"password=***"),
    (f'{JSON};charset="utf-8";x=y', b'{"token":1}', b'{"token":0}'),
]


async def test_values_are_masked_only_in_the_mirrored_request(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    for kind, body, seen in MASKED:
        live, mirrored = await scene.both(method="POST", headers={"content-type": kind}, body=body)
        assert (live.body, mirrored.body) == (body, seen)
        assert mirrored.headers["content-length"] == str(len(seen))
        if "json" in kind:
            json.loads(mirrored.body)


NO_JSON = [
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
    b'{"to\xffken":1}',
    b'{"to\xed\xa0\x80ken":1}',
    b'{"token\\u0000":1}',
    b'{"token\\ud800":1}',
    b'{"token":1e}',
    b'{"token":-}',
    b'{"token":1.}',
    b'{"token":"\\u12g4"}',
    b'{"token":tru}',
]


async def test_what_is_no_json_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    for body in NO_JSON:
        await scene.missing(body, {"content-type": JSON})


async def test_where_there_is_no_body_nothing_is_masked(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    _, mirrored = await scene.both(method="POST", headers={"content-type": JSON}, body=b"")
    assert mirrored.body == b""


NO_FORM = [
    b'{"token":"a"',
    b'{"token":"a=b"}',
    b'[{"password":"a"}]&password=b',
    b'\xef\xbb\xbf{"token":"a"}',
    b'"password"',
    b"<password>a</password>",
    b"password: a\n",
    b"password = a",
    b"a=b\npassword=c",
    b"pass%00word=a",
    b"password%00=a",
    b"pa%C5sword=a",
    b"%F0%28password=a",
    b"_charset_=utf-16&%00p=a",
    b"%5fcharset_=utf-16&p=a",
    b"a" * 200 + b"=b",
]


async def test_what_is_no_form_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    for body in NO_FORM:
        await scene.missing(body, {"content-type": FORM})


UNREADABLE: list[Sent] = [
    {"content-type": "text/plain"},
    {"content-type": "application/json, text/plain"},
    {"content-type": "application/json; charset=utf-16"},
    {"content-type": 'application/json; charset="utf-16"'},
    {"content-type": "application/json; charset=utf-8; CHARSET=utf-16"},
    {"content-type": "application/json; charset=utf-8x"},
    {"content-type": "application/json; charset = utf-16"},
    {"content-type": "application/json; charset*=UTF-16''utf-16"},
    {"content-type": JSON, "content-encoding": "compress"},
    {"content-type": JSON, "Content-Encoding": "COMPRESS"},
    {"content-type": JSON, "content-encoding": ""},
    {"content-type": "Multipart/Form-Data; boundary=x"},
    {"content-type": "multipart/form-data; boundary=x"},
]


async def test_a_body_that_cannot_be_looked_into_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    for headers in UNREADABLE:
        await scene.missing(b'{"token":1}', headers)


KINDLESS: list[list[tuple[str, str]]] = [
    [],
    [("content-type", "")],
    [("content-type", JSON), ("content-type", FORM)],
    [("content-type", FORM), ("Content-Type", JSON)],
    [("content-type", JSON), ("content-type", JSON)],
    [("content-type", f"{JSON}; charset=utf-8"), ("content-type", "text/plain")],
    [("content-type", JSON), ("content-encoding", "identity"), ("content-encoding", "gzip")],
]


async def test_a_body_of_no_kind_or_of_two_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact=REDACT)
    for headers in KINDLESS:
        sent = await scene.raw(headers, b'{"token":1}')
        alone = await scene.raw([("content-type", JSON), ("content-encoding", "identity")], b'{"token":1}')
        await scene.canary.until_seen(alone)
        assert [arrival.body for arrival in scene.canary.of(alone)] == [b'{"token":0}']
        assert [arrival.body for arrival in scene.stable.of(sent)] == [b'{"token":1}']
        assert scene.canary.of(sent) == [], headers


async def test_json_without_a_rule_is_no_form(scene: Scene) -> None:
    await scene.annotate(redact="form:password")
    for body in b'{"password":"a"}', b' [{"password":"a"}]', b'["password"]':
        await scene.missing(body, {"content-type": FORM})


async def test_headers_that_are_changed_do_not_change_what_a_body_is(scene: Scene) -> None:
    for changed in f"content-type={FORM}", "content-type=text/plain", "content-encoding=compress":
        await scene.annotate(redact="json:/token", set_headers=changed)
        _, mirrored = await scene.both(method="POST", headers={"content-type": JSON}, body=b'{"token":1}')
        assert mirrored.body == b'{"token":0}'
    await scene.annotate(redact="json:/token", remove_headers="content-encoding,content-type")
    await scene.missing(b'{"token":1}', {"content-type": JSON, "content-encoding": "compress"})


async def test_a_body_of_a_kind_that_nothing_is_said_of_is_not_sent(scene: Scene) -> None:
    await scene.annotate(redact="json:/card/number")
    await scene.missing(b"card=4111", {"content-type": FORM})


async def test_large_bodies_are_masked_whole(scene: Scene) -> None:
    await scene.annotate(redact="json:/items/*/pin")
    items = [{"pin": number, "text": "x" * 90, "deep": {"pin": number}} for number in range(1850)]
    body = json.dumps({"items": items}).encode()
    _, mirrored = await scene.both(method="POST", headers={"content-type": JSON}, body=body)
    masked = json.dumps({"items": [{**item, "pin": 0} for item in items]}).encode()
    assert 0.9 * MAX_REDACTED < len(body) <= MAX_REDACTED
    assert mirrored.headers["content-length"] == str(len(masked))
    assert masked.startswith(mirrored.body)
