"""The plan: routes and mirrors of every Service, and the state of every shadow.

All types are immutable and compared by equality. Later stages do no work for a Service whose plan is equal to
its previous one. The types that exist once per Service or endpoint are msgspec Structs: creating one takes
0.1 µs, and creating a frozen dataclass of ten fields takes 3 µs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import EVERYTHING, UNTREATED, Selection, Treatment
from xds_server.core.conditions import Condition
from xds_server.core.objects import Kind
from xds_server.core.sensitive import Sensitive
from xds_server.core.terms import MILLION, HeaderCondition, PathPrefix, Setting
from xds_server.core.workload_names import named_by

GATEWAY: Final = "gateway"
"""The gateway without a gateway file. Each gateway has a route configuration of its name."""


class State(StrEnum):
    """The state of a shadow. A user's mistake is a state with a reason and never an exception."""

    ACTIVE = "Active"
    PENDING = "Pending"
    PAUSED = "Paused"
    EXPIRED = "Expired"
    REJECTED = "Rejected"
    STOPPING = "Stopping"
    """Nothing is to be mirrored any more, and not every Envoy has acknowledged that."""


class Protocol(StrEnum):
    """The protocol of an HTTP port, without TLS."""

    HTTP1 = "http1"
    HTTP2 = "http2"


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """An IP address and port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Credential(NamedTuple):
    """The value of ``Authorization`` in mirrored requests. `source` names the Secret and its key."""

    source: str
    value: Sensitive


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """The mirroring of one Service port to one canary. `marker` is the value of ``x-xds-shadow``.
    `correlated` samples select the same requests. `compare` is whether bodies of responses are compared, and
    `baseline` whether what differs anyhow is measured, too."""

    canary: str
    marker: str
    endpoints: tuple[Endpoint, ...]
    selection: Selection = EVERYTHING
    per_million: int
    correlated: bool = False
    treatment: Treatment = UNTREATED
    credential: Credential | None = None
    compare: bool = False
    baseline: bool = False

    @property
    def baselines(self) -> int:
        """How often a sampled request is mirrored to the stable Pods: for the body that the canary's is
        compared with, and once more to see how two responses of the stable version differ."""
        return self.compare + self.baseline


class Match(NamedTuple):
    """Requests under `path`, by `method`, that meet all of `headers`; None and empty match any."""

    path: PathPrefix | None = None
    method: str | None = None
    headers: frozenset[HeaderCondition] = frozenset()


class Route(NamedTuple):
    """Matches requests whose random number of a million is below `below`, unless an earlier route matches;
    they are `mirrored` to these canaries. `label` is the route's name in the access log. `admitted`: it only
    matches requests that the limits (`max-rps`) of these canaries have admitted. `limited`: the limits of
    these canaries decide whether an earlier route, with some of them in `admitted`, matches instead. It is
    `sampled` if it only matches requests of the sample that are safe to repeat (`SAFE`). With `baselines` it
    mirrors those that the limit of the sample has admitted to the baselines of these canaries, too; without,
    that limit decides whether such a route matches instead."""

    label: str
    match: Match = Match()
    below: int = MILLION
    mirrored: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    sampled: bool = False
    baselines: tuple[str, ...] = ()


SAFE: Final = ("GET", "HEAD")
"""The methods of requests that the stable version may get once more."""


class PortPlan(msgspec.Struct, frozen=True):
    """One HTTP port of an exposed Service: its clusters, and a virtual host in the route configuration of
    each of `gateways`, which are sorted. `number` is the Service's own; `name` identifies the port, and is
    empty if it has none. `domains` are sorted, and no other Service has them. `mirrors` are sorted by canary.
    `routes` are in order, and the last one matches every request. `closed`, of the first port, are the
    Service's own names with the numbers of its ports that are not routed."""

    service: NamespacedName
    name: str
    number: int
    protocol: Protocol
    domains: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    mirrors: tuple[Mirror, ...] = ()
    routes: tuple[Route, ...] = (Route("all"),)
    gateways: tuple[str, ...] = (GATEWAY,)
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """The state of one marked workload. `canary` is its key (`objects.workload_key`), `service` the label's
    value. `percent`, `methods` and `settings` are empty if the policy cannot be read."""

    namespace: str
    canary: str
    service: str
    state: State
    reason: str
    message: str
    percent: str = ""
    methods: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def kind(self) -> Kind:
        """The kind of the workload."""
        return named_by(self.canary)[0]

    @property
    def name(self) -> str:
        """The name of the workload."""
        return named_by(self.canary)[1]


class ServicePlan(msgspec.Struct, frozen=True):
    """The plan for one target: a Service, or a name in a label that no Service has. Without other changes it
    is valid from `since` until `expires`, in seconds since the epoch. `kept` are the canaries that stay in
    live traffic, because the Service would have no endpoint without them."""

    ports: tuple[PortPlan, ...] = ()
    shadows: tuple[ShadowStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()
    kept: frozenset[str] = frozenset()
    since: float | None = None
    expires: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it is valid at `now`."""
        return (self.since is None or self.since <= now) and (self.expires is None or now < self.expires)


NOTHING = ServicePlan()


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan: by target, without empty plans, and the conditions of Namespaces."""

    services: Mapping[NamespacedName, ServicePlan] = field(default_factory=lambda: MappingProxyType({}))
    namespaces: Mapping[str, tuple[Condition, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def shadows(self) -> list[ShadowStatus]:
        """Every shadow, sorted by namespace and canary."""
        found = (shadow for service in self.services.values() for shadow in service.shadows)
        return sorted(found, key=lambda s: (s.namespace, s.canary))

    def gateways(self) -> dict[NamespacedName, tuple[str, ...]]:
        """The gateways of each shadowed Service that is routed."""
        return {
            target: service.ports[0].gateways
            for target, service in self.services.items()
            if service.shadows and service.ports
        }

    def conditions(self) -> list[Condition]:
        """Every condition of a Service or a Namespace, sorted."""
        services = (each for service in self.services.values() for each in service.conditions)
        namespaces = (each for conditions in self.namespaces.values() for each in conditions)
        return sorted([*services, *namespaces])
