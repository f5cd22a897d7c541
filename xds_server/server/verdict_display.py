"""The tables of `verdict` and of the verdict in `explain`, made from messages of the status API. They fit
into 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xds_server.base.text import listed, plain
from xds_server.core.verdict.fields import NOISE_UNKNOWN
from xds_server.pb import evidence_pb2, status_pb2

COLOURS: Final = {"Worse": "red", "NoWorse": "green", "TooEarly": "yellow", "Blind": "magenta"}

_SHOWN_CODES: Final = 4
_SHOWN_GROUPS: Final = 20
_SHOWN_FIELDS: Final = 20
_SHOWN_NAME: Final = 110
_MINUTE_S: Final = 60
_LOST: Final = {
    "not_sent": "not mirrored, or not reported",
    "no_primary": "without the primary's entry",
    "ambiguous": "with an id that came twice",
    "no_id": "without an id",
    "evicted": "removed because too many waited",
}


def verdicts_view(found: status_pb2.GetVerdictsResponse) -> RenderableType:
    """One row for each shadow."""
    if not found.verdicts:
        return Group(Text("No shadows.", style="dim"), *_missing(found.replicas))
    table = _table("SHADOW", "VERDICT", "PAIRS", "CANARY FAILED", "PRIMARY FAILED")
    for each in found.verdicts:
        counts = (each.total.pairs, each.total.canary_failed, each.total.stable_failed)
        table.add_row(_name(each), _verdict(each.verdict), *map(_count, counts))
    return Group(
        table,
        Text("FAILED: pairs in which only that side failed.", style="dim"),
        *_missing(found.replicas),
    )


def verdict_view(found: status_pb2.Verdict, replicas: Iterable[status_pb2.Replica]) -> RenderableType:
    """The verdict on one shadow, with its evidence."""
    head = Text.assemble(f"{_name(found)}: ", _verdict(found.verdict))
    now = Text(f"State: {found.state}, {found.reason}. {found.state_message}")
    return Group(head, now, *verdict_parts(found, replicas))


def verdict_parts(found: status_pb2.Verdict, replicas: Iterable[status_pb2.Replica]) -> list[RenderableType]:
    """The sentence of a verdict, and its evidence."""
    parts: list[RenderableType] = [Text(found.message)]
    if found.HasField("since"):
        parts.append(Text(_evidence(found), style="dim"))
    if found.HasField("slower"):
        slower = (
            "The canary is slower than the baseline."
            if found.slower
            else "It is not slower than the baseline."
        )
        parts.append(Text(slower, style="red" if found.slower else "dim"))
    parts += _missing(replicas)
    if found.silent:
        names = listed(found.silent, len(found.silent), "Envoy")
        parts.append(Text(f"No loads are reported by {names}.", style="red"))
    if found.lost:
        lost = ", ".join(
            f"{_count(count)} {_LOST.get(why, why)}" for why, count in sorted(found.lost.items())
        )
        parts.append(Text(f"Requests that made no pair: {lost}.", style="dim"))
    if found.groups:
        parts += [Text(), *_groups(found.groups)]
    if found.fields:
        parts += [Text(), *_fields(found)]
    if found.skipped:
        skipped = ", ".join(
            f"{_count(count)} {plain(why, _SHOWN_NAME)}" for why, count in sorted(found.skipped.items())
        )
        parts.append(Text(f"Bodies that were not compared: {skipped}.", style="dim"))
    return parts


def progress(found: status_pb2.Verdict, left_s: float) -> str:
    """One line about a verdict that is waited for."""
    return f"{_name(found)}: {found.verdict}, {_count(found.total.pairs)} pairs, {duration(left_s)} left"


def duration(seconds: float) -> str:
    """Such as ``45s`` or ``3m05s``."""
    whole = max(0, round(seconds))
    return f"{whole}s" if whole < _MINUTE_S else f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"


def _name(found: status_pb2.Verdict) -> str:
    kind = "" if found.kind == "Deployment" else f"{found.kind.lower()}/"
    return f"{found.namespace}/{kind}{found.name}"


def _verdict(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def _evidence(found: status_pb2.Verdict) -> str:
    since = found.since.ToDatetime(tzinfo=UTC)
    elapsed = (datetime.now(UTC) - since).total_seconds()
    # Pairs may arrive some seconds before the load reports that let them be expected.
    share = f", {min(found.arrived, 1.0):.0%} of those expected" if found.HasField("arrived") else ""
    pairs = (
        f"Evidence since {since:%Y-%m-%d %H:%M:%S} UTC ({duration(elapsed)}): {_count(found.total.pairs)}"
        f" pairs{share}."
    )
    if not (found.primary.issued or found.mirrored.issued or found.mirrored.dropped):
        return pairs  # nothing was reported, which does not mean that there were none
    rates = ", ".join(
        f"{name} {_count(requests.issued)} ({requests.issued / max(elapsed, 1.0):.1f}/s)"
        for name, requests in (("primary", found.primary), ("mirrored", found.mirrored))
    )
    return f"{pairs} Requests: {rates}{_dropped(found.mirrored)}."


def _dropped(mirrored: evidence_pb2.Requests) -> str:
    return f", {_count(mirrored.dropped)} dropped" if mirrored.dropped else ""


def _groups(groups: Sequence[status_pb2.Pairs]) -> Iterable[RenderableType]:
    table = _table("REQUESTS", "SIDE", "FAILED", "CODES", "P50", "P95", "P99")
    for group in groups[:_SHOWN_GROUPS]:
        name = Text(plain(group.name, _SHOWN_NAME))
        table.add_row(name, "primary", *_side(group.primary, group.stable_failed))
        pairs = Text(f"{_count(group.pairs)} pairs", style="dim")
        table.add_row(pairs, "canary", *_side(group.canary, group.canary_failed))
    yield table
    if (more := len(groups) - _SHOWN_GROUPS) > 0:
        yield Text(f"and {more} more groups: see -o json", style="dim")


def _side(side: status_pb2.Side, failed: int) -> tuple[RenderableType, ...]:
    quantiles = (side.p50, side.p95, side.p99) if side.HasField("p50") else (None, None, None)
    shown = Text(_count(failed), style="red" if failed else "")
    return shown, _codes(side.codes), *map(_latency, quantiles)


def _codes(codes: Mapping[str, int]) -> str:
    most = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{plain(code, _SHOWN_NAME)}: {_count(count)}" for code, count in most[:_SHOWN_CODES])
    return f"{shown}, …" if len(most) > _SHOWN_CODES else shown


def _fields(found: status_pb2.Verdict) -> Iterable[RenderableType]:
    table = _table("FIELD THAT DIFFERS", "HOW", "REQUESTS", "CANARY", "BASELINE")
    for each in found.fields[:_SHOWN_FIELDS]:
        style = "red" if each.differs else "dim" if each.HasField("differs") else ""
        table.add_row(
            Text(plain(each.path, _SHOWN_NAME), style=style),
            each.kind,
            Text(plain(each.group, _SHOWN_NAME)),
            f"{_count(each.differing)} of {_count(each.compared)}",
            f"{_count(each.noise)} of {_count(each.baseline)}" if each.baseline else "-",
        )
    yield table
    if (more := len(found.fields) - _SHOWN_FIELDS) > 0:
        yield Text(f"and {more} more fields: see -o json", style="dim")
    if found.noise_unknown:
        yield Text(NOISE_UNKNOWN, style="dim")


def _missing(replicas: Iterable[status_pb2.Replica]) -> list[RenderableType]:
    return [
        Text(f"Replica {plain(each.name, _SHOWN_NAME)}: {each.problem}.", style="red")
        for each in replicas
        if each.problem
    ]


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _count(number: int) -> str:
    return f"{number:,}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
