"""The values of annotations: what each may be, and what is said of one that may not."""

import pytest

from xds_server.base.dns import UNREACHABLE
from xds_server.base.text import shown
from xds_server.core import values
from xds_server.core.annotations import Policy, Selection, Treatment
from xds_server.core.policy import parse_policy
from xds_server.core.terms import FormField, HeaderCondition, JsonPointer, PathPrefix, Rewrite, SecretKey
from xds_server.core.values import PolicyError

PREFIX = "xds-shadow.io/"


def parse(name: str, value: str) -> Policy:
    return parse_policy({PREFIX + name: value})


def selected(name: str, value: str) -> Selection:
    return parse(name, value).selection


def treated(name: str, value: str) -> Treatment:
    return parse(name, value).treatment


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("/api", {"/api"}),
        ("/api,/static/", {"/api", "/static/"}),
        (" /api , /api ", {"/api"}),
        ("/a%20b/~x;v=1@!$&'()+:._-", {"/a%20b/~x;v=1@!$&'()+:._-"}),
        ("/a,b\n/c\n", {"/a,b", "/c"}),
        ("/" + "a" * 1023, {"/" + "a" * 1023}),
    ],
)
def test_paths(value: str, paths: set[str]) -> None:
    assert selected("paths", value).paths == paths
    assert selected("exclude-paths", value).exclude_paths == paths


def test_all_paths() -> None:
    assert selected("paths", "/").paths == {"/"}


@pytest.mark.parametrize(
    ("paths", "excluded"),
    [(None, "/"), ("/api", "/api"), ("/api/,/b", "/b,/api/"), ("/a/b", "/a"), ("/", "/")],
)
def test_conditions_that_leave_no_request_are_rejected(paths: str | None, excluded: str) -> None:
    annotations = {f"{PREFIX}exclude-paths": excluded} | ({f"{PREFIX}paths": paths} if paths else {})
    with pytest.raises(PolicyError, match="exclude-paths covers all of paths, so no request is left"):
        parse_policy(annotations)


@pytest.mark.parametrize(("paths", "excluded"), [("/api", "/api/"), ("/api/", "/api/x"), ("/a,/b", "/a")])
def test_conditions_that_leave_some_are_not(paths: str, excluded: str) -> None:
    assert parse_policy({f"{PREFIX}exclude-paths": excluded, f"{PREFIX}paths": paths}).selection.paths


