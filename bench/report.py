"""What was measured, as tables for a terminal and as the page ``docs/performance.md``. No figure is written
by hand: both come from the same results.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.peers import tables
from bench.policy import tables as policy_tables

_ABOUT_PAGE = (
    "`make bench` writes this page from its last run. The machine was shared, so compare ratios, and"
    " measure on your own machines."
)
_ABOUT_STARTS = (
    "`xds-shadow serve` starts on an embedded Kubernetes API, which is another process, and writes its"
    " ready file when it can serve the fleet. The time includes Python's start and imports. The yardstick,"
    " in the same run, is a program that decodes the same lists with msgspec, and builds and serializes the"
    " same messages once, nested as protobuf's documentation nests them. The bound is the same with values"
    " that are ready for the messages; no program can reach it."
)
_ABOUT_STEADY = (
    "Changes are spread over all Services. Every twentieth change is a probe. Its time runs from the API's"
    " write until a delta client that subscribes to the probed Services has the new ClusterLoadAssignment."
    " Under a steady load the pipeline gathers changes for up to half a second, which is most of the delay."
)
_ABOUT_ONE_LABEL = (
    "The measurement begins with the request that sets the label on a Deployment. It ends when a delta"
    " client that has everything has the canary's cluster, its ClusterLoadAssignment, and the Service's"
    " virtual host with the mirror. The figure is processor time of the whole control plane: watch,"
    " translation and push."
)
_ABOUT_MEMORY = (
    "The whole control plane on an embedded Kubernetes API. Half of the streams use delta, half state of"
    " the world. Each has every cluster, ClusterLoadAssignment and listener; delta streams also have the"
    " virtual hosts. Then they disconnect, and endpoints change with one connected stream that has"
    " everything."
)
_ABOUT_LABEL = (
    "The demo's fleet: two real Envoys, real backends, the embedded Kubernetes API. Requests are sent one"
    " after another until the canary gets a mirrored one. The difference between the two kinds of rows is"
    " kubectl."
)
_RECOMMENDED = "a snapshot cache for clusters and a linear cache for assignments, as its README suggests"
_LINEAR = "a linear cache for every type"
_ABOUT_ADS = (
    "The ADS server alone, without sources, beside a Go program with {peer}, with {caches} (see"
    " `--linear`). Both serve the same bytes and the same changes. One client process acts as all Envoys,"
    " each with its own connection, and acknowledges everything. The scenarios are: all connect for the"
    " first time; one endpoint changes; one cluster changes; one label adds a canary's cluster and"
    " endpoints; all reconnect with what they have. CPU is the server's processor time for each change and"
    " stream. It includes the commit and the ACKs, and excludes the cost of the commit command, which is"
    " measured separately. The servers may send different numbers of responses for a change (the next"
    " table), so the ratio for one response with its ACK is given, too. Time runs from the commit until the"
    " client has sent the last ACK. It includes the client, which shares the processors with the server;"
    " the last columns have the client's processor time. The servers take turns. Figures are medians over"
    " the rounds. A ratio is ours divided by theirs, so less than 1 is better for us."
)
_ABOUT_ADS_SIZES = (
    "From the same runs: responses and their bytes to one stream for each change, and the server's"
    " resident memory with all streams connected. After a changed cluster our server sends its"
    " ClusterLoadAssignment again, because Envoy warms the cluster until it arrives. The other server does"
    " not, so it has less to do there."
)


_HARMLESS = 1.25


class Section(NamedTuple):
    """A table with what is to be said about it."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    remark: str = ""


def sections(results: dict[str, Any]) -> list[Section]:
    """Of everything that was measured."""
    found = []
    if scale := results.get("scale"):
        found += [_starts(scale), _steady(scale["steady"]), _one_label(scale["one_label"])]
    if memory := results.get("memory"):
        found.append(_memory(memory))
    if label := results.get("label"):
        found.append(_label(label))
    policy = results.get("policy", {})
    if "hostile" in policy:
        found.append(_hostile(policy["hostile"]))
    if "cost" in policy:
        found.append(_cost(policy["cost"]))
    if ads := results.get("ads"):
        found += _ads(ads)
    return found


def _starts(scale: dict[str, Any]) -> Section:
    rows = [
        (
            f"{each['services']:,}",
            f"{each['endpoints']:,}",
            f"{each['ready_s']:.2f} s",
            f"{each['ready_cpu_s']:.2f} s",
            f"{each['ready_peak_mib']:.0f} MiB",
            f"{each['decode_s'] + each['build_s']:.2f} s",
            f"{each['ratio']:.1f}",
            f"{each['decode_s'] + each['least_build_s']:.2f} s",
            f"{each['least_ratio']:.1f}",
        )
        for each in scale["starts"]
    ]
    return Section(
        "From start to ready",
        _ABOUT_STARTS,
        ("Services", "endpoints", "ready", "CPU", "peak memory", "yardstick", "ratio", "bound", "ratio"),
        rows,
        f"Memory: {scale['mib_per_1000_services']:.1f} MiB for each 1,000 Services with 10 endpoints each"
        " (the difference between the two rows).",
    )


