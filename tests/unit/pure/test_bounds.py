"""Settings of a Namespace and of the installation: defaults for shadows, and bounds on what they ask for."""

from collections.abc import Mapping

import pytest

from tests.unit.pure.kube import namespace, service, world_of
from xds_server.core.annotations import BOUNDS, OF_SHADOW, Policy
from xds_server.core.bounds import NotAllowedError
from xds_server.core.layers import Layer, PolicyFile
from xds_server.core.policy import (
    check_defaults,
    credential_source,
    endpoints_source,
    namespace_unknown,
    parse_policy,
)
from xds_server.core.rows import Row
from xds_server.core.scene import Rules, Scene
from xds_server.core.terms import MILLION, FormField, JsonPointer, PathPrefix, SecretKey, Setting
from xds_server.core.values import PolicyError
from xds_server.core.world import Upsert

PREFIX = "xds-shadow.io/"
NONE: Mapping[str, str] = {}


def under(
    namespace: Mapping[str, str], own: Mapping[str, str] = NONE, installation: Mapping[str, str] = NONE
) -> Policy:
    """The policy of a shadow with its `own` annotations in a Namespace with others."""
    return parse_policy(
        {PREFIX + name: value for name, value in own.items()},
        Layer("Namespace staging", namespace),
        PolicyFile("the policy file p.yaml", installation),
    )


# Defaults


def test_what_a_shadow_does_not_say_its_namespace_says_and_then_the_installation() -> None:
    policy = under({"percent": "20"}, {"timeout": "1s"}, {"percent": "30", "timeout": "2s", "paused": "true"})
    assert (policy.percent, policy.treatment.timeout_ms, policy.paused) == ("20", 1000, True)
    assert policy.settings == (
        Setting("paused", "true", "the policy file p.yaml", "paused of the policy file p.yaml"),
        Setting("percent", "20", "Namespace staging", f"annotation {PREFIX}percent of Namespace staging"),
        Setting("timeout", "1s", "the Deployment", f"annotation {PREFIX}timeout"),
    )


def test_a_contradiction_with_a_default_is_one() -> None:
    with pytest.raises(PolicyError, match="the header x-a is both in set-headers and in remove-headers"):
        under({"remove-headers": "x-a"}, {"set-headers": "x-a=1"})


# Bounds


@pytest.mark.parametrize(
    ("bound", "allowed", "asked"),
    [
        ("percent-max", "10", {"percent": "10"}),
        ("timeout-max", "1m", {"timeout": "60s"}),
        ("max-body-max", "1Mi", {"max-body": "1024Ki"}),
        ("max-concurrent-max", "10", {"max-concurrent": "10"}),
        ("max-rps-max", "10", {"max-rps": "9"}),
        ("methods-allowed", "GET,HEAD", {"methods": "HEAD"}),
        ("paths-allowed", "/api,/static/", {"paths": "/api/v1,/api,/static/"}),
        ("host-allowed", "a.example,shadow-suffix", {"host": "a.example"}),
        ("host-allowed", "shadow-suffix", {"host": "shadow-suffix"}),
        ("host-allowed", "shadow-suffix", {"host": "preserve"}),
        ("set-headers-allowed", "X-Env", {"set-headers": "x-env=shadow"}),
        ("credential-from-secret-allowed", "token/Key", {"credential-from-secret": "token/Key"}),
        ("credential-from-secret-allowed", "token", {"credential-from-secret": "token/any"}),
        ("credential-from-secret-allowed", "token/a,token/A", {"credential-from-secret": "token/A"}),
        ("endpoints-from-allowed", "service/green,service/blue", {"endpoints-from": "service/blue"}),
        ("until-max", "2100-01-01T00:00:00Z", {"until": "2099-12-31T23:00:00-01:00"}),
    ],
)
def test_what_is_allowed_is_as_asked(bound: str, allowed: str, asked: dict[str, str]) -> None:
    free = under({}, asked)
    assert under({bound: allowed}, asked) == free
    assert under({}, asked, {bound: allowed}) == free