@pytest.mark.parametrize("name", ["paths", "exclude-paths"])
@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (
            "/api/*",
            "'/api/*' matches nothing, as a path is a prefix and * stands for itself; write /api/ for",
        ),
        ("/api*", "'/api*' matches nothing, as a path is a prefix and * stands for itself; write / for all"),
        (
            "/a/v*/x",
            "'/a/v*/x' matches nothing, as a path is a prefix and * stands for itself; write /a/ for",
        ),
        ("", "there is an empty entry; write a list such as /api,/static/ without query and wildcard"),
        ("/api,", "there is an empty entry; write a list such as /api,/static/ without query and wildcard"),
        ("api", "'api' is not a path prefix; write a list such as /api,/static/ without query and wildcard"),
        ("/a?b=1", "'/a?b=1' is not a path prefix; write a list such as"),
        ("/a#b", "'/a#b' is not a path prefix"),
        ("/a b", "'/a b' is not a path prefix"),
        ("/a\\b", "'/a\\\\b' is not a path prefix"),
        ("/%zz", "'/%zz' is not a path prefix"),
        ("/ä", "'/ä' is not a path prefix"),
        ("/a|/b", "'/a|/b' is not a path prefix"),
        ("/[a-z]", "'/[a-z]' is not a path prefix"),
        ("/" + "a" * 1024, f"'/{'a' * 59}…' is not a path prefix"),
        (
            "//",
            "'//' matches nothing where normalize-paths of the gateway resolves //, /./ and /../; write the",
        ),
        ("/a//b", "'/a//b' matches nothing"),
        ("/a/../b", "'/a/../b' matches nothing"),
        ("/a/.", "'/a/.' matches nothing"),
        (",".join(f"/{number}" for number in range(17)), "it lists 17 paths; the maximum is 16"),
    ],
)
def test_what_is_no_list_of_paths_is_rejected(name: str, value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse(name, value)
    assert str(rejection.value).startswith(f"annotation {PREFIX}{name}: {wrong}")


@pytest.mark.parametrize(
    ("value", "conditions"),
    [
        ("x-team", {("x-team", None)}),
        ("X-Team = shop", {("x-team", "shop")}),
        ("x-a,x-b=1", {("x-a", None), ("x-b", "1")}),
        ("x-a=1,x-a", {("x-a", "1"), ("x-a", None)}),
        ("x-a=b=c", {("x-a", "b=c")}),
        ("accept=text/html, */*\nx-b", {("accept", "text/html, */*"), ("x-b", None)}),
        ("if-match=*,accept=text/*", {("if-match", "*"), ("accept", "text/*")}),
        ("te=trailers", {("te", "trailers")}),
    ],
)
def test_header_conditions(value: str, conditions: set[tuple[str, str | None]]) -> None:
    assert selected("headers", value).headers == {HeaderCondition(*each) for each in conditions}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "there is an empty entry; write a list such as x-team,x-env"),
        ("x-a,,x-b", "there is an empty entry; write a list such as x-team,x-env"),
        ("x team", "'x team' is not a header name; write a list such as x-team,x-env"),
        ("x-ä", "'x-ä' is not a header name; write a list such as x-team,x-env"),
        ("x" * 129, f"'{'x' * 60}…' is not a header name; write a list such as x-team,x-env"),
        (":method", "':method' is a pseudo-header; use methods, paths, host or rewrite-path-prefix"),
        ("host=a", "the header host cannot be a condition"),
        ("x-xds-shadow", "the header x-xds-shadow cannot be a condition"),
        (
            "Keep-Alive=5",
            "the header keep-alive matches nothing: it belongs to the connection, and Envoy removes it",
        ),
        (
            "x-a=shop*",
            "'shop*' is compared as it stands, and * stands for itself; write x-a alone to match any value",
        ),
        ("x-*", "'x-*' is not a header name: * is not a wildcard; list each header"),
        ("x-a=", "'x-a=' has an empty value; write x-a alone to match any value"),
        ("x-a=\x07", "'\\x07' holds characters other than printable ASCII"),
        ("x-a=1,x-a=2", "it wants two values of the header x-a, and all must hold"),
        ("x-a=" + "v" * 1025, f"'{'v' * 60}…' is longer than 1024 characters"),
        (",".join(f"x-{number}" for number in range(9)), "it lists 9 conditions; the maximum is 8"),
    ],
)
def test_what_is_no_list_of_header_conditions_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("headers", value)
    assert str(rejection.value) == f"annotation {PREFIX}headers: {wrong}"


