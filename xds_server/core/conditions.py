"""Conditions: statements about an object for its owner. They are data and never exceptions.

Everything that is reported about an object is a condition: a mistake in a file, a rejected annotation, a
NACK, a change of a shadow's state. `status`, Kubernetes Events, the page and the log show conditions.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from xds_server.core.objects import Object, Ref, ref_of


class Reason(StrEnum):
    """The reason of a condition, and of a shadow's state. Reasons are stable: scripts match them."""

    CONFIGURED = "Configured"
    MIRRORING = "Mirroring"
    NO_ENVOY = "NoEnvoy"
    NO_REPORTS = "NoReports"
    NO_TRAFFIC = "NoTraffic"
    NOT_MIRRORED = "NotMirrored"
    FAILING = "Failing"
    DROPPED = "Dropped"
    STOPPING = "Stopping"
    NO_READY_ENDPOINT = "NoReadyEndpoint"
    NO_ENDPOINTS = "NoEndpoints"
    CANNOT_REDACT = "CannotRedact"
    PAUSED = "Paused"
    ZERO_PERCENT = "ZeroPercent"
    EXPIRED = "Expired"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_NOT_EXPOSED = "ServiceNotExposed"
    NO_HTTP_PORT = "NoHttpPort"
    WOULD_EMPTY_SERVICE = "WouldEmptyService"
    INVALID_POLICY = "InvalidPolicy"
    NOT_ALLOWED = "NotAllowed"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    INVALID_SECRET = "InvalidSecret"  # noqa: S105
    CREDENTIAL_NEEDS_TLS = "CredentialNeedsTLS"
    NAMESPACE_UNKNOWN = "NamespaceUnknown"
    INVALID_LABEL = "InvalidLabel"
    INVALID_ANNOTATION = "InvalidAnnotation"
    INVALID_HOST = "InvalidHost"
    UNKNOWN_GATEWAY = "UnknownGateway"
    HOST_CONFLICT = "HostConflict"
    MIRROR_LOOP = "MirrorLoop"
    TOO_MANY_SAMPLED = "TooManySampled"
    TOO_MANY_CONDITIONS = "TooManyConditions"
    TOO_MANY_SHADOWS = "TooManyShadows"
    TOO_MUCH_MEMORY = "TooMuchMemory"
    TOO_MANY_HOSTS = "TooManyHosts"
    TOO_MANY_PORTS = "TooManyPorts"
    TOO_MANY_ENDPOINTS = "TooManyEndpoints"
    NAMESPACE_FULL = "NamespaceFull"
    PODS_UNKNOWN = "PodsUnknown"
    TOO_LARGE = "TooLarge"
    PORTS_NOT_ROUTED = "PortsNotRouted"
    PORT_ASSUMED_HTTP = "PortAssumedHttp"
    INTERNAL_ERROR = "InternalError"

    # Of objects, and of their source.
    INVALID_OBJECT = "InvalidObject"
    INVALID_ADDRESS = "InvalidAddress"
    INVALID_PORT = "InvalidPort"
    DUPLICATE_OBJECT = "DuplicateObject"
    DECODE_FAILED = "DecodeFailed"
    INVALID_FILE = "InvalidFile"
    UNREADABLE_FILE = "UnreadableFile"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    API_UNAVAILABLE = "ApiUnavailable"

    # Of the gateway file, and of Envoys.
    INVALID_GATEWAY = "InvalidGateway"
    UNKNOWN_ROUTE_CONFIGURATION = "UnknownRouteConfiguration"
    REJECTED_BY_ENVOY = "RejectedByEnvoy"

    # Of Kubernetes Events: a shadow's new state, what happens to its requests, and its end.
    SHADOW_ACTIVE = "ShadowActive"
    SHADOW_PENDING = "ShadowPending"
    SHADOW_PAUSED = "ShadowPaused"
    SHADOW_EXPIRED = "ShadowExpired"
    SHADOW_REJECTED = "ShadowRejected"
    SHADOW_MIRRORING = "ShadowMirroring"
    SHADOW_NO_ENVOY = "ShadowNoEnvoy"
    SHADOW_NO_REPORTS = "ShadowNoReports"
    SHADOW_NO_TRAFFIC = "ShadowNoTraffic"
    SHADOW_NOT_MIRRORED = "ShadowNotMirrored"
    SHADOW_FAILING = "ShadowFailing"
    SHADOW_DROPPED = "ShadowDropped"
    SHADOW_STOPPING = "ShadowStopping"
    SHADOW_STOPPED = "ShadowStopped"

    # Of Kubernetes Events: verdicts.
    SHADOW_WORSE = "ShadowWorse"
    SHADOW_NO_WORSE = "ShadowNoWorse"
    SHADOW_BLIND = "ShadowBlind"


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
    """One statement about one subject. `message` is one sentence or several
    that say what is wrong and what to do. `origin` is the file or the watch that the subject came from.
    `since` is when the condition began, in seconds since the epoch. The pure code leaves it None, so that
    equal plans compare equal; the server sets it."""

    subject: Subject
    reason: Reason
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
