"""Notes as Events."""

import re

from xds_server.core.conditions import Condition, Reason, Severity, Subject
from xds_server.core.objects import Kind
from xds_server.kube.events import again, event, event_name

CANARY = Subject(Kind.DEPLOYMENT, "staging", "myapp-canary", "u-1")
NOTE = Condition(CANARY, Reason.SHADOW_ACTIVE, "All is mirrored.", Severity.INFO)


def test_an_event_says_who_what_and_when() -> None:
    assert event(NOTE, instance="replica-1", now=1_790_000_000.9) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(NOTE), "namespace": "staging"},
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": "staging",
            "name": "myapp-canary",
            "uid": "u-1",
        },
        "type": "Normal",
        "reason": "ShadowActive",
        "message": "All is mirrored.",
        "source": {"component": "xds-shadow"},
        "reportingComponent": "xds-shadow",
        "reportingInstance": "replica-1",
        "firstTimestamp": "2026-09-21T14:13:20Z",
        "lastTimestamp": "2026-09-21T14:13:20Z",
        "count": 1,
    }


def test_a_warning_about_a_service_without_a_uid() -> None:
    note = Condition(Subject(Kind.SERVICE, "staging", "web"), Reason.HOST_CONFLICT, "Taken.")
    found = event(note, instance="replica-1", now=0.0)
    assert found["type"] == "Warning"
    assert found["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "staging",
        "name": "web",
    }


def test_the_name_follows_from_what_is_said() -> None:
    assert event_name(NOTE) == event_name(Condition(CANARY, Reason.SHADOW_ACTIVE, "All is mirrored."))
    others = [
        Condition(CANARY, Reason.SHADOW_ACTIVE, "Half is mirrored."),
        Condition(CANARY, Reason.SHADOW_PENDING, "All is mirrored."),
        Condition(
            Subject(Kind.DEPLOYMENT, "staging", "myapp-canary", "u-2"),
            Reason.SHADOW_ACTIVE,
            "All is mirrored.",
        ),
        Condition(
            Subject(Kind.SERVICE, "staging", "myapp-canary", "u-1"), Reason.SHADOW_ACTIVE, "All is mirrored."
        ),
    ]
    assert len({event_name(note) for note in [NOTE, *others]}) == 5


def test_names_and_messages_keep_to_the_limits_of_the_api() -> None:
    note = Condition(Subject(Kind.DEPLOYMENT, "staging", "x" * 253), Reason.SHADOW_REJECTED, "é" * 1000)
    found = event(note, instance="replica-1", now=0.0)
    assert len(found["metadata"]["name"]) == 253
    assert len(found["message"].encode()) <= 1024
    assert found["message"].endswith("é…")


def test_a_name_that_is_cut_ends_as_names_may() -> None:
    name = "x" * 234 + "-." + "y" * 17
    found = event_name(Condition(Subject(Kind.DEPLOYMENT, "staging", name), Reason.SHADOW_ACTIVE, ""))
    assert re.fullmatch(r"x{234}\.[0-9a-f]{16}", found)


def test_seen_again() -> None:
    assert again(3, 1.0) == {"count": 3, "lastTimestamp": "1970-01-01T00:00:01Z"}
