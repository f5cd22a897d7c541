"""What a Service may have: limits that are only ever tightened, and hosts."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.sizes import MIB
from xds_server.core import limits
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.layers import Layer, PolicyFile
from xds_server.core.limits import DEFAULT, Limits, host_not_allowed, limits_of
from xds_server.core.policy import check_defaults
from xds_server.core.service_annotations import LIMITS
from xds_server.core.values import PolicyError

PREFIX = "xds-shadow.io/"
NONE: Mapping[str, str] = {}

SUBJECT = Subject("Namespace", "", "staging")


def of(namespace: Mapping[str, str], installation: Mapping[str, str] = NONE) -> Limits:
    return limits_of(
        Layer(str(SUBJECT), namespace, subject=SUBJECT), PolicyFile("the policy file p.yaml", installation)
    )


def rejected(host: str, namespace: str | None, installation: str | None = None) -> str:
    layers = [
        Layer("Namespace staging", {} if namespace is None else {"hosts-allowed": namespace}),
        PolicyFile("the policy file p.yaml", {} if installation is None else {"hosts-allowed": installation}),
    ]
    return host_not_allowed(host, [None, *layers])


def test_without_settings_they_are_ours() -> None:
    assert limits_of(None) == of({}) == DEFAULT
    assert Limits(16, 16, 64, 5_000, MIB // 2, 128 * MIB, 128 * MIB) == DEFAULT


def test_every_limit_has_its_setting() -> None:
    assert {name.removesuffix("-max").replace("-", "_") for name in LIMITS} == set(Limits._fields) - {
        "problems"
    }


@pytest.mark.parametrize(
    ("name", "text", "limits"),
    [
        ("shadows-max", "3", DEFAULT._replace(shadows=3)),
        ("ports-max", " 1 ", DEFAULT._replace(ports=1)),
        ("hosts-max", "64", DEFAULT),
        ("endpoints-max", "100", DEFAULT._replace(endpoints=100)),
        ("virtual-host-bytes-max", "256Ki", DEFAULT._replace(virtual_host_bytes=256 * 1024)),
        ("mirror-memory-max", "100Mi", DEFAULT._replace(mirror_memory=100 * MIB)),
    ],
)
def test_a_namespace_and_the_installation_tighten(name: str, text: str, limits: Limits) -> None:
    assert of({name: text}) == limits
    assert of({}, {name: text}) == limits


def test_settings_of_shadows_and_of_hosts_are_no_limits() -> None:
    settings = {"hosts-allowed": "example.com,none", "percent-max": "5"}
    assert of(settings) == DEFAULT
    check_defaults(Layer("Namespace staging", settings))


@pytest.mark.parametrize("name", ["namespace-memory-max", "mirror-memory-max"])
def test_the_installation_alone_can_give_more_of_an_envoys_memory(name: str) -> None:
    field = name.removesuffix("-max").replace("-", "_")
    assert getattr(of({}, {name: "1024Mi"}), field) == 1024 * MIB
    assert getattr(of({name: "512Mi"}, {name: "1024Mi"}), field) == 512 * MIB
    found = of({name: "256Mi"})
    assert found._replace(problems=()) == DEFAULT
    (problem,) = found.problems
    assert problem.message == (
        f"Annotation xds-shadow.io/{name} of Namespace staging: '256Mi' is more than the 128Mi that are"
        " available."
    )


def test_of_two_the_tighter_holds() -> None:
    assert of({"shadows-max": "3"}, {"shadows-max": "5"}).shadows == 3
    assert of({"shadows-max": "5"}, {"shadows-max": "3"}).shadows == 3


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("shadows-max", "17", "'17' is not a number from 1 to 16"),
        ("shadows-max", "0", "'0' is not a number from 1 to 16"),
        # A unit that was forgotten.
        (
            "namespace-memory-max",
            "64",
            "'64' is not a size from 1Mi to 65536Mi; write 512Ki, 1Mi or a number of bytes",
        ),
        (
            "virtual-host-bytes-max",
            "513Ki",
            "'513Ki' is not a size from 8Ki to 512Ki; write 512Ki, 1Mi or a number of bytes",
        ),
        ("endpoints-max", "many", "'many' is not a number from 1 to 5000"),
        (
            "mirror-memory-max",
            "64",
            "'64' is not a size from 64Ki to 65536Mi; write 512Ki, 1Mi or a number of bytes",
        ),
        (
            "hosts-allowed",
            "a.*.example.com",
            (
                "'a.*.example.com' is not a host; write a list such as example.com,app.example.org, each of"
                " which allows its subdomains too, or none"
            ),
        ),
        ("hosts-allowed", "", "there is an empty entry; write a list separated by commas"),
    ],
)
def test_what_widens_or_cannot_be_understood_leaves_ours_and_is_a_problem(
    name: str, text: str, why: str
) -> None:
    owner = f"annotation {PREFIX}{name} of Namespace staging"
    problem = Condition(SUBJECT, Reason.INVALID_ANNOTATION, f"A{owner[1:]}: {why}.")
    assert of({name: text}) == DEFAULT._replace(problems=(problem,))
    # The rest of the Namespace's limits hold, and its shadows do not.
    assert of({name: text, "ports-max": "2"}).ports == 2
    with pytest.raises(PolicyError) as rejection:
        check_defaults(Layer("Namespace staging", {name: text}))
    assert str(rejection.value) == f"{owner}: {why}"


@given(st.dictionaries(st.sampled_from(sorted(LIMITS)), st.text() | st.integers(0, 10**9).map(str)))
def test_no_text_widens_a_limit(settings: dict[str, str]) -> None:
    found = of(settings)
    for name in LIMITS:
        field = name.removesuffix("-max").replace("-", "_")
        assert 1 <= getattr(found, field) <= getattr(DEFAULT, field)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.b.example.com", "*.example.com"),
        ("a.example.org", "example.com, Example.ORG"),
        ("a.example.org", "example.com\nexample.org\n"),
        ("a.example.com", "*.bad,example.com"),
    ],
)
def test_a_suffix_allows_itself_and_what_is_under_it(host: str, allowed: str) -> None:
    assert rejected(host, allowed) == ""
    assert rejected(host, None, allowed) == ""
    assert rejected(host, None) == ""


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("badexample.com", "example.com"),
        ("example.com.evil.org", "example.com"),
        ("com", "example.com"),
        ("example.com", "a.example.com"),
        ("a.example.com", "a.*.example.com"),
        ("a.example.com", ".example.com"),
        ("a.example.com", ""),
        ("a.example.com", "none"),
        ("none", "none"),
    ],
)
def test_what_is_under_none_of_them_is_not_allowed(host: str, allowed: str) -> None:
    assert rejected(host, allowed) == (
        f"Host {host} is not allowed; allowed are {allowed}"
        f" (annotation {PREFIX}hosts-allowed of Namespace staging)."
    )
    assert rejected(host, None, allowed).endswith("(hosts-allowed of the policy file p.yaml).")


def test_a_host_is_looked_up_however_long_the_list_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotRead(frozenset[str]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("the list is gone through for each host")

    monkeypatch.setattr(limits, "_entries", lambda _: NotRead({"example.com"}))
    assert rejected("a.b.example.com", "example.com") == ""
    assert "Host a.example.org is not allowed" in rejected("a.example.org", "example.com")


def test_both_have_to_allow_a_host() -> None:
    assert rejected("a.example.com", "example.com", "example.com") == ""
    assert "policy file" in rejected("a.example.com", "example.com", "example.org")
    assert "Namespace" in rejected("a.example.com", "example.org", "example.com")