def test_headers_to_remove() -> None:
    assert treated("remove-headers", "X-B, x-a,x-a,cookie").remove_headers == ("cookie", "x-a", "x-b")


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "there is an empty entry; write a list such as x-team,x-env"),
        ("x-a=1", "'x-a=1' is not a header name; write a list such as x-team,x-env"),
        (":path", "':path' is a pseudo-header; use methods, paths, host or rewrite-path-prefix"),
        (":authority", "':authority' is a pseudo-header; use methods, paths, host or rewrite-path-prefix"),
        ("Host", "the header host cannot be changed: use the annotation host"),
        ("content-length", "the header content-length cannot be changed: it belongs to the connection"),
        ("te", "the header te cannot be changed: it belongs to the connection"),
        ("x-internal-*", "'x-internal-*' is not a header name: * is not a wildcard; list each header"),
        (
            "x-envoy-internal",
            "the header x-envoy-internal cannot be changed: Envoy and xds-shadow use it themselves",
        ),
        (
            "x-xds-shadow",
            "the header x-xds-shadow cannot be changed: Envoy and xds-shadow use it themselves",
        ),
        (",".join(f"x-{number}" for number in range(33)), "it lists 33 headers; the maximum is 32"),
    ],
)
def test_what_is_no_list_of_headers_to_remove_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("remove-headers", value)
    assert str(rejection.value) == f"annotation {PREFIX}remove-headers: {wrong}"


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ("x-env=shadow", {"x-env": "shadow"}),
        ("X-B = 2 , x-a=a=b", {"x-a": "a=b", "x-b": "2"}),
        ("x-a=1, 2\nx-b=%%", {"x-a": "1, 2", "x-b": "%%"}),
        ("x-id=%REQ(x-request-id)%", {"x-id": "%REQ(x-request-id)%"}),
        ("x-p=%REQ(:path)%/%PROTOCOL%", {"x-p": "%REQ(:path)%/%PROTOCOL%"}),
        ("x-t=100%% of %START_TIME%", {"x-t": "100%% of %START_TIME%"}),
    ],
)
def test_headers_to_set(value: str, headers: dict[str, str]) -> None:
    assert treated("set-headers", value).set_headers == tuple(sorted(headers.items()))


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "'' has no value; write a list such as x-env=shadow,x-team=shop"),
        ("x-env", "'x-env' has no value; write a list such as x-env=shadow,x-team=shop"),
        ("x-env=", "a header has an empty value; use remove-headers to remove the header"),
        ("=1", "there is an empty entry; write a list such as x-team,x-env"),
        ("x-a=1,X-A=2", "it sets the header x-a twice"),
        ("host=a", "the header host cannot be changed: use the annotation host"),
        ("upgrade=h2c", "the header upgrade cannot be changed: it belongs to the connection"),
        (
            "x-envoy-max-retries=9",
            "the header x-envoy-max-retries cannot be changed: Envoy and xds-shadow use it themselves",
        ),
        (":method=GET", "':method' is a pseudo-header; use methods, paths, host or rewrite-path-prefix"),
        ("x-a=a\x00b", "'a\\x00b' holds characters other than printable ASCII"),
        ("x-a=a\rb: c", "'a\\rb: c' holds characters other than printable ASCII"),
        ("x-a=50%", "'50%' has a % that begins no formatter; write %% for the character itself"),
        ("x-a=%req(x)%", "'%req(x)%' has a % that begins no formatter"),
        ("x-a=%FILE_CONTENT(/etc/passwd)%", "%FILE_CONTENT% is not among the formatters that are safe: "),
        ("x-a=%ENVIRONMENT(HOME)%", "%ENVIRONMENT% is not among the formatters that are safe: "),
        ("x-a=%DYNAMIC_METADATA%", "%DYNAMIC_METADATA% is not among the formatters that are safe: "),
        ("x-a=%PROTOCOL(x)%", "%PROTOCOL% takes no argument here"),
        ("x-a=%REQ(authorization)%", "%REQ(authorization)% would carry the caller's credentials elsewhere"),
        ("x-a=%REQ(cookie)%", "%REQ(cookie)% would carry the caller's credentials elsewhere"),
        (
            "x-a=%REQ(proxy-authorization)%",
            "%REQ(proxy-authorization)% would carry the caller's credentials elsewhere",
        ),
        ("x-a=%REQ%", "'%REQ%' is not a header; write %REQ(x-name)% in lower case"),
        ("x-a=%REQ(X-B)%", "'%REQ(X-B)%' is not a header; write %REQ(x-name)% in lower case"),
        ("x-a=%REQ(x?y)%", "'%REQ(x?y)%' is not a header; write %REQ(x-name)% in lower case"),
        ("x-a=" + "v" * 1025, f"'{'v' * 60}…' is longer than 1024 characters"),
        (",".join(f"x-{number}=1" for number in range(33)), "it lists 33 headers; the maximum is 32"),
    ],
)
def test_what_is_no_list_of_headers_to_set_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("set-headers", value)
    assert str(rejection.value).startswith(f"annotation {PREFIX}set-headers: {wrong}")


@pytest.mark.parametrize(("value", "new"), [("true", True), ("false", False)])
def test_new_trace(value: str, new: bool) -> None:
    assert treated("new-trace", value).new_trace is new


@pytest.mark.parametrize("value", ["", "True", "yes", "1", "always"])
def test_a_new_trace_is_true_or_false(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("new-trace", value)
    assert str(rejection.value) == f"annotation {PREFIX}new-trace: {value!r} is neither true nor false"


@pytest.mark.parametrize(
    "value", ["preserve", "shadow-suffix", "canary.example.com", "canary", "10.0.0.1:8080", "a-b.c:1"]
)
def test_host(value: str) -> None:
    assert treated("host", value).host == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Preserve",
        "https://a",
        "*.example.com",
        "a b",
        "a/b",
        "-a.example",
        "a..b",
        "a:",
        "a:123456",
        "a" * 64,
        "ä",
    ],
)
def test_what_is_no_host_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("host", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}host: {shown(value)} is not valid; write preserve, shadow-suffix or a host such"
        " as app.example.com"
    )