@pytest.mark.parametrize(
    ("bound", "allowed", "asked", "why"),
    [
        ("percent-max", "10", {"percent": "10.5"}, "the maximum is {}"),
        ("timeout-max", "1s", {"timeout": "1001ms"}, "the maximum is {}"),
        ("max-body-max", "1k", {"max-body": "1Ki"}, "the maximum is {}"),
        ("max-concurrent-max", "10", {"max-concurrent": "11"}, "the maximum is {}"),
        ("max-rps-max", "10", {"max-rps": "11"}, "the maximum is {}"),
        (
            "methods-allowed",
            "GET,HEAD",
            {"methods": "GET,PUT,POST"},
            "POST, PUT is not allowed; allowed are {}",
        ),
        (
            "paths-allowed",
            "/api",
            {"paths": "/api,/apis"},
            "/apis is not under what is allowed: {}",
        ),
        (
            "host-allowed",
            "b.example",
            {"host": "a.example"},
            "a.example is not allowed; allowed are {}",
        ),
        (
            "host-allowed",
            "b.example",
            {"host": "shadow-suffix"},
            "shadow-suffix is not allowed; allowed are {}",
        ),
        (
            "set-headers-allowed",
            "x-env",
            {"set-headers": "x-env=1,x-role=admin"},
            "the header x-role is not allowed; allowed are {}",
        ),
        (
            "credential-from-secret-allowed",
            "token/key",
            {"credential-from-secret": "token/other"},
            "token/other is not allowed; allowed are {}",
        ),
        (
            "credential-from-secret-allowed",
            "token/a",
            {"credential-from-secret": "token/A"},
            "token/A is not allowed; allowed are {}",
        ),
        (
            "credential-from-secret-allowed",
            "none",
            {"credential-from-secret": "none/key"},
            "none/key is not allowed; allowed are {}",
        ),
        (
            "endpoints-from-allowed",
            "service/green",
            {"endpoints-from": "service/greens"},
            "Service greens is not allowed; allowed are {}",
        ),
        (
            "endpoints-from-allowed",
            "none",
            {"endpoints-from": "service/none"},
            "Service none is not allowed; allowed are {}",
        ),
        (
            "until-max",
            "2100-01-01T00:00:00Z",
            {"until": "2100-01-01T00:00:01Z"},
            "the maximum is {}",
        ),
    ],
)
def test_a_shadow_that_asks_for_more_is_rejected(
    bound: str, allowed: str, asked: dict[str, str], why: str
) -> None:
    ((name, value),) = asked.items()
    with pytest.raises(NotAllowedError) as rejection:
        under({bound: allowed}, asked)
    owner = f"annotation {PREFIX}{bound} of Namespace staging"
    assert str(rejection.value) == (
        f"annotation {PREFIX}{name}: {value!r}: {why.format(f'{allowed} ({owner})')}"
    )
    with pytest.raises(NotAllowedError) as rejection:
        under({}, asked, {bound: allowed})
    assert f"{allowed} ({bound} of the policy file p.yaml)" in str(rejection.value)


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_is_on_an_annotation_that_there_is(bound: str) -> None:
    [name] = [row.name for row in OF_SHADOW.values() if row.bound is BOUNDS[bound]]
    assert bound.removesuffix("-max").removesuffix("-allowed").removesuffix("-required") == name
    assert BOUNDS[bound].adds == bound.endswith("-required")


def test_a_shadow_that_does_not_say_gets_no_more_than_is_allowed() -> None:
    policy = under(
        {
            "percent-max": "10",
            "timeout-max": "1s",
            "max-body-max": "1k",
            "max-concurrent-max": "5",
            "max-rps-max": "7",
            "methods-allowed": "GET,HEAD",
            "paths-allowed": "/api",
            "host-allowed": "shadow-suffix",
            "set-headers-allowed": "x-env",
            "credential-from-secret-allowed": "token",
            "endpoints-from-allowed": "none",
            "until-max": "1970-01-01T00:01:00Z",
        }
    )
    treatment = policy.treatment
    assert policy.percent == "10"
    assert (treatment.timeout_ms, treatment.max_body, treatment.max_concurrent) == (1000, 1000, 5)
    assert treatment.max_rps == 7
    assert policy.selection.methods == frozenset({"GET", "HEAD"})
    assert policy.selection.paths == {"/api"}
    assert (policy.endpoints_from, policy.until) == (None, 60)
    assert (treatment.host, treatment.set_headers, policy.credential) == ("preserve", (), None)
    bound = f"annotation {PREFIX}percent-max of Namespace staging"
    assert Setting("percent", "10", bound, bound) in policy.settings


