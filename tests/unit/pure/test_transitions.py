"""What is reported from one plan to the next."""

import msgspec
import pytest

from tests.unit.pure import kube
from tests.unit.pure.kube import at, canary, pod, service, slice_of
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Condition, Severity, Subject
from xds_server.core.objects import Kind, Object
from xds_server.core.plan import Plan
from xds_server.core.resolve import resolve
from xds_server.core.transitions import transitions
from xds_server.core.world import World

MYAPP = NamespacedName("staging", "myapp")
EVERYTHING = [MYAPP, NamespacedName("staging", "other"), NamespacedName("staging", "missing")]
CANARY = Subject(Kind.DEPLOYMENT, "staging", "myapp-canary")
NOTHING = (World(), Plan())
STABLE: list[Object] = [service("myapp"), service("other"), slice_of("myapp", at("10.0.0.1"))]


def state(*objects: Object) -> tuple[World, Plan]:
    world = kube.world_of(kube.namespace("staging"), *objects)
    return world, resolve(world)


def reported(before: tuple[World, Plan], *objects: Object) -> list[Condition]:
    return transitions(before, state(*objects), EVERYTHING)


READY = pod("canary-1", "myapp-canary", "10.0.0.2")


def test_a_mark_is_reported() -> None:
    (note,) = reported(state(*STABLE), *STABLE, canary("myapp-canary", "myapp"), READY)
    assert (note.subject, note.reason, note.severity) == (CANARY, "ShadowActive", Severity.INFO)
    assert note.message.startswith("Configured to mirror 100 percent of the requests")


def test_at_the_start_every_shadow_is_reported() -> None:
    found = reported(NOTHING, *STABLE, canary("myapp-canary", "myapp"), READY)
    assert [note.reason for note in found] == ["ShadowActive"]


def test_a_shadow_without_an_endpoint_is_pending_and_says_why() -> None:
    (note,) = reported(state(*STABLE), *STABLE, canary("myapp-canary", "myapp"))
    assert (note.reason, note.severity) == ("ShadowPending", Severity.INFO)
    assert note.message.startswith("NoReadyEndpoint: ")


def test_a_rejection_is_a_warning_with_its_reason() -> None:
    (note,) = reported(state(*STABLE), *STABLE, canary("myapp-canary", "missing"))
    assert (note.reason, note.severity) == ("ShadowRejected", Severity.ERROR)
    assert note.message.startswith("ServiceNotFound: ")


def test_another_rejection_is_reported_again() -> None:
    first = state(*STABLE, canary("myapp-canary", "myapp", percent="x"))
    (note,) = reported(first, *STABLE, canary("myapp-canary", "myapp", percent="y"))
    assert '"y"' in note.message or "'y'" in note.message


def test_a_pause_is_reported() -> None:
    (note,) = reported(state(*STABLE), *STABLE, canary("myapp-canary", "myapp", paused="true"), READY)
    assert note.reason == "ShadowPaused"
    assert note.message == "Paused by annotation xds-shadow.io/paused. No requests are mirrored."


@pytest.mark.parametrize(
    ("own", "defaults", "message"),
    [
        (
            {},
            {"paused": "true"},
            "Paused by annotation xds-shadow.io/paused of Namespace staging. No requests are mirrored.",
        ),
        (
            {},
            {"percent": "0"},
            (
                "ZeroPercent: Paused by annotation xds-shadow.io/percent of Namespace staging, which is 0. No"
                " requests are mirrored."
            ),
        ),
        (
            {"percent": "0"},
            {"percent": "5"},
            "ZeroPercent: Paused by annotation xds-shadow.io/percent, which is 0. No requests are mirrored.",
        ),
    ],
)
def test_a_pause_names_the_setting_and_its_owner(
    own: dict[str, str], defaults: dict[str, str], message: str
) -> None:
    theirs = kube.namespace("staging", annotations=defaults)
    (note,) = reported(state(*STABLE), *STABLE, theirs, canary("c", "myapp", **own), READY)
    assert note.message == message


def test_what_the_policy_asks_for_is_reported_when_it_changes() -> None:
    first = state(*STABLE, canary("myapp-canary", "myapp"), READY)
    (note,) = reported(first, *STABLE, canary("myapp-canary", "myapp", percent="25"), READY)
    assert (note.reason, note.message[:31]) == ("ShadowActive", "Configured to mirror 25 percent")


def test_the_end_is_reported_for_a_removed_mark_and_for_a_removed_canary() -> None:
    first = state(*STABLE, canary("myapp-canary", "myapp"), READY)
    unmarked = canary("myapp-canary", None)
    for after in ([*STABLE, unmarked, READY], STABLE):
        (note,) = reported(first, *after)
        assert (note.subject, note.reason, note.severity) == (CANARY, "ShadowStopped", Severity.INFO)


def test_another_service_is_one_change() -> None:
    first = state(*STABLE, canary("myapp-canary", "myapp"), READY)
    (note,) = reported(first, *STABLE, canary("myapp-canary", "other"), READY)
    assert note.reason == "ShadowActive"
    assert "staging/other" in note.message


def test_more_endpoints_are_not_reported() -> None:
    first = state(*STABLE, canary("myapp-canary", "myapp"), READY)
    second = pod("canary-2", "myapp-canary", "10.0.0.3")
    assert reported(first, *STABLE, canary("myapp-canary", "myapp"), READY, second) == []


def test_what_did_not_move_is_not_looked_at() -> None:
    after = state(*STABLE, canary("myapp-canary", "myapp"), READY)
    assert transitions(state(*STABLE), after, []) == []


def test_a_problem_of_a_service_is_reported_once() -> None:
    hosts = {"hosts": "one.example.com"}
    older = service("myapp", annotations=hosts, created="2026-01-01T00:00:00Z")
    younger = service("other", annotations=hosts, created="2026-01-02T00:00:00Z")
    first = state(service("myapp"), service("other"))
    (note,) = reported(first, older, younger)
    assert note.subject == Subject(Kind.SERVICE, "staging", "other")
    assert (note.reason, note.severity) == ("HostConflict", Severity.ERROR)
    assert reported(state(older, younger), older, younger) == []
    assert reported(state(older, younger), service("myapp"), service("other")) == []


def test_a_subject_has_the_uid_of_its_object_even_when_it_is_gone() -> None:
    marked = canary("myapp-canary", "myapp")
    marked = msgspec.structs.replace(marked, metadata=msgspec.structs.replace(marked.metadata, uid="u-1"))
    first = state(*STABLE, marked, READY)
    (note,) = reported(first, *STABLE)
    assert note.subject.uid == "u-1"
