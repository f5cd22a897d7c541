"""All Prometheus metrics in one table, from which `docs/metrics.md` is generated.

Values are read at scrape time, so metrics cost next to nothing in between. No label has unbounded values:
those of shadows (`shadow_metrics`) are limited in number.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from xds_server.server.facts import Facts, Watch
from xds_server.server.metric_rows import Histogram, Row
from xds_server.server.shadow_metrics import SHADOWS
from xds_server.xds.totals import TypeTraffic
from xds_server.xds.types import SHORT_NAMES

T = TypeVar("T")


def _watches(read: Callable[[Watch], int]) -> Callable[[Facts], Mapping[str, float]]:
    return lambda facts: {kind: read(watch) for kind, watch in facts.watches.items()}


def _types(read: Callable[[TypeTraffic], T]) -> Callable[[Facts], Mapping[str, T]]:
    return lambda facts: {SHORT_NAMES[url]: read(each) for url, each in facts.traffic.types.items()}


TABLE: Final[tuple[Row | Histogram, ...]] = (
    Row("xds_shadow_build_info", "Always 1; the label has the version.", "version", lambda f: {f.version: 1}),
    Row(
        "xds_shadow_ready",
        "1 once every source has been read completely. Stays 1 during an outage of a source.",
        "",
        lambda f: {"": f.ready},
    ),
    Row(
        "xds_shadow_source_up",
        "0 while the source (the Kubernetes API) does not answer or rejects a required list or watch, else 1."
        " The fleet keeps its last configuration.",
        "",
        lambda f: {"": f.outage_s is None},
    ),
    Row(
        "xds_shadow_source_outage_seconds",
        "Duration of the current outage: time since the source stopped answering or began to reject a list"
        " or watch. 0 if there is no outage.",
        "",
        lambda f: {"": f.outage_s or 0.0},
    ),
    Row(
        "xds_shadow_watch_outage_seconds",
        "Duration of the current outage by kind, the longest if there are several lists or watches of the"
        " kind. 0 if there is none. The last known objects stay in use.",
        "kind",
        lambda f: f.outages,
    ),
    Row(
        "xds_shadow_watch_lists_total",
        "Complete lists of the kind, including the first.",
        "kind",
        _watches(lambda w: w.lists),
    ),
    Row(
        "xds_shadow_watch_resumes_total",
        "Watches that resumed where a previous watch had ended.",
        "kind",
        _watches(lambda w: w.resumes),
    ),
    Row(
        "xds_shadow_watch_events_total",
        "Watch events for added, modified and deleted objects.",
        "kind",
        _watches(lambda w: w.events),
    ),
    Row(
        "xds_shadow_watch_failures_total",
        "List and watch requests that failed.",
        "kind",
        _watches(lambda w: w.failures),
    ),
    Row(
        "xds_shadow_watch_silence_seconds",
        "Time since the last event, bookmark or start of a watch of the kind, the longest if there are"
        " several watches. At most about two minutes for a working watch.",
        "kind",
        lambda f: f.silence,
    ),
    Histogram(
        "xds_shadow_pipeline_stage_seconds",
        "Duration of each stage of a pipeline step. `gather` is the time for which the oldest change waited"
        " for the rest of its batch and for the previous step; `commit` ends when the streams are notified.",
        "stage",
        lambda f: f.stages,
    ),
    Row(
        "xds_shadow_config_behind_seconds",
        "Age of the oldest change that is not in the configuration yet; 0 if there is none. Grows while"
        " building fails.",
        "",
        lambda f: {"": f.behind_s},
    ),
    Row(
        "xds_shadow_config_built_timestamp_seconds",
        "Time of the last successful build, whether or not it changed the configuration. Initially the start"
        " of the process.",
        "",
        lambda f: {"": f.built},
    ),
    Row(
        "xds_shadow_config_changed_timestamp_seconds",
        "Time of the last change of the fleet's configuration.",
        "",
        lambda f: {"": f.committed},
    ),
    Row(
        "xds_shadow_build_failures_total",
        "Changes that failed to build because of a bug in this program. The last valid configuration stays in"
        " use.",
        "",
        lambda f: {"": f.build_failures},
    ),
    Row("xds_shadow_shadows", "Shadows by state.", "state", lambda f: f.shadows),
    Row(
        "xds_shadow_shadows_by_reason",
        "Shadows by the reason of their state. docs/operate.md lists the reasons and what to do.",
        "reason",
        lambda f: f.reasons,
    ),
    Row(
        "xds_shadow_envoys",
        "Open streams by protocol variant.",
        "variant",
        lambda f: {variant.value: count for variant, count in f.traffic.connected.items()},
    ),
    Row(
        "xds_shadow_streams_opened_total",
        "Streams whose first request was accepted, by protocol variant.",
        "variant",
        lambda f: {variant.value: count for variant, count in f.traffic.opened.items()},
    ),
    Row(
        "xds_shadow_streams_ended_total",
        "Streams that ended or were denied, by cause. `client` means the Envoy or the network; all other"
        " causes are this server's.",
        "cause",
        lambda f: {cause.value: count for cause, count in f.traffic.ended.items()},
    ),
    Row(
        "xds_shadow_load_report_streams",
        "Open streams of load reports. If it stays below the sum of `xds_shadow_envoys`, an Envoy was started"
        " with an old bootstrap; `status` names it.",
        "",
        lambda f: {"": f.load_reports.streams},
    ),
    Row(
        "xds_shadow_load_report_entries_total",
        "Clusters in load reports, by result. `rejected`: the Envoy was not asked for the cluster, or the"
        " counts cannot be true.",
        "result",
        lambda f: {"accepted": f.load_reports.accepted, "rejected": f.load_reports.rejected},
    ),
    Row(
        "xds_shadow_access_log_entries_total",
        "Entries of Envoys' access logs, by result. `rejected`: the Envoy's view does not contain the"
        " cluster, or no shadow has it.",
        "result",
        lambda f: {"accepted": f.access_logs.accepted, "rejected": f.access_logs.rejected},
    ),
    Row(
        "xds_shadow_pairs_waiting",
        "Requests whose responses wait to be compared.",
        "",
        lambda f: {"": f.access_logs.waiting},
    ),
    Row("xds_shadow_pushes_total", "xDS responses sent, by type.", "type", _types(lambda t: t.pushes)),
    Row(
        "xds_shadow_pushed_bytes_total",
        "Size of the xDS responses sent, by type.",
        "type",
        _types(lambda t: t.size),
    ),
    Row("xds_shadow_acks_total", "ACKs by type.", "type", _types(lambda t: t.acks)),
    Row("xds_shadow_nacks_total", "NACKs by type.", "type", _types(lambda t: t.nacks)),
    Row(
        "xds_shadow_unanswered_responses",
        "Responses without ACK or NACK so far, at most 64 per type and stream. There is no other queue: the"
        " next response is built from the latest configuration when it can be sent.",
        "type",
        _types(lambda t: t.unanswered),
    ),
    Row(
        "xds_shadow_rejecting_envoys",
        "Streams whose last response of the type was rejected. Their Envoys keep the previous configuration.",
        "type",
        _types(lambda t: t.rejecting),
    ),
    Histogram(
        "xds_shadow_ack_latency_seconds",
        "Time from sending a response to its ACK, including the time for which the Envoy warms.",
        "type",
        _types(lambda t: t.latency),
    ),
    Histogram(
        "xds_shadow_convergence_seconds",
        "Time from the oldest change in a batch to the last ACK. A NACK and a closed stream also end the"
        " wait; a stream that does not answer counts as one minute.",
        "",
        lambda f: {"": f.delivered.took},
    ),
    Row(
        "xds_shadow_convergence_waiting_seconds",
        "Age of the oldest change that some Envoy has not answered yet; 0 if all have.",
        "",
        lambda f: {"": f.delivered.waiting_s},
    ),
    Histogram(
        "xds_shadow_loop_lag_seconds",
        "Observed event-loop delays, sampled 20 times per second since the process became ready.",
        "",
        lambda f: {"": f.lag.late},
    ),
    Row(
        "xds_shadow_loop_longest_lag_seconds",
        "Maximum observed event-loop delay since start.",
        "",
        lambda f: {"": f.lag.longest_s},
    ),
    Row(
        "xds_shadow_leader",
        "1 if this replica is the leader, which writes Kubernetes Events.",
        "",
        lambda f: {"": f.leader},
    ),
    Row(
        "xds_shadow_events_total",
        "Conditions to be written as Kubernetes Events, by result. `written`: a new Event. `repeated`: the"
        " count of an existing Event was raised. `known`: another replica had written it. `failed`: the API"
        " server rejected it. `dropped`: the queue was full.",
        "result",
        lambda f: f.events,
    ),
    *SHADOWS,
)
