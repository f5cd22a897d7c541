"""Conditions: what is true of an object and concerns its owner. Data, never an exception.

Everything that the program says about an object is a condition: a mistake in a file, a rejected annotation, a
NACK, a change of a shadow's state. `status`, Kubernetes Events, the page and the log show conditions.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from xds_server.core.objects import Object, Ref, ref_of


class Severity(StrEnum):
    """Whether a condition has to be corrected."""

    ERROR = "Error"
    """The condition has to be corrected."""

    INFO = "Info"
    """The condition is for information. It raises no alert."""


class Subject(NamedTuple):
    """What a condition is about: a Kubernetes object, or an Envoy. `namespace` is empty for a cluster-scoped
    object and for an Envoy. `uid` is set only where a Kubernetes Event refers to the object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}" if self.kind else name


NO_SUBJECT: Final = Subject()
"""The subject of a condition about a file or a request: `Condition.origin` names it."""


class Condition(NamedTuple):
    """One statement about one subject. `reason` is a stable CamelCase word, `message` one sentence or several
    that say what is wrong and what to do. `origin` is the file or the watch that the subject came from.
    `since` is when the condition began, in seconds since the epoch. The pure code leaves it None, so that
    equal plans compare equal; the server sets it."""

    subject: Subject
    reason: str
    message: str
    severity: Severity = Severity.ERROR
    origin: str = ""
    since: float | None = None


def about(found: Object | Ref | None) -> Subject:
    """The subject of a condition about this object."""
    if found is None:
        return NO_SUBJECT
    return Subject(*(found if isinstance(found, Ref) else ref_of(found)))


def errors(found: Iterable[Condition]) -> list[Condition]:
    """The conditions of severity Error."""
    return [each for each in found if each.severity is Severity.ERROR]


def notices(found: Iterable[Condition]) -> list[Condition]:
    """The conditions of severity Info."""
    return [each for each in found if each.severity is Severity.INFO]
