"""What the metrics are made of: the facts of one moment, gathered by `app` when somebody scrapes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xds_server.base.lag import Lag
from xds_server.base.latency import Latency
from xds_server.xds.delivery import Delivered
from xds_server.xds.totals import Traffic


class Watch(Protocol):
    """What the watches of one kind have done since the start."""

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
    """What is measured, at one moment. Times are seconds since the epoch, durations seconds; `watches`,
    `outages` and `silence` are by kind, `stages` by stage, `shadows` by state, `feedback` by what became of
    an Event; `lag` is the event loop's, `traffic` the fleet's. `committed` and `built` are when something new
    was served and when building last succeeded; `behind_s` is how long the eldest change waits for that."""

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
    feedback: Mapping[str, int] = field(default_factory=dict)
    lag: Lag = field(default_factory=Lag)
    traffic: Traffic = field(default_factory=Traffic)