def test_rewrites_the_longest_first() -> None:
    found = treated("rewrite-path-prefix", "/v1=/v2, /v1/old/=/new/ ,/=/all")
    assert found.rewrites == (
        Rewrite(PathPrefix("/v1/old/"), "/new/"),
        Rewrite(PathPrefix("/v1"), "/v2"),
        Rewrite(PathPrefix("/"), "/all"),
    )


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "'' has no replacement; write /old=/new"),
        ("/v1", "'/v1' has no replacement; write /old=/new"),
        ("/v1=", "there is an empty entry; write a list such as /api,/static/ without query and wildcard"),
        (
            "v1=/v2",
            "'v1' is not a path prefix; write a list such as /api,/static/ without query and wildcard",
        ),
        (
            "/v1=v2",
            "'v2' is not a path prefix; write a list such as /api,/static/ without query and wildcard",
        ),
        ("/v1=/../x", "'/../x' matches nothing where normalize-paths of the gateway resolves //, /./"),
        ("/v1=/a,/v1=/b", "it rewrites '/v1' twice"),
        (",".join(f"/{number}=/n" for number in range(9)), "it lists 9 prefixes; the maximum is 8"),
    ],
)
def test_what_is_no_rewrite_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("rewrite-path-prefix", value)
    assert str(rejection.value).startswith(f"annotation {PREFIX}rewrite-path-prefix: {wrong}")


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("json:/card/number", [JsonPointer(("card", "number"))]),
        ("json:/a~1b/~0/*", [JsonPointer(("a/b", "~", "*"))]),
        ("json:/", [JsonPointer(("",))]),
        ("form:password", [FormField("password")]),
        ("form:b,json:/b,form:a,form:a", [FormField("a"), FormField("b"), JsonPointer(("b",))]),
        ("json:/a,b\njson:/c", [JsonPointer(("a,b",)), JsonPointer(("c",))]),
    ],
)
def test_redactions(value: str, places: list[JsonPointer | FormField]) -> None:
    assert list(treated("redact", value).redactions) == places


@pytest.mark.parametrize("value", ["json:/card/num*", "json:/a/**", "form:pass*", "form:*"])
def test_a_star_that_would_mask_nothing_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError, match=r"masks nothing: \* stands for"):
        parse("redact", value)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "there is an empty entry"),
        ("json:/a,", "there is an empty entry"),
        ("password", "'password' is not a field of a body"),
        ("json:", "'json:' is not a field of a body"),
        ("json:card", "'json:card' is not a field of a body"),
        ("json:$.card", "'json:$.card' is not a field of a body"),
        ("json:/~2", "'json:/~2' is not a field of a body"),
        ("xml:/a", "'xml:/a' is not a field of a body"),
        ("form:", "'form:' is not a field of a body"),
        ("JSON:/a", "'JSON:/a' is not a field of a body"),
        ("form:" + "a" * 1025, f"'form:{'a' * 55}…' is not a field of a body"),
    ],
)
def test_what_is_no_field_of_a_body_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("redact", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}redact: {wrong}; write json:/card/number (RFC 6901, * for any) or form:password"
    )


def test_the_number_of_redactions_is_bounded() -> None:
    with pytest.raises(PolicyError, match="redact: it lists 33 places; the maximum is 32"):
        parse("redact", ",".join(f"form:{number}" for number in range(33)))


def test_credential_from_secret() -> None:
    assert parse("credential-from-secret", "my.token/tls.key").credential == SecretKey("my.token", "tls.key")


@pytest.mark.parametrize(
    "value",
    ["", "token", "token/", "/key", "Token/key", "a/b/c", "other-namespace/token/key", "-a/b", "a/b c"],
)
def test_a_credential_comes_from_a_key_of_a_secret(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("credential-from-secret", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}credential-from-secret: {value!r} does not name a key of a Secret;"
        " write NAME/KEY"
    )


@pytest.mark.parametrize(
    ("value", "millis"),
    [("10ms", 10), ("500ms", 500), ("10s", 10_000), ("1.5s", 1_500), ("0.5m", 30_000), ("10m", 600_000)],
)
def test_timeout(value: str, millis: int) -> None:
    assert treated("timeout", value).timeout_ms == millis


