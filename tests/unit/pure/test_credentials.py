"""Credentials out of Secrets: only what was allowed, only what can be a header, and never shown."""

import base64
from typing import Any

import msgspec
import pytest

from tests.unit.pure.kube import at, canary, namespace, pod, secret, service, slice_of, world_of
from xds_server.core.conditions import Reason
from xds_server.core.layers import PolicyFile
from xds_server.core.objects import Object, Secret
from xds_server.core.plan import Credential, Plan, ShadowStatus, State
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.sensitive import Sensitive

WANTED = "token/authorization"


def plan_of(*others: Object, wanted: str = WANTED, rules: Rules = Rules()) -> Plan:  # noqa: B008 - immutable
    return resolve(
        world_of(
            namespace("staging"),
            service("myapp"),
            slice_of("myapp", at("10.0.0.1")),
            canary("canary", "myapp", credential_from_secret=wanted),
            pod("canary-1", "canary", "10.0.1.1"),
            *others,
        ),
        rules,
    )


def shadow_of(plan: Plan) -> ShadowStatus:
    (found,) = plan.shadows()
    return found


def credentials(plan: Plan) -> list[Credential | None]:
    return [
        mirror.credential
        for found in plan.services.values()
        for route in found.ports
        for mirror in route.mirrors
    ]


def raw(data: dict[str, str] | None) -> Secret:
    """A Secret whose data is as given, in base64 or not."""
    return msgspec.structs.replace(secret("token", value=""), data=data)


@pytest.mark.parametrize(
    "value", ["Bearer abc", "x", "Bearer a b ~!", "v" * 8192, "Bearer abc\n", " Bearer abc\r\n"]
)
def test_a_credential_is_the_value_without_space_around_it(value: str) -> None:
    plan = plan_of(secret("token", value=value))
    assert credentials(plan) == [Credential("staging/token/authorization", Sensitive(value.strip()))]
    assert shadow_of(plan).state is State.ACTIVE


@pytest.mark.parametrize("value", ["", "\n", "a\nb", "a\x00b", "ä", "v" * 8193, "a\tb"])
def test_what_cannot_be_a_headers_value_is_rejected_and_not_repeated(value: str) -> None:
    plan = plan_of(secret("token", value=value))
    found = shadow_of(plan)
    assert (found.state, found.reason) == (State.REJECTED, Reason.INVALID_SECRET)
    assert found.message == (
        "Key authorization of Secret staging/token cannot be a header's value: it has to be 1 to 8192"
        " characters of printable ASCII."
    )
    assert credentials(plan) == []


def test_what_is_no_base64_is_rejected_and_not_repeated() -> None:
    found = shadow_of(plan_of(raw({"authorization": "hunter2!"})))
    assert found.reason is Reason.INVALID_SECRET
    assert "hunter2" not in repr(found)


def test_base64_may_have_line_breaks() -> None:
    text = base64.b64encode(b"Bearer abc").decode()
    plan = plan_of(raw({"authorization": f"{text[:5]}\n{text[5:]}\n"}))
    assert credentials(plan) == [Credential("staging/token/authorization", Sensitive("Bearer abc"))]


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([], WANTED),
        ([secret("other", value="Bearer abc")], WANTED),
        ([secret("token", value="Bearer abc", namespace="production")], WANTED),
        ([secret("token", value="Bearer abc", allow=None)], WANTED),
        ([secret("token", value="Bearer abc", allow="false")], WANTED),
    ],
)
def test_a_secret_that_was_not_allowed_is_as_good_as_none(others: list[Object], wanted: str) -> None:
    plan = plan_of(*others, wanted=wanted)
    found = shadow_of(plan)
    assert (found.state, found.reason) == (State.REJECTED, Reason.SECRET_NOT_FOUND)
    assert found.message == (
        "There is no Secret staging/token with the label xds-shadow.io/allow=true, or none that xds-shadow"
        " may read; no requests are mirrored without the credential."
    )
    assert credentials(plan) == []


@pytest.mark.parametrize("data", [None, {}, {"other": "eA=="}])
def test_a_secret_without_the_key_is_rejected(data: dict[str, str] | None) -> None:
    found = shadow_of(plan_of(raw(data)))
    assert (found.reason, found.message) == (
        Reason.SECRET_NOT_FOUND,
        "Secret staging/token has no key authorization.",
    )


@pytest.mark.parametrize(
    "holder",
    [
        secret("token", value="hunter2"),
        Sensitive("hunter2"),
        Credential("staging/token/authorization", Sensitive("hunter2")),
        plan_of(secret("token", value="hunter2")),
    ],
)
def test_what_holds_a_secret_does_not_show_it(holder: Any) -> None:
    for text in (repr(holder), str(holder), f"{holder}"):
        assert "hunter2" not in text
        assert base64.b64encode(b"hunter2").decode() not in text


def test_a_secret_says_its_name() -> None:
    found = secret("token", value="hunter2")
    assert repr(found) == "Secret(staging/token)"
    assert found.__rich_repr__() == [("name", "staging/token")]


def test_sensitive_values_are_equal_if_what_they_hold_is() -> None:
    assert Sensitive("a") == Sensitive("a")
    assert Sensitive("a") != Sensitive("b")
    assert Sensitive("a") != "a"
    assert len({Sensitive("a"), Sensitive("a"), Sensitive("b")}) == 2


def test_no_credential_is_for_envoys_that_are_served_in_plain_text() -> None:
    plain = Rules(PolicyFile("the policy file", {}, credentials=False))
    plan = plan_of(secret("token", value="Bearer abc"), rules=plain)
    found = shadow_of(plan)
    assert (found.state, found.reason) == (State.REJECTED, Reason.CREDENTIAL_NEEDS_TLS)
    assert "--plaintext-credentials" in found.message
    assert credentials(plan) == []
    assert "Bearer" not in repr(plan)
    # Whoever needs none is not concerned.
    free = resolve(world_of(namespace("staging"), service("myapp"), canary("canary", "myapp")), plain)
    assert shadow_of(free).state is State.PENDING
