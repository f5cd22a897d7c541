"""Every Prometheus metric, in one table; `docs/metrics.md` is written from it. Values are read when they are
scraped, so that measuring costs next to nothing in between; no label has unbounded values.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from xds_server.base.latency import Latency
from xds_server.server.facts import Facts, Watch
from xds_server.xds.totals import TypeTraffic
from xds_server.xds.types import SHORT_NAMES

T = TypeVar("T")


class Row(NamedTuple):
    """One metric. `read` gives the value of each value of the label, or of "" where there is no label. A name
    that ends in ``_total`` is a counter's, any other a gauge's."""

    name: str
    help: str
    label: str
    read: Callable[[Facts], Mapping[str, float]]


class Histogram(NamedTuple):
    """One metric that is a distribution."""

    name: str
    help: str
    label: str
    read: Callable[[Facts], Mapping[str, Latency]]


def _watches(read: Callable[[Watch], int]) -> Callable[[Facts], Mapping[str, float]]:
    return lambda facts: {kind: read(watch) for kind, watch in facts.watches.items()}


def _types(read: Callable[[TypeTraffic], T]) -> Callable[[Facts], Mapping[str, T]]:
    return lambda facts: {SHORT_NAMES[url]: read(each) for url, each in facts.traffic.types.items()}


TABLE: Final[tuple[Row | Histogram, ...]] = (
    Row("xds_shadow_build_info", "1, labelled with the version.", "version", lambda f: {f.version: 1}),
    Row(
        "xds_shadow_ready",
        "1 once every source has been read completely; stays 1 while a source does not answer or refuses.",
        "",
        lambda f: {"": f.ready},
    ),
    Row(
        "xds_shadow_source_up",
        "0 while the source (the Kubernetes API) does not answer, or refuses, a list or watch that is needed;"
        " the fleet keeps its last configuration.",
        "",
        lambda f: {"": f.outage_s is None},
    ),
    Row(
        "xds_shadow_source_outage_seconds",
        "For how long the source has not answered, or has refused, some list or watch; 0 if all is well.",
        "",
        lambda f: {"": f.outage_s or 0.0},
    ),
    Row(
        "xds_shadow_watch_outage_seconds",
        "For how long a list or watch of the kind has not been answered, or has been refused; the longest,"
        " and 0 if all are. What was last known of the kind stays in use.",
        "kind",
        lambda f: f.outages,
    ),
    Row(
        "xds_shadow_watch_lists_total",
        "Complete lists of a kind, the first included.",
        "kind",
        _watches(lambda w: w.lists),
    ),
    Row(
        "xds_shadow_watch_resumes_total",
        "Watches that went on where another had ended.",
        "kind",
        _watches(lambda w: w.resumes),
    ),
    Row(
        "xds_shadow_watch_events_total",
        "Objects that a watch said were added, changed or deleted.",
        "kind",
        _watches(lambda w: w.events),
    ),
    Row(
        "xds_shadow_watch_failures_total",
        "Requests for a list or watch that failed.",
        "kind",
        _watches(lambda w: w.failures),
    ),
    Row(
        "xds_shadow_watch_silence_seconds",
        "Since a watch of the kind last said anything: an event, a bookmark, that it goes on. Of several"
        " watches of a kind the longest. A working one is silent for about two minutes at most.",
        "kind",
        lambda f: f.silence,
    ),
    Histogram(
        "xds_shadow_pipeline_stage_seconds",
        "What a step took by stage: `gather` is how long its eldest change waited for the others of its burst"
        " and for the step before, `commit` ends when those who serve streams know.",
        "stage",
        lambda f: f.stages,
    ),
    Row(
        "xds_shadow_config_behind_seconds",
        "For how long the eldest change has been waiting that is not in the configuration yet; 0 if there is"
        " none. It grows while building fails.",
        "",
        lambda f: {"": f.behind_s},
    ),
    Row(
        "xds_shadow_config_built_timestamp_seconds",
        "When building last succeeded, whether or not it changed anything; at first, when the process began.",
        "",
        lambda f: {"": f.built},
    ),
    Row(
        "xds_shadow_config_changed_timestamp_seconds",
        "When the configuration for the fleet last changed.",
        "",
        lambda f: {"": f.committed},
    ),
    Row(
        "xds_shadow_build_failures_total",
        "Changes that could not be built, by a fault of this program; the last good configuration stayed.",
        "",
        lambda f: {"": f.build_failures},
    ),
    Row("xds_shadow_shadows", "Marked Deployments by state.", "state", lambda f: f.shadows),
    Row(
        "xds_shadow_envoys",
        "Connected streams by variant of the protocol.",
        "variant",
        lambda f: {variant.value: count for variant, count in f.traffic.connected.items()},
    ),
    Row(
        "xds_shadow_streams_opened_total",
        "Streams whose first request was accepted, by variant of the protocol.",
        "variant",
        lambda f: {variant.value: count for variant, count in f.traffic.opened.items()},
    ),
    Row(
        "xds_shadow_streams_ended_total",
        "Streams that ended or were refused, by cause: `client` is the Envoy or the network, all others this"
        " server.",
        "cause",
        lambda f: {cause.value: count for cause, count in f.traffic.ended.items()},
    ),
    Row("xds_shadow_pushes_total", "Responses sent, by type.", "type", _types(lambda t: t.pushes)),
    Row("xds_shadow_pushed_bytes_total", "Bytes of the responses sent.", "type", _types(lambda t: t.size)),
    Row("xds_shadow_acks_total", "Responses that an Envoy accepted.", "type", _types(lambda t: t.acks)),
    Row("xds_shadow_nacks_total", "Responses that an Envoy refused.", "type", _types(lambda t: t.nacks)),
    Row(
        "xds_shadow_unanswered_responses",
        "Responses that an Envoy has neither accepted nor refused yet, at most 64 of a type and stream. There"
        " is no other queue: what is not sent yet is made of the newest configuration when it can be sent.",
        "type",
        _types(lambda t: t.unanswered),
    ),
    Row(
        "xds_shadow_refusing_envoys",
        "Streams that refused what they were sent last of the type and keep what they had.",
        "type",
        _types(lambda t: t.refusing),
    ),
    Histogram(
        "xds_shadow_ack_latency_seconds",
        "From sending a response to its acknowledgement, the time that the Envoy warms included.",
        "type",
        _types(lambda t: t.latency),
    ),
    Histogram(
        "xds_shadow_convergence_seconds",
        "From seeing a change, the eldest of its burst, to the last acknowledgement of what came of it. Who"
        " refuses or leaves is not waited for; who does not answer for a minute counts as that long.",
        "",
        lambda f: {"": f.delivered.took},
    ),
    Row(
        "xds_shadow_convergence_waiting_seconds",
        "For how long the eldest change has been under way that some Envoy has not answered yet; 0 if all"
        " have.",
        "",
        lambda f: {"": f.delivered.waiting_s},
    ),
    Histogram(
        "xds_shadow_loop_lag_seconds",
        "By how much this process woke up late, twenty times a second since it was ready.",
        "",
        lambda f: {"": f.lag.late},
    ),
    Row(
        "xds_shadow_loop_longest_lag_seconds",
        "The most of it: no push of this process was held up for longer by another, or by building.",
        "",
        lambda f: {"": f.lag.longest_s},
    ),
    Row("xds_shadow_leader", "1 if this replica writes the Events.", "", lambda f: {"": f.leader}),
    Row(
        "xds_shadow_feedback_total",
        "Kubernetes Events by what became of them.",
        "result",
        lambda f: f.feedback,
    ),
)
