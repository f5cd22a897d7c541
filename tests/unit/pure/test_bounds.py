"""Settings of a Namespace and of the installation: defaults for shadows, and bounds on what they ask for."""

from collections.abc import Mapping

import pytest

from xds_server.shadows.bounds import BOUNDS, NotAllowedError
from xds_server.shadows.policy import (
    NAMES,
    Layer,
    PolicyFile,
    check_defaults,
    credential_source,
    parse_policy,
)
from xds_server.shadows.terms import MILLION, PathPrefix, Policy, SecretKey, Setting
from xds_server.shadows.values import PolicyError

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
        Setting("paused", "true", "the policy file p.yaml"),
        Setting("percent", "20", "Namespace staging"),
        Setting("timeout", "1s", "the Deployment"),
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
    ],
)
def test_what_is_allowed_is_as_asked(bound: str, allowed: str, asked: dict[str, str]) -> None:
    free = under({}, asked)
    assert under({bound: allowed}, asked) == free
    assert under({}, asked, {bound: allowed}) == free


@pytest.mark.parametrize(
    ("bound", "allowed", "asked", "why"),
    [
        ("percent-max", "10", {"percent": "10.5"}, "more than is allowed: {}"),
        ("timeout-max", "1s", {"timeout": "1001ms"}, "more than is allowed: {}"),
        ("max-body-max", "1k", {"max-body": "1Ki"}, "more than is allowed: {}"),
        ("max-concurrent-max", "10", {"max-concurrent": "11"}, "more than is allowed: {}"),
        ("max-rps-max", "10", {"max-rps": "11"}, "more than is allowed: {}"),
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
    ],
)
def test_a_shadow_that_asks_for_more_is_refused(
    bound: str, allowed: str, asked: dict[str, str], why: str
) -> None:
    ((name, value),) = asked.items()
    with pytest.raises(NotAllowedError) as refusal:
        under({bound: allowed}, asked)
    owner = f"annotation {PREFIX}{bound} of Namespace staging"
    assert str(refusal.value) == (
        f"annotation {PREFIX}{name}: {value!r}: {why.format(f'{allowed} ({owner})')}"
    )
    with pytest.raises(NotAllowedError) as refusal:
        under({}, asked, {bound: allowed})
    assert f"{allowed} ({bound} of the policy file p.yaml)" in str(refusal.value)


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_is_on_an_annotation_that_there_is(bound: str) -> None:
    assert BOUNDS[bound].of in NAMES
    assert bound.removesuffix("-max").removesuffix("-allowed") == BOUNDS[bound].of


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
        }
    )
    treatment = policy.treatment
    assert policy.percent == "10"
    assert (treatment.timeout_ms, treatment.max_body, treatment.max_concurrent) == (1000, 1000, 5)
    assert treatment.max_rps == 7
    assert policy.selection.methods == frozenset({"GET", "HEAD"})
    assert policy.selection.paths == {"/api"}
    assert (treatment.host, treatment.set_headers, policy.credential) == ("preserve", (), None)
    assert Setting("percent", "10", f"annotation {PREFIX}percent-max of Namespace staging") in policy.settings


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
    with pytest.raises(NotAllowedError, match="more than is allowed: 10"):
        under({"percent-max": "50"}, {"percent": "20"}, {"percent-max": "10"})


@pytest.mark.parametrize(("bound", "one", "other"), [("methods", "GET", "PUT"), ("paths", "/a", "/b")])
def test_bounds_that_leave_nothing_refuse_the_shadow(bound: str, one: str, other: str) -> None:
    key = f"{bound}-allowed"
    with pytest.raises(NotAllowedError) as refusal:
        under({key: one}, {}, {key: other})
    assert str(refusal.value) == (
        f"{key} of the policy file p.yaml: with {other} ({key} of the policy file p.yaml) nothing is left"
        " that is allowed"
    )


def test_a_default_that_is_not_allowed_is_refused_with_its_owner() -> None:
    with pytest.raises(NotAllowedError) as refusal:
        under({"percent": "50"}, {}, {"percent-max": "10"})
    assert str(refusal.value).startswith(
        f"annotation {PREFIX}percent of Namespace staging: '50': more than is allowed"
    )


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
            {"endpoints-from": "service/a"},
            f"annotation {PREFIX}endpoints-from of Namespace staging is not known here",
        ),
    ],
)
def test_a_namespace_whose_settings_are_not_understood_has_no_shadows(
    settings: dict[str, str], wrong: str
) -> None:
    with pytest.raises(PolicyError) as refusal:
        under(settings, {"percent": "1", "methods": "GET", "host": "preserve"})
    assert not isinstance(refusal.value, NotAllowedError)
    assert str(refusal.value).startswith(wrong)


def test_a_shadow_cannot_set_its_own_bounds() -> None:
    with pytest.raises(PolicyError, match="percent-max is not known here"):
        under({}, {"percent-max": "100"})


def test_the_settings_of_an_installation_are_checked_by_themselves() -> None:
    check_defaults(PolicyFile("the policy file p.yaml", {"percent-max": "10", "timeout": "1s"}))
    with pytest.raises(PolicyError) as refusal:
        check_defaults(PolicyFile("the policy file p.yaml", {"timeout": "ever"}))
    assert str(refusal.value).startswith("timeout of the policy file p.yaml: 'ever' is not a duration")


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
    assert credential_source(*layers) == source
