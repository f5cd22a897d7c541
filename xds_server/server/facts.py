"""The values that `status`, `explain`, the page and the metrics show. Each describes one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xds_server.base.ids import NamespacedName
from xds_server.base.lag import Lag
from xds_server.base.latency import Latency
from xds_server.core.conditions import Condition
from xds_server.core.plan import PortPlan, ShadowStatus
from xds_server.core.verdict.figures import Figures
from xds_server.core.verdict.judgement import Verdict
from xds_server.core.verdict.traffic import Traffic as ShadowTraffic
from xds_server.xds.delivery import Delivered
from xds_server.xds.loads import Reports
from xds_server.xds.resource import Resource
from xds_server.xds.totals import Traffic
from xds_server.xds.upstream_requests import Entries


class Watch(Protocol):
    """Counts of the watches of one kind since the start."""

    @property
    def lists(self) -> int: ...
    @property
    def resumes(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def failures(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the metrics show. Times are seconds since the epoch, durations seconds. `watches`, `outages` and
    `silence` are by kind, `stages` by stage, `shadows` by state, `reasons` are the shadows by reason,
    `events` is by the outcome of writing an Event. `lag` is the event loop's; `traffic`, `load_reports` and
    `access_logs` are the fleet's. `committed` is when the configuration last changed, `built` when it was
    last built without an error; `behind_s` is the age of the oldest change that is not served yet.
    `figures`, `verdicts` and `shadow_traffic` are by the namespace and the key of the canary."""

    version: str
    ready: bool
    outage_s: float | None
    committed: float
    build_failures: int
    leader: bool
    built: float = 0.0
    behind_s: float = 0.0
    watches: Mapping[str, Watch] = field(default_factory=dict)
    outages: Mapping[str, float] = field(default_factory=dict)
    silence: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Latency] = field(default_factory=dict)
    delivered: Delivered = field(default_factory=Delivered)
    shadows: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    lag: Lag = field(default_factory=Lag)
    traffic: Traffic = field(default_factory=Traffic)
    load_reports: Reports = field(default_factory=Reports)
    access_logs: Entries = field(default_factory=Entries)
    figures: Mapping[tuple[str, str], Figures] = field(default_factory=dict)
    verdicts: Mapping[tuple[str, str], Verdict] = field(default_factory=dict)
    shadow_traffic: Mapping[tuple[str, str], ShadowTraffic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What `status` and the page show. Times are seconds since the epoch. `committed` is when the
    configuration last changed. `versions` are by the short name of the type; there
    are none before the first list is complete. `outage_s` is for how long the
    source has not answered, or has rejected requests, or None. `gateways` are those that route a shadowed
    Service. `conditions` hold now, sorted. `nacks` are by the canary that they concern. `changes` are the
    last conditions that were reported, the newest first."""

    version: str
    started: float
    committed: float
    build_failures: int
    source: str
    outage_s: float | None
    versions: dict[str, str]
    shadows: list[ShadowStatus]
    gateways: Mapping[NamespacedName, tuple[str, ...]] = field(default_factory=dict)
    conditions: Sequence[Condition]
    nacks: Mapping[NamespacedName, Sequence[Condition]]
    changes: Sequence[Condition] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRoute:
    """A routed port with the names that Envoy knows it by."""

    plan: PortPlan
    cluster: str
    shadow_cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What `explain` shows of one shadow. `conditions` are of its workload and its Service; `nacks` concern
    its canary."""

    shadow: ShadowStatus
    routes: list[ExplainedRoute]
    conditions: Sequence[Condition]
    resources: list[Resource]
    nacks: Sequence[Condition] = ()
