"""Annotations: understood whole, or rejected by name."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.text import shown
from xds_server.core.annotations import NAMES, Policy, Selection
from xds_server.core.policy import parse_policy
from xds_server.core.terms import MILLION
from xds_server.core.values import MAX_METHODS, PolicyError

PREFIX = "xds-shadow.io/"


def parse(**annotations: str) -> Policy:
    return parse_policy({PREFIX + key.replace("_", "-"): value for key, value in annotations.items()})


def of(policy: Policy) -> Policy:
    """The policy without where it comes from."""
    return replace(policy, settings=())


@pytest.mark.parametrize(
    ("value", "per_million"),
    [
        ("0", 0),
        ("0.0001", 1),
        ("0.5", 5_000),
        ("25", 250_000),
        (" 25 ", 250_000),
        ("025", 250_000),
        ("25.10", 251_000),
        ("99.9999", 999_999),
        ("100", MILLION),
        ("100.0", MILLION),
        ("0.0000000000", 0),
    ],
)
def test_percent(value: str, per_million: int) -> None:
    assert of(parse(percent=value)) == Policy(per_million=per_million)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "lots",
        "25%",
        "-1",
        "+1",
        "101",
        "100.0001",
        "999",
        "1000",
        "1e2",
        ".5",
        "5.",
        "1,5",
        "0x10",
        "\u0662\u0665",
        "NaN",
        "inf",
        "1 0",
        "1\n0",
    ],
)
def test_what_is_no_percentage_is_rejected(value: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse(percent=value)
    assert str(raised.value) == (
        f"annotation xds-shadow.io/percent: {value!r} is not a percentage; write a number from 0 to 100"
        " such as 25 or 0.5"
    )


def test_a_percentage_finer_than_envoys_is_rejected() -> None:
    with pytest.raises(
        PolicyError, match=r"percent: '0.00001' is finer than 0.0001, the smallest percentage"
    ):
        parse(percent="0.00001")


@pytest.mark.parametrize(
    ("value", "methods"),
    [
        ("GET", {"GET"}),
        ("GET,HEAD", {"GET", "HEAD"}),
        (" GET , HEAD ", {"GET", "HEAD"}),
        ("GET,GET", {"GET"}),
        ("M-SEARCH", {"M-SEARCH"}),
    ],
)
def test_methods(value: str, methods: set[str]) -> None:
    assert of(parse(methods=value)) == Policy(selection=Selection(methods=frozenset(methods)))


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("get", "'get' is not a request method"),
        ("GET HEAD", "'GET HEAD' is not a request method"),
        ("*", "'*' is not a request method"),
        ("GET|POST", "'GET|POST' is not a request method"),
        ("GET,.*", "'.*' is not a request method"),
        ("A" * 33, f"'{'A' * 33}' is not a request method"),
        ("", "there is an empty entry"),
        ("GET,", "there is an empty entry"),
        (",", "there is an empty entry"),
    ],
)
def test_what_is_no_list_of_methods_is_rejected(value: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse(methods=value)
    assert (
        str(raised.value) == f"annotation {PREFIX}methods: {wrong}; write a list in capitals such as GET,HEAD"
    )


def test_a_method_that_is_never_mirrored_is_rejected() -> None:
    with pytest.raises(PolicyError, match="methods: CONNECT matches nothing, as Envoy never mirrors it"):
        parse(methods="GET,CONNECT")


def test_paused() -> None:
    assert of(parse(paused="true")) == Policy(paused=True)
    assert of(parse(paused="false")) == Policy()


@pytest.mark.parametrize("value", ["", "True", "yes", "1", "on"])
def test_paused_is_true_or_false(value: str) -> None:
    with pytest.raises(PolicyError, match=rf"paused: '{value}' is neither true nor false"):
        parse(paused=value)


def test_endpoints_from() -> None:
    assert of(parse(endpoints_from="service/my-app2")) == Policy(endpoints_from="my-app2")
    assert parse(endpoints_from="service/" + "a" * 63).endpoints_from == "a" * 63


@pytest.mark.parametrize(
    "value",
    [
        "",
        "my-app",
        "service/",
        "service/My-App",
        "service/-a",
        "service/a-",
        "service/a/b",
        "pod/a",
        "Service/a",
        "service/" + "a" * 64,
    ],
)
def test_endpoints_come_from_a_service(value: str) -> None:
    with pytest.raises(PolicyError, match=r"endpoints-from: '.* does not name a Service; write service/NAME"):
        parse(endpoints_from=value)


def test_annotations_of_others_are_ignored() -> None:
    assert parse_policy({"example.com/percent": "lots", "xds-shadow.io": "", "percent": "x"}) == Policy()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("", f"known are {', '.join(NAMES)}"),
        ("expose", f"known are {', '.join(NAMES)}"),
        ("percnt", "did you mean percent?"),
        ("percent/", "did you mean percent?"),
        ("Percent", "did you mean percent?"),
        ("remove_headers", "did you mean remove-headers?"),
        ("hosts", "it is an annotation of a Service"),
    ],
)
def test_an_unknown_annotation_is_rejected_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(PolicyError) as rejection:
        parse_policy({PREFIX + name: "25", PREFIX + "percent": "25"})
    assert str(rejection.value) == f"annotation {PREFIX}{name} is not known here; {hint}"


def test_of_several_mistakes_the_first_by_name_is_reported() -> None:
    with pytest.raises(PolicyError, match=r"^annotation xds-shadow\.io/methods: "):
        parse(percent="lots", methods="get", paused="maybe")


def test_everything_together() -> None:
    policy = parse(percent="0.5", methods="GET", paused="true", endpoints_from="service/a")
    wanted = Selection(methods=frozenset({"GET"}))
    assert of(policy) == Policy(selection=wanted, per_million=5_000, paused=True, endpoints_from="a")


def test_the_default_is_every_request() -> None:
    assert of(parse()) == Policy()
    assert parse().percent == "100"


def test_a_long_value_is_cut_in_messages() -> None:
    assert shown("a" * 60) == repr("a" * 60)
    assert shown("a" * 61) == repr("a" * 60 + "…")
    with pytest.raises(PolicyError) as raised:
        parse(percent="9" * 300)
    assert len(str(raised.value)) < 250


@given(st.integers(0, MILLION))
def test_every_share_reads_back_as_it_is_shown(per_million: int) -> None:
    percent = Policy(per_million=per_million).percent
    assert Decimal(percent) * 10_000 == per_million
    assert parse(percent=percent).per_million == per_million


@given(
    st.sampled_from(NAMES),
    st.one_of(
        st.text(), st.from_regex(r"\A[0-9]{1,4}(\.[0-9]{1,11})?\Z"), st.from_regex(r"\A[A-Za-z, /-]*\Z")
    ),
)
def test_any_text_is_read_or_rejected_with_the_name_of_the_annotation(name: str, value: str) -> None:
    policy, raised = Policy(), ""
    try:
        policy = parse_policy({PREFIX + name: value})
    except PolicyError as error:
        raised = str(error)
    assert not raised or raised.startswith(f"annotation {PREFIX}{name}: ")
    assert 0 <= policy.per_million <= MILLION
    assert policy.selection.methods is None or policy.selection.methods


@given(st.text())
def test_any_other_name_is_rejected(name: str) -> None:
    if name not in NAMES:
        with pytest.raises(PolicyError, match="is not known here"):
            parse_policy({PREFIX + name: "25"})


def test_the_number_of_methods_is_bounded() -> None:
    methods = [f"M{number}" for number in range(MAX_METHODS + 1)]
    assert parse(methods=",".join(methods[:-1])).selection.methods == frozenset(methods[:-1])
    with pytest.raises(PolicyError, match=f"17 methods; the maximum is {MAX_METHODS}"):
        parse(methods=",".join(methods))