def test_a_bound_above_the_default_changes_nothing() -> None:
    policy = under({"percent-max": "100", "timeout-max": "1m", "max-body-max": "64Mi"})
    assert policy == Policy(per_million=MILLION)


def test_of_two_bounds_both_hold() -> None:
    assert under({"percent-max": "50"}, {}, {"percent-max": "10"}).percent == "10"
    assert under({"percent-max": "10"}, {}, {"percent-max": "50"}).percent == "10"
    both = under({"methods-allowed": "GET,POST"}, {}, {"methods-allowed": "GET,HEAD"})
    assert both.selection.methods == frozenset({"GET"})
    both = under({"paths-allowed": "/a,/b/c,/d"}, {}, {"paths-allowed": "/a/x,/b,/e"})
    assert both.selection.paths == {PathPrefix("/a/x"), PathPrefix("/b/c")}
    with pytest.raises(NotAllowedError, match="the maximum is 10"):
        under({"percent-max": "50"}, {"percent": "20"}, {"percent-max": "10"})


@pytest.mark.parametrize(("bound", "one", "other"), [("methods", "GET", "PUT"), ("paths", "/a", "/b")])
def test_bounds_that_leave_nothing_reject_the_shadow(bound: str, one: str, other: str) -> None:
    key = f"{bound}-allowed"
    with pytest.raises(NotAllowedError) as rejection:
        under({key: one}, {}, {key: other})
    assert str(rejection.value) == (
        f"{key} of the policy file p.yaml: with {other} ({key} of the policy file p.yaml) nothing is left"
        " that is allowed"
    )


def test_a_default_that_is_not_allowed_is_rejected_with_its_owner() -> None:
    with pytest.raises(NotAllowedError) as rejection:
        under({"percent": "50"}, {}, {"percent-max": "10"})
    assert str(rejection.value).startswith(
        f"annotation {PREFIX}percent of Namespace staging: '50': the maximum is"
    )


# What is required


@pytest.mark.parametrize(
    ("required", "own", "merged"),
    [
        ({"remove-headers-required": "cookie"}, {}, ("cookie",)),
        ({"remove-headers-required": "cookie"}, {"remove-headers": "x-none"}, ("cookie", "x-none")),
        ({"remove-headers-required": "Cookie,x-a", "remove-headers": "x-b"}, {}, ("cookie", "x-a", "x-b")),
        ({"remove-headers-required": "cookie"}, {"remove-headers": "cookie"}, ("cookie",)),
    ],
)
def test_required_headers_are_removed_whatever_a_shadow_says(
    required: dict[str, str], own: dict[str, str], merged: tuple[str, ...]
) -> None:
    assert under(required, own).treatment.remove_headers == merged
    assert under({}, own, required).treatment.remove_headers == merged


def test_required_places_are_masked_and_required_paths_excluded_besides_a_shadows_own() -> None:
    policy = under(
        {"redact-required": "form:password", "exclude-paths-required": "/pay"},
        {"redact": "json:/card", "exclude-paths": "/a"},
        {"redact-required": "form:pin", "exclude-paths-required": "/admin"},
    )
    assert policy.treatment.redactions == (FormField("password"), FormField("pin"), JsonPointer(("card",)))
    assert policy.treatment.max_body == 256 * 1024
    assert policy.selection.exclude_paths == {"/a", "/pay", "/admin"}
    assert [each[1:3] for each in policy.settings if each.name == "redact"] == [
        ("json:/card", "the Deployment"),
        ("form:password", f"annotation {PREFIX}redact-required of Namespace staging"),
        ("form:pin", "redact-required of the policy file p.yaml"),
    ]


