"""Conditions as Kubernetes Events (core/v1), which `kubectl describe` and `kubectl get events` show.

The name of an Event derives from its content. So two replicas that report the same condition write one Event,
and a condition that is reported again counts up the Event that exists.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

from xds_server.core.conditions import Condition, Severity, Subject
from xds_server.core.objects import Kind

Document = dict[str, Any]

_COMPONENT: Final = "xds-shadow"
_MAX_NAME: Final = 253
_MAX_MESSAGE: Final = 1024
"""In bytes, as the API server counts (core/v1 Event validation)."""


def event_name(condition: Condition) -> str:
    """The name of the Event that reports `condition`."""
    content = "\0".join((condition.subject.kind, condition.subject.uid, condition.reason, condition.message))
    digest = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    name = condition.subject.name[: _MAX_NAME - 1 - len(digest)].rstrip("-.")  # no label ends in these
    return f"{name}.{digest}"


def event(condition: Condition, *, instance: str, now: float) -> Document:
    """The Event that reports `condition` for the first time, at `now` seconds since the epoch. `instance` is
    the replica that writes it."""
    time = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(condition), "namespace": condition.subject.namespace},
        "involvedObject": _reference(condition.subject),
        "type": "Warning" if condition.severity is Severity.ERROR else "Normal",
        "reason": condition.reason,
        "message": _cut(condition.message),
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def again(count: int, now: float) -> Document:
    """The merge patch for an Event that was seen for the `count`-th time."""
    return {"count": count, "lastTimestamp": timestamp(now)}


def timestamp(now: float) -> str:
    """meta/v1 Time."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reference(subject: Subject) -> Document:
    found = {
        "apiVersion": Kind(subject.kind).api_version,
        "kind": str(subject.kind),
        "namespace": subject.namespace,
        "name": subject.name,
    }
    return {**found, "uid": subject.uid} if subject.uid else found


def _cut(message: str) -> str:
    data = message.encode()
    if len(data) <= _MAX_MESSAGE:
        return message
    return data[: _MAX_MESSAGE - len("…".encode())].decode(errors="ignore") + "…"
