"""Every Prometheus metric, in one table. Values are read when they are scraped, so that measuring costs
nothing in between; no label has unbounded values.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


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
    """What is measured, at one moment. Times are seconds since the epoch, durations seconds; `watches` is by
    kind, `shadows` by state, `envoys` by variant of the protocol; `feedback` by what became of an Event."""

    version: str
    ready: bool
    outage_s: float | None
    committed: float
    build_failures: int
    leader: bool
    watches: Mapping[str, Watch] = field(default_factory=dict)
    shadows: Mapping[str, int] = field(default_factory=dict)
    envoys: Mapping[str, int] = field(default_factory=dict)
    feedback: Mapping[str, int] = field(default_factory=dict)


class _Row(NamedTuple):
    """One metric. `read` gives the value of each value of the label, or of "" where there is no label."""

    name: str
    help: str
    label: str
    read: Callable[[Facts], Mapping[str, float]]


def _watches(read: Callable[[Watch], int]) -> Callable[[Facts], Mapping[str, float]]:
    return lambda facts: {kind: read(watch) for kind, watch in facts.watches.items()}


_TABLE: Final = (
    _Row("xds_shadow_build_info", "1, labelled with the version.", "version", lambda f: {f.version: 1}),
    _Row(
        "xds_shadow_ready",
        "1 once every source has been read completely; stays 1 while a source does not answer.",
        "",
        lambda f: {"": f.ready},
    ),
    _Row(
        "xds_shadow_source_up",
        "0 while the source (the Kubernetes API) does not answer; the fleet keeps its last configuration.",
        "",
        lambda f: {"": f.outage_s is None},
    ),
    _Row(
        "xds_shadow_source_outage_seconds",
        "For how long the source has not answered; 0 if it does.",
        "",
        lambda f: {"": f.outage_s or 0.0},
    ),
    _Row(
        "xds_shadow_watch_lists_total",
        "Complete lists of a kind, the first included.",
        "kind",
        _watches(lambda w: w.lists),
    ),
    _Row(
        "xds_shadow_watch_resumes_total",
        "Watches that went on where another had ended.",
        "kind",
        _watches(lambda w: w.resumes),
    ),
    _Row(
        "xds_shadow_watch_events_total",
        "Objects that a watch said were added, changed or deleted.",
        "kind",
        _watches(lambda w: w.events),
    ),
    _Row(
        "xds_shadow_watch_failures_total",
        "Requests for a list or watch that failed.",
        "kind",
        _watches(lambda w: w.failures),
    ),
    _Row(
        "xds_shadow_config_changed_timestamp_seconds",
        "When the configuration for the fleet last changed.",
        "",
        lambda f: {"": f.committed},
    ),
    _Row(
        "xds_shadow_build_failures_total",
        "Changes that could not be built, by a fault of this program; the last good configuration stayed.",
        "",
        lambda f: {"": f.build_failures},
    ),
    _Row("xds_shadow_shadows", "Marked Deployments by state.", "state", lambda f: f.shadows),
    _Row("xds_shadow_envoys", "Connected streams by variant of the protocol.", "variant", lambda f: f.envoys),
    _Row("xds_shadow_leader", "1 if this replica writes the Events.", "", lambda f: {"": f.leader}),
    _Row(
        "xds_shadow_feedback_total",
        "Kubernetes Events by what became of them.",
        "result",
        lambda f: f.feedback,
    ),
)


class Metrics(Collector):
    """The table over the facts that `read` returns."""

    def __init__(self, read: Callable[[], Facts]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        facts = self._read()
        for row in _TABLE:
            yield _family(row, row.read(facts))

    def describe(self) -> Iterable[Metric]:
        """Names without values, so that registering does not read them."""
        return (_family(row, {}) for row in _TABLE)


def _family(row: _Row, values: Mapping[str, float]) -> Metric:
    kind = CounterMetricFamily if row.name.endswith("_total") else GaugeMetricFamily
    family = kind(row.name, row.help, labels=[row.label] if row.label else [])
    for value_of_label, value in values.items():
        family.add_metric([value_of_label] if row.label else [], float(value))
    return family