@pytest.mark.parametrize(
    "changes",
    ["cookie=1", "x-a=%REQ(cookie2)%", "x-a=b%PROTOCOL%/%REQ(cookie2)%", "x-a=%%%REQ(cookie2)%%%"],
)
def test_a_header_that_has_to_be_removed_does_not_come_back(changes: str) -> None:
    required = {"remove-headers-required": "cookie,cookie2"}
    owner = f"annotation {PREFIX}remove-headers-required of Namespace staging"
    header = "cookie" if changes == "cookie=1" else "cookie2"
    with pytest.raises(NotAllowedError) as rejection:
        under(required, {"set-headers": changes})
    assert str(rejection.value) == (
        f"annotation {PREFIX}set-headers: the header {header} has to be removed: cookie,cookie2 ({owner})"
    )
    with pytest.raises(NotAllowedError, match="set-headers of the policy file"):
        under(required, {}, {"set-headers": changes})
    with pytest.raises(NotAllowedError):
        under({}, {"set-headers": changes}, required)
    assert under(required, {"set-headers": "x-a=%%REQ(cookie)%%,x-cookie=%REQ(x-b)%"})


@pytest.mark.parametrize(
    ("name", "own", "required", "why"),
    [
        ("remove-headers", ",".join(f"x-{n}" for n in range(32)), "y", "33 headers; the maximum is 32"),
        ("redact", ",".join(f"form:{n}" for n in range(32)), "form:y", "33 places; the maximum is 32"),
        ("exclude-paths", ",".join(f"/{n}" for n in range(16)), "/y", "17 paths; the maximum is 16"),
    ],
)
def test_what_is_required_counts_as_what_is_said(name: str, own: str, required: str, why: str) -> None:
    assert under({}, {name: own})
    owner = f"annotation {PREFIX}{name}-required of Namespace staging"
    with pytest.raises(NotAllowedError) as rejection:
        under({f"{name}-required": required}, {name: own})
    assert f"with {required} ({owner}) it lists {why}" in str(rejection.value)


def test_a_bound_on_bodies_is_no_wish_for_large_ones() -> None:
    assert under({"max-body-max": "512Ki"}, {"redact": "form:a"}).treatment.max_body == 256 * 1024
    with pytest.raises(PolicyError, match="max-body allows larger ones"):
        under({"max-body": "512Ki"}, {"redact": "form:a"})


# Whose bounds are known


def test_the_bounds_of_a_namespace_are_unknown_until_it_was_seen_or_given_up() -> None:
    seen, nobody, itself = namespace("staging"), frozenset[str](), frozenset({"", "app=a"})
    assert not namespace_unknown(seen, nobody)
    assert not namespace_unknown(None, nobody)
    assert namespace_unknown(None, itself)
    assert not namespace_unknown(None, frozenset({"app=a"}))


def test_a_layer_reads_each_text_once_for_all_shadows() -> None:
    texts: list[str] = []

    def read(text: str) -> str:
        texts.append(text)
        if text == "no":
            raise PolicyError("it is no")
        return text

    layer = Layer("Namespace staging", {"good": " a ", "bad": "no"})
    for _ in range(2):
        assert layer.read(Row("good", read)) == "a"
        with pytest.raises(PolicyError, match=r"io/bad of Namespace staging: it is no$"):
            layer.read(Row("bad", read))
    assert texts == ["a", "no"]


def test_a_namespaces_settings_are_read_once_for_all_of_its_shadows() -> None:
    layer = Layer("Namespace staging", {"exclude-paths": "/only-here"})
    found = [parse_policy({PREFIX + "percent": str(number)}, layer) for number in range(2)]
    assert found[0].selection.exclude_paths is found[1].selection.exclude_paths
    world = world_of(namespace("staging"))
    before = Scene("staging", world.view("staging"), Rules())
    after, _ = world.apply([Upsert(service("myapp"))])
    assert Scene("staging", after.view("staging"), Rules(), before).layer is before.layer


