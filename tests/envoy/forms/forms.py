"""The forms: requests as bytes, and what is not as it was sent when they arrive."""

from dataclasses import dataclass
from typing import Final

from tests.envoy.forms.arrival import FORM
from tests.envoy.forms.client import Http1, Http2

HOST: Final = "forms.example.com"
"""A host of the Service's HTTP/1 port."""

GRPC_HOST: Final = "grpc.forms.example.com"
"""A host of the Service whose backends speak HTTP/2."""


_GET: Final = "GET / HTTP/1.1"


@dataclass(frozen=True)
class Outcome:
    """What becomes of a request on its way through Envoy. `status` is what the client is answered. `differs`
    is what is different at the Service, `canary` at the canary, as `arrival.differences` says it, beside what
    is so with every request; of that `without` is not. With `canary` None nothing arrives there, and what is
    rejected arrives nowhere."""

    differs: tuple[str, ...] = ()
    canary: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    status: int = 200


def mirrored(*differs: str, canary: tuple[str, ...] | None = None, without: tuple[str, ...] = ()) -> Outcome:
    """It arrives at both, and so at the canary unless `canary` says how there."""
    return Outcome(differs, differs if canary is None else canary, without)


def rejected(status: int) -> Outcome:
    """It arrives nowhere."""
    return Outcome(status=status)


AS_SENT: Final = mirrored()


@dataclass(frozen=True)
class Form:
    """`name` says in words what is special about the request. Straight to a backend it is answered 200, or
    101 where it is upgraded. `gateway` is the outcome there, if it is not that behind the own listener."""

    name: str
    request: Http1 | Http2
    outcome: Outcome = AS_SENT
    gateway: Outcome | None = None


def _h1(
    name: str,
    line: str = _GET,
    *headers: str,
    host: str | None = HOST,
    body: bytes = b"",
    then: bytes = b"",
) -> tuple[str, Http1]:
    lines = [line, *([f"host: {host}"] if host else []), f"{FORM}: {name}", *headers]
    head = "".join(f"{each}\r\n" for each in lines).encode("latin-1")
    return name, Http1((head + b"\r\n" + body, *([then] if then else [])))


def _post(name: str, body: bytes, *headers: str, line: str = "POST /orders HTTP/1.1") -> tuple[str, Http1]:
    return _h1(name, line, *headers, f"content-length: {len(body)}", body=body)


def _chunked(name: str, body: bytes, *headers: str, line: str = "POST /orders HTTP/1.1") -> tuple[str, Http1]:
    return _h1(name, line, "transfer-encoding: chunked", *headers, body=body)


def _h2(
    name: str,
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/",
    host: str = HOST,
    data: tuple[bytes, ...] = (),
    trailers: tuple[tuple[str, str], ...] = (),
) -> tuple[str, Http2]:
    pseudo = ((":method", method), (":scheme", "https"), (":path", path), (":authority", host))
    return name, Http2((*pseudo, (FORM, name), *headers), data, trailers)


def _grpc(
    name: str, *headers: tuple[str, str], data: tuple[bytes, ...], trailers: tuple[tuple[str, str], ...] = ()
) -> tuple[str, Http2]:
    of_grpc = (("content-type", "application/grpc"), ("te", "trailers"), *headers)
    return _h2(
        name, *of_grpc, method="POST", path="/shop.Orders/Place", host=GRPC_HOST, data=data, trailers=trailers
    )


def _message(text: bytes) -> bytes:
    return b"\0" + len(text).to_bytes(4, "big") + text


METHODS = (
    Form(*_h1("GET")),
    Form(*_h1("HEAD", "HEAD /a HTTP/1.1")),
    Form(*_post("POST with a length", b'{"a": 1}', "content-type: application/json")),
    Form(*_post("POST of nothing", b"")),
    Form(*_h1("POST without length or body", "POST /orders HTTP/1.1"), mirrored("+ content-length: 0")),
    Form(*_post("POST of 300 KiB", b"0123456789abcdef" * 19200)),
    Form(
        *_chunked("PUT in chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", line="PUT /a HTTP/1.1"),
    ),
    Form(*_post("PATCH", b"{}", line="PATCH /a HTTP/1.1")),
    Form(*_h1("DELETE", "DELETE /a HTTP/1.1")),
    Form(*_post("DELETE with a body", b"why", line="DELETE /a HTTP/1.1")),
    Form(
        *_h1("OPTIONS of a path", "OPTIONS /a HTTP/1.1", "origin: https://example.com"),
        mirrored("+ content-length: 0"),
    ),
    Form(*_h1("OPTIONS of the server (*)", "OPTIONS * HTTP/1.1"), rejected(404)),
    Form(*_h1("TRACE", "TRACE / HTTP/1.1")),
    Form(*_h1("PROPFIND (WebDAV)", "PROPFIND / HTTP/1.1", "depth: 1"), mirrored("+ content-length: 0")),
    Form(*_h1("a method of one's own", "INVALIDATE-CACHE /a HTTP/1.1"), mirrored("+ content-length: 0")),
)

