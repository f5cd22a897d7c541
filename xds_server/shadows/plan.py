"""What resolving decides: for every Service its routes and mirrors, for every shadow its state.

Plain immutable values, compared by equality: a Service whose part of the plan is equal before and after a
change costs nothing downstream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.model.problems import Problem


class State(StrEnum):
    """Of a shadow (DESIGN, "Refusals are data")."""

    ACTIVE = "Active"
    PENDING = "Pending"
    PAUSED = "Paused"
    REJECTED = "Rejected"


class Reason(StrEnum):
    """Why a shadow is in its state, or what is wrong with a Service. Stable: scripts match on these."""

    MIRRORING = "Mirroring"
    NO_READY_ENDPOINT = "NoReadyEndpoint"
    PAUSED = "Paused"
    ZERO_PERCENT = "ZeroPercent"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_NOT_EXPOSED = "ServiceNotExposed"
    NO_HTTP_PORT = "NoHttpPort"
    WOULD_EMPTY_SERVICE = "WouldEmptyService"
    INVALID_POLICY = "InvalidPolicy"
    INVALID_LABEL = "InvalidLabel"
    INVALID_ANNOTATION = "InvalidAnnotation"
    INVALID_HOST = "InvalidHost"
    HOST_CONFLICT = "HostConflict"
    MIRROR_LOOP = "MirrorLoop"
    TOO_MANY_SAMPLED = "TooManySampled"


class Protocol(StrEnum):
    """What an HTTP port speaks to its backends, both without TLS."""

    HTTP1 = "http1"
    HTTP2 = "http2"


class Endpoint(NamedTuple):
    """An IP address and port; sorts the same everywhere."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


MILLION = 1_000_000
"""Shares are counted out of a million, the finest that Envoy samples."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a canary's annotations ask for. `per_million` is 0 to 1,000,000; `methods` None means all."""

    per_million: int = MILLION
    methods: frozenset[str] | None = None
    paused: bool = False
    endpoints_from: str | None = None

    @property
    def percent(self) -> str:
        """`per_million` as a person writes it: ``25``, ``0.5``."""
        whole, rest = divmod(self.per_million, 10_000)
        return f"{whole}.{rest:04d}".rstrip("0") if rest else str(whole)


@dataclass(frozen=True, slots=True)
class Mirror:
    """One canary's copies of one Service port. `marker` is the value of ``x-xds-shadow``."""

    deployment: str
    marker: str
    per_million: int
    methods: frozenset[str] | None
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One HTTP port of an exposed Service: a virtual host and its cluster. `port` is the Service's own;
    `domains` are sorted and claimed by no other Service; `mirrors` are sorted by Deployment."""

    service: NamespacedName
    port: int
    protocol: Protocol
    domains: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    mirrors: tuple[Mirror, ...]


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """What became of one marked Deployment. `service` is the label's value as written. `percent` and
    `methods` are empty where the policy could not be read."""

    namespace: str
    deployment: str
    service: str
    state: State
    reason: Reason
    message: str
    percent: str = ""
    methods: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """Everything that hangs on one target name: a Service, or a name that canaries give and that no
    Service has."""

    routes: tuple[RoutePlan, ...] = ()
    shadows: tuple[ShadowStatus, ...] = ()
    problems: tuple[Problem, ...] = ()


NOTHING = ServicePlan()


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole: plans by target, none of them empty."""

    services: Mapping[NamespacedName, ServicePlan] = field(default_factory=lambda: MappingProxyType({}))

    def shadows(self) -> list[ShadowStatus]:
        """Every shadow, sorted by namespace and Deployment."""
        found = (shadow for service in self.services.values() for shadow in service.shadows)
        return sorted(found, key=lambda s: (s.namespace, s.deployment))

    def problems(self) -> list[Problem]:
        """Everything that is wrong with a Service, sorted."""
        return sorted(problem for service in self.services.values() for problem in service.problems)