@pytest.mark.parametrize(
    "value", ["", "10", "0s", "9ms", "0.5ms", "-1s", "1h", "10.1m", "1e3s", "10 s", "off"]
)
def test_what_is_no_timeout_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("timeout", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}timeout: {value!r} is not a duration from 10ms to 10m; write 500ms, 10s or 1m"
    )


@pytest.mark.parametrize(
    ("value", "octets"),
    [("1", 1), ("512Ki", 524_288), ("1Mi", 1_048_576), ("64Mi", 67_108_864), ("10k", 10_000), ("1M", 10**6)],
)
def test_max_body(value: str, octets: int) -> None:
    assert treated("max-body", value).max_body == octets


@pytest.mark.parametrize("value", ["", "0", "-1", "65Mi", "1Gi", "1.5Mi", "1 Mi", "1KB", "unlimited"])
def test_what_is_no_size_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("max-body", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}max-body: {value!r} is not a size from 1 to 64Mi; write 512Ki, 1Mi or a"
        " number of bytes"
    )


def test_max_concurrent_and_max_rps() -> None:
    assert treated("max-concurrent", "10000").max_concurrent == 10_000
    assert treated("max-rps", "1000000").max_rps == 1_000_000


@pytest.mark.parametrize(("name", "most"), [("max-concurrent", 10_000), ("max-rps", 1_000_000)])
@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "many", "1000001", "9999999999"])
def test_what_is_no_number_is_rejected(name: str, most: int, value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse(name, value)
    assert str(rejection.value) == f"annotation {PREFIX}{name}: {value!r} is not a number from 1 to {most}"


def test_sample() -> None:
    assert parse("sample", "correlated").correlated
    assert not parse("sample", "independent").correlated


@pytest.mark.parametrize("value", ["", "Correlated", "true"])
def test_what_is_no_way_to_sample_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError, match=rf"sample: '{value}' is neither correlated nor independent"):
        parse("sample", value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2030-01-31T18:00:00Z", 1_896_112_800),
        ("2030-01-31t19:00:00+01:00", 1_896_112_800),
        ("2030-01-31T18:00:00.500z", 1_896_112_800.5),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_until(value: str, seconds: float) -> None:
    assert parse("until", value).until == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tomorrow",
        "2030-01-31",
        "2030-01-31 18:00:00Z",
        "2030-01-31T18:00:00",
        "2030-02-30T00:00:00Z",
        "1h",
    ],
)
def test_what_is_no_time_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse("until", value)
    assert str(rejection.value) == (
        f"annotation {PREFIX}until: {value!r} is not a time; write it like 2030-01-31T18:00:00Z, with Z or an"
        " offset (RFC 3339)"
    )


@pytest.mark.parametrize(
    ("annotations", "wrong"),
    [
        (
            {"set-headers": "x-a=1,x-b=1", "remove-headers": "x-b"},
            "the header x-b is both in set-headers and in remove-headers",
        ),
        (
            {"set-headers": "authorization=Bearer x", "credential-from-secret": "token/key"},
            "the header authorization is set by set-headers and by credential-from-secret",
        ),
        (
            {"redact": "form:a", "max-body": "1Mi"},
            "redact parses bodies of up to 256Ki, and max-body allows larger ones",
        ),
    ],
)
def test_contradictions_are_rejected(annotations: dict[str, str], wrong: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse_policy({PREFIX + name: value for name, value in annotations.items()})
    assert str(rejection.value) == wrong


def test_bodies_that_are_looked_into_are_small_unless_said() -> None:
    assert treated("redact", "form:a").max_body == 256 * 1024
    said = parse_policy({PREFIX + "redact": "form:a", PREFIX + "max-body": "1k"})
    assert said.treatment.max_body == 1000


def test_no_service_can_claim_the_unreachable_domain() -> None:
    assert values.is_host_name(UNREACHABLE.removeprefix("_"))
    assert not values.is_host_name(UNREACHABLE)


def test_compare() -> None:
    assert [parse("compare", value).compare for value in ("bodies", "none")] == [True, False]
    with pytest.raises(PolicyError, match="'headers' is neither bodies nor none"):
        parse("compare", "headers")