PATHS = (
    Form(*_h1("path with %2F", "GET /projects/group%2Fname HTTP/1.1")),
    Form(*_h1("path with %2f and %5C", "GET /a%2fb%5Cc HTTP/1.1")),
    Form(*_h1("path with //", "GET //a//b/ HTTP/1.1")),
    Form(*_h1("path with ;parameters", "GET /a;v=1/b;x HTTP/1.1")),
    Form(*_h1("path with /../", "GET /a/./b/../c HTTP/1.1")),
    Form(*_h1("path with %2E%2E", "GET /a/%2E%2E/b HTTP/1.1")),
    Form(*_h1("path with needless escapes", "GET /%7Euser/%41 HTTP/1.1")),
    Form(*_h1("path with a backslash", "GET /a\\b HTTP/1.1")),
    Form(*_h1("path with [|]{}^", "GET /[a|b]/{c}^ HTTP/1.1")),
    Form(*_h1("path with raw UTF-8", "GET /caf\xc3\xa9 HTTP/1.1"), rejected(400)),
    Form(*_h1("path of 8 KiB", f"GET /{'a' * 8192} HTTP/1.1")),
    Form(*_h1("query with ??", "GET /a??b=c?d HTTP/1.1")),
    Form(*_h1("empty query", "GET /a? HTTP/1.1")),
    Form(*_h1("query with odd characters", "GET /a?b[]=1&c=%zz&d=/../x HTTP/1.1")),
    Form(*_h1("fragment", "GET /a?b#c HTTP/1.1"), rejected(400)),
    Form(*_h1("absolute form", f"GET http://{HOST}/a?b HTTP/1.1"), mirrored("target /a?b")),
    Form(
        *_h1("absolute form, another Host", f"GET http://{HOST}/a HTTP/1.1", host="other.example.com"),
        mirrored("target /a", "- host: other.example.com", f"+ host: {HOST}"),
    ),
)

HOSTS = (
    Form(*_h1("Host with a port", host=f"{HOST}:8443")),
    Form(*_h1("Host in upper case", host="Forms.EXAMPLE.com")),
    Form(*_h1("Host with a trailing dot", host=f"{HOST}.")),
    Form(*_h1("HTTP/1.0", "GET /a HTTP/1.0")),
    Form(*_h1("HTTP/1.0 with a body", "POST /a HTTP/1.0", "content-length: 2", body=b"hi")),
)

HEADERS = (
    Form(*_h1("names with _", _GET, "api_key: 1")),
    Form(*_h1("names in mixed case", _GET, "X-Camel-Case: 1"), mirrored("names in lower case")),
    Form(*_h1("empty value", _GET, "x-empty:")),
    Form(*_h1("space around a value", _GET, "x-space: \t a  b \t")),
    Form(*_h1("a name twice", _GET, "x-twice: b", "x-twice: a", "x-twice: b")),
    Form(*_h1("two cookies", _GET, "cookie: a=1; b=2", "cookie: c=3")),
    Form(*_h1("value in Latin-1", _GET, "x-name: caf\xe9")),
    Form(*_h1("value of 16 KiB", _GET, f"x-long: {'a' * 16384}")),
    Form(*_h1("90 names", _GET, *(f"x-{number}: {number}" for number in range(90)))),
    Form(
        *_h1("x-request-id of the caller's", _GET, "x-request-id: abc-1"),
        mirrored(without=("+ x-request-id: UUID",)),
    ),
    Form(*_h1("traceparent", _GET, f"traceparent: 00-{'a1' * 16}-{'b2' * 8}-01", "tracestate: a=b")),
    Form(
        *_h1(
            "x-forwarded-* of the caller's",
            _GET,
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-proto: http",
            "x-forwarded-host: a.example.com",
        ),
        mirrored(
            "- x-forwarded-for: 203.0.113.9",
            "+ x-forwarded-for: 203.0.113.9,ADDRESS",
            "- x-forwarded-proto: http",
            without=("+ x-forwarded-for: ADDRESS",),
        ),
        gateway=mirrored(
            "- x-forwarded-for: 203.0.113.9",
            "+ x-forwarded-for: 203.0.113.9,ADDRESS",
            without=("+ x-forwarded-for: ADDRESS", "+ x-forwarded-proto: http"),
        ),
    ),
    Form(*_h1("Forwarded and Via", _GET, "forwarded: for=203.0.113.9", "via: 1.1 a")),
    Form(
        *_h1("x-envoy-* of the caller's", _GET, "x-envoy-max-retries: 9", "x-envoy-retry-on: 5xx"),
        mirrored("- x-envoy-max-retries: 9", "- x-envoy-retry-on: 5xx"),
    ),
    Form(
        *_h1(
            "Authorization and Proxy-Authorization",
            _GET,
            "authorization: Basic YTpi",
            "proxy-authorization: Basic YTpi",
        )
    ),
    Form(
        *_h1(
            "conditions and ranges",
            _GET,
            'if-none-match: W/"a"',
            "range: bytes=0-1",
            "if-range: x",
        )
    ),
    Form(*_h1("Connection: close", _GET, "connection: close"), mirrored("- connection: close")),
    Form(
        *_h1("a header that Connection names", _GET, "connection: x-hop", "x-hop: 1"),
        mirrored("- connection: x-hop", "- x-hop: 1"),
    ),
    Form(
        *_h1(
            "Keep-Alive and Proxy-Connection",
            _GET,
            "keep-alive: timeout=5",
            "proxy-connection: keep-alive",
        ),
        mirrored("- keep-alive: timeout=5", "- proxy-connection: keep-alive"),
    ),
    Form(*_h1("TE: trailers", _GET, "connection: te", "te: trailers"), mirrored("- connection: te")),
    Form(*_h1("x-xds-shadow of the caller's", _GET, "x-xds-shadow: a/b"), Outcome(canary=None)),
    Form(
        *_h1("x-xds-shadow that Connection names", _GET, "connection: x-xds-shadow", "x-xds-shadow: a/b"),
        mirrored("- connection: x-xds-shadow", "- x-xds-shadow: a/b"),
    ),
)