def _steady(steady: dict[str, Any]) -> Section:
    halves = f"{steady['first_half_ms']:.0f} / {steady['second_half_ms']:.0f} ms"
    rows = [
        ("changes made / taken by the watch", f"{steady['made']:,} / {steady['taken']:,}"),
        ("lost probes", f"{steady['lost']}"),
        ("change to Envoy: median", f"{steady['median_ms']:.0f} ms"),
        ("change to Envoy: 99th percentile", f"{steady['p99_ms']:.0f} ms"),
        ("change to Envoy: worst", f"{steady['worst_ms']:.0f} ms"),
        ("mean of the first / second half", halves),
        ("time until the last probe arrived", f"{steady['drained_s']:.2f} s"),
        ("CPU of the control plane", f"{steady['cpu_share']:.0%} of one processor"),
        ("CPU of the Kubernetes API", f"{steady['api_cpu_share']:.0%} of one processor"),
        ("memory at the end (growth)", f"{steady['rss_mib']:.0f} MiB ({steady['grown_mib']:.0f} MiB)"),
        ("maximum event-loop delay", f"{steady['longest_lag_ms']:.0f} ms"),
        ("maximum delay of the load generator", f"{steady['generator_behind_ms']:.0f} ms"),
        ("keeps up", "yes" if steady["keeps_up"] else "NO"),
    ]
    return Section(
        f"Steady state: {steady['rate']} endpoint changes a second for {steady['seconds']} s",
        f"{steady['services']:,} Services, {steady['endpoints']:,} endpoints. {_ABOUT_STEADY}",
        ("what", "measured"),
        rows,
    )


def _one_label(labels: Sequence[dict[str, Any]]) -> Section:
    few, *_, many = labels
    rows = [
        (
            f"{each['services']:,}",
            f"{each['cpu_us']:,.0f} µs",
            f"{each['responses']:g}",
            f"{each['bytes']:,.0f}",
        )
        for each in labels
    ]
    return Section(
        f"What one label costs, median of {few['times']}",
        _ABOUT_ONE_LABEL,
        ("Services", "CPU", "responses", "bytes"),
        rows,
        f"Among {many['services']:,} Services it costs {many['cpu_us'] / few['cpu_us']:.2f} times what it"
        f" costs among {few['services']:,}, and {many['bytes'] / few['bytes']:.2f} times the bytes.",
    )


def _memory(memory: dict[str, Any]) -> Section:
    changing = memory["changing_mib"]
    every = memory["changes"] // len(changing)
    rows = [
        ("one stream that has everything", f"{memory['one_mib']:.0f} MiB"),
        (f"{memory['streams']:,} streams that have everything", f"{memory['connected_mib']:.0f} MiB"),
        ("peak while they connected", f"{memory['peak_mib']:.0f} MiB"),
        *(
            (f"after {every * number:,} changed endpoints", f"{each:.0f} MiB")
            for number, each in enumerate(changing, 1)
        ),
    ]
    return Section(
        f"Memory: {memory['streams']:,} streams, {memory['services']:,} Services,"
        f" {memory['endpoints']:,} endpoints",
        _ABOUT_MEMORY,
        ("when", "resident"),
        rows,
        f"Changes came at {memory['rate']:,} a second.",
    )


def _label(label: dict[str, Any]) -> Section:
    rows = [
        (envoy, what, f"{found['median_ms']:.0f} ms", f"{found['worst_ms']:.0f} ms")
        for what, by_envoy in (
            ("the start of `kubectl label`", label["kubectl"]),
            ("the same request, without kubectl", label["request"]),
        )
        for envoy, found in by_envoy.items()
    ]
    return Section(
        f"From a label to the first mirrored request, {label['times']} times",
        _ABOUT_LABEL,
        ("Envoy", "from", "median", "worst"),
        rows,
        f"Requests that failed, or that got the canary's response: {label['failures']}.",
    )


def _hostile(hostile: dict[str, Any]) -> Section:
    about = policy_tables.ABOUT_HOSTILE.format(size=f"{hostile['upload'] / 1e6:g}", **hostile)
    return Section(
        "A canary that misbehaves",
        about,
        policy_tables.HOSTILE_COLUMNS,
        policy_tables.hostile(hostile),
        policy_tables.within(hostile, _HARMLESS),
    )


def _cost(cost: dict[str, Any]) -> Section:
    return Section(
        "What mirroring costs an Envoy by request",
        policy_tables.ABOUT_COST.format(**cost),
        policy_tables.COST_COLUMNS,
        policy_tables.cost(cost),
        f"Failed requests, mirrored ones included: {cost['failed']}.",
    )


def _ads(ads: dict[str, Any]) -> list[Section]:
    peer = ads["peer"] or "go-control-plane"
    about = _ABOUT_ADS.format(peer=peer, caches=_LINEAR if ads["linear"] else _RECOMMENDED)
    time_rows, size_rows = tables.times(ads), tables.sizes(ads)
    return [
        Section(
            "Beside go-control-plane: processor time and time",
            about,
            tables.TIME_COLUMNS,
            time_rows,
            f"{tables.verdicts(ads)} {tables.remarks(ads)}".strip(),
        ),
        Section(
            "Beside go-control-plane: bytes and memory", _ABOUT_ADS_SIZES, tables.SIZE_COLUMNS, size_rows
        ),
    ]


def show(results: dict[str, Any], console: Console) -> None:
    """Print it all."""
    for section in sections(results):
        table = Table(title=section.title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in section.columns:
            table.add_column(column)
        for row in section.rows:
            table.add_row(*row)
        console.print(table)
        console.print(section.remark or "")


def page(results: dict[str, Any]) -> str:
    """``docs/performance.md``."""
    machine = results["machine"]
    software = f"{results['date']}, version {results['version']}, Python {results['python']}"
    hardware = f"{machine['processors']}, {machine['memory']} of memory, Linux {machine['kernel']}"
    parts = ["# Performance", _ABOUT_PAGE, f"{software}; {hardware}."]
    for section in sections(results):
        parts += [f"## {section.title}", section.about, _markdown(section)]
        if section.remark:
            parts.append(section.remark)
    return "\n\n".join(parts) + "\n"


def _markdown(section: Section) -> str:
    lines = [section.columns, tuple("---" for _ in section.columns), *section.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