# What cannot be understood


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (
            {"percent-max": "lots"},
            f"annotation {PREFIX}percent-max of Namespace staging: 'lots' is not a percentage",
        ),
        (
            {"methods-allowed": "get"},
            f"annotation {PREFIX}methods-allowed of Namespace staging: 'get' is not a request method",
        ),
        (
            {"host-allowed": "a,,b"},
            f"annotation {PREFIX}host-allowed of Namespace staging: there is an empty entry; write a list",
        ),
        (
            {"percent": "lots"},
            f"annotation {PREFIX}percent of Namespace staging: 'lots' is not a percentage",
        ),
        (
            {"percent-maximum": "1"},
            f"annotation {PREFIX}percent-maximum of Namespace staging is not known here",
        ),
        (
            {"credential-from-secret-allowed": "a/b/c"},
            f"annotation {PREFIX}credential-from-secret-allowed of Namespace staging: 'a/b/c' is not a",
        ),
        (
            {"endpoints-from-allowed": "green"},
            f"annotation {PREFIX}endpoints-from-allowed of Namespace staging: 'green' does not name",
        ),
        (
            {"until-max": "7d"},
            f"annotation {PREFIX}until-max of Namespace staging: '7d' is not a time",
        ),
        (
            {"shadows-max": "17"},
            f"annotation {PREFIX}shadows-max of Namespace staging: '17' is not a number from 1 to 16",
        ),
        (
            {"endpoints-from": "service/a"},
            f"annotation {PREFIX}endpoints-from of Namespace staging is not known here",
        ),
    ],
)
def test_a_namespace_whose_settings_are_not_understood_has_no_shadows(
    settings: dict[str, str], wrong: str
) -> None:
    with pytest.raises(PolicyError) as rejection:
        under(settings, {"percent": "1", "methods": "GET", "host": "preserve"})
    assert not isinstance(rejection.value, NotAllowedError)
    assert str(rejection.value).startswith(wrong)


def test_a_shadow_cannot_set_its_own_bounds() -> None:
    with pytest.raises(PolicyError, match="percent-max is not known here"):
        under({}, {"percent-max": "100"})


def test_the_settings_of_an_installation_are_checked_by_themselves() -> None:
    check_defaults(PolicyFile("the policy file p.yaml", {"percent-max": "10", "timeout": "1s"}))
    with pytest.raises(PolicyError) as rejection:
        check_defaults(PolicyFile("the policy file p.yaml", {"timeout": "ever"}))
    assert str(rejection.value).startswith("timeout of the policy file p.yaml: 'ever' is not a duration")


# What is kept out of live traffic


@pytest.mark.parametrize(
    ("text", "allowed", "source"),
    [
        ("service/green", [], "green"),
        (" service/green ", [{}, {"endpoints-from-allowed": "service/blue,service/green"}], "green"),
        ("service/green", [{"endpoints-from-allowed": "service/blue"}], None),
        (
            "service/green",
            [{"endpoints-from-allowed": "service/green"}, {"endpoints-from-allowed": "none"}],
            None,
        ),
        ("service/green", [{"endpoints-from-allowed": "green"}], None),
        ("green", [], None),
    ],
)
def test_only_a_service_that_is_allowed_says_what_is_a_canarys(
    text: str, allowed: list[dict[str, str]], source: str | None
) -> None:
    layers = [Layer("Namespace staging", each) for each in allowed]
    assert endpoints_source(Layer("", {"endpoints-from": text}), *layers) == source


# What is read of Secrets


@pytest.mark.parametrize(
    ("layers", "source"),
    [
        ([{}], None),
        ([{"credential-from-secret": " a/b "}, {"credential-from-secret": "c/d"}], SecretKey("a", "b")),
        ([{}, {"credential-from-secret": "c/d"}], SecretKey("c", "d")),
        ([{"credential-from-secret": "nothing"}, {"credential-from-secret": "c/d"}], None),
    ],
)
def test_the_first_that_names_a_secret_says_which(
    layers: list[dict[str, str]], source: SecretKey | None
) -> None:
    assert credential_source(*(Layer("", each) for each in layers)) == source


def test_what_is_not_permitted_is_rejected_and_stays_off_where_nobody_asks() -> None:
    asks, bound = {"baseline": "true"}, {"baseline-allowed": "false"}
    assert not under(bound).baseline
    assert under({"baseline-allowed": "true"}, asks).baseline
    for of_namespace, own in ((bound, asks), ({**bound, **asks}, NONE)):
        with pytest.raises(NotAllowedError, match="the bound is false"):
            under(of_namespace, own)