BODIES = (
    Form(
        *_post("Expect: 100-continue", b"hello", "expect: 100-continue"), mirrored("- expect: 100-continue")
    ),
    Form(*_post("a compressed body", b"\x1f\x8b\x08\x00\x00", "content-encoding: gzip")),
    Form(
        *_post(
            "a form of several parts",
            b"--x\r\n\r\n1\r\n--x--",
            "content-type: multipart/form-data; boundary=x",
        )
    ),
    Form(*_chunked("chunks with extensions", b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n')),
    Form(
        *_chunked("chunks with trailers", b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", "trailer: x-sum"),
        mirrored("- trailer x-sum: 1"),
        gateway=mirrored(),
    ),
)

UPGRADES = (
    Form(
        *_h1("Upgrade: TLS/1.2", _GET, "connection: upgrade", "upgrade: TLS/1.2"),
        mirrored("- connection: upgrade", "- upgrade: TLS/1.2"),
    ),
    Form(
        *_h1(
            "Upgrade: h2c",
            _GET,
            "connection: upgrade, http2-settings",
            "upgrade: h2c",
            "http2-settings: AAMAAABkAARAAAAAAAIAAAAA",
        ),
        mirrored(
            "- connection: upgrade, http2-settings",
            "- upgrade: h2c",
            "- http2-settings: AAMAAABkAARAAAAAAAIAAAAA",
        ),
    ),
    Form(
        *_h1("Upgrade: another protocol", _GET, "connection: upgrade", "upgrade: a/1"),
        rejected(403),
        gateway=mirrored("- connection: upgrade", "- upgrade: a/1"),
    ),
    Form(
        *_h1(
            "Upgrade: websocket",
            "GET /socket HTTP/1.1",
            "connection: Upgrade",
            "upgrade: WebSocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            then=b"!",
        ),
        Outcome(status=101),
    ),
)

HTTP2 = (
    Form(*_h2("HTTP/2")),
    Form(
        *_h2("HTTP/2, POST without a length", method="POST", data=(b"hello", b" world")),
        mirrored("+ transfer-encoding: chunked"),
    ),
    Form(*_h2("HTTP/2, POST with a length", ("content-length", "2"), method="POST", data=(b"hi",))),
    Form(*_h2("HTTP/2, cookies apart", ("cookie", "a=1"), ("cookie", "b=2"))),
    Form(*_h2("HTTP/2, odd headers", ("api_key", "1"), ("x-empty", ""), ("x-twice", "a"), ("x-twice", "b"))),
    Form(*_h2("HTTP/2, path with %2F and //", path="/a%2Fb//c;d?e??")),
    Form(
        *_h2("HTTP/2, trailers", method="POST", data=(b"hello",), trailers=(("x-sum", "1"),)),
        mirrored("+ transfer-encoding: chunked"),
    ),
    Form(*_h1("HTTP/1.1 to a port of HTTP/2", host=GRPC_HOST)),
)

GRPC = (
    Form(*_grpc("gRPC, unary", data=(_message(b"a"),))),
    Form(
        *_grpc("gRPC, stream of the client's", data=tuple(_message(b"a" * size) for size in (1, 0, 7000, 5)))
    ),
    Form(
        *_grpc(
            "gRPC, odd metadata",
            ("tenant_id", "1"),
            ("x-twice", "a"),
            ("x-twice", "b"),
            ("x-data-bin", "AAEC/w"),
            ("x-empty", ""),
            data=(_message(b"a"),),
        )
    ),
    Form(
        *_grpc(
            "gRPC, timeout and compression",
            ("grpc-timeout", "5S"),
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "identity,gzip"),
            data=(b"\1" + _message(b"\x1f\x8b")[1:],),
        )
    ),
    Form(*_grpc("gRPC, trailers of the client's", data=(_message(b"a"),), trailers=(("x-sum", "1"),))),
)

FORMS: Final = (*METHODS, *PATHS, *HOSTS, *HEADERS, *BODIES, *UPGRADES, *HTTP2, *GRPC)
