"""What the page draws of each shadow: its verdict with figures, the requests of the last half hour, and the
latencies of both sides. Of one shadow also its groups of requests, and the fields that differ. Pure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.history import STEP_S, Series
from xds_server.core.verdict.tally import BOUNDS_S
from xds_server.server.verdict_report import GroupReport, ShadowVerdict, SideReport, VerdictReport

_COARSE: Final = 2
"""Buckets of a tally for each bar."""

_MOST_CODES: Final = 5
_MOST_FIELDS: Final = 50

NOTHING: Final = Series()


def pictures(report: VerdictReport, series: Mapping[NamespacedName, Series]) -> dict[str, Any]:
    """The document of all shadows. `step_s` are the seconds of a step of the series, `bounds_s` the upper
    bounds of the bars, `replicas` those whose evidence is missing, with the reason."""
    return {
        "pictures": [
            _picture(each, series.get(NamespacedName(each.namespace, each.canary), NOTHING))
            for each in report.shadows
        ],
        "step_s": STEP_S,
        "bounds_s": [round(bound, 6) for bound in BOUNDS_S[_COARSE - 1 :: _COARSE]],
        "replicas": [each._asdict() for each in report.missing],
    }


def details(verdict: ShadowVerdict) -> dict[str, Any]:
    """The document of one shadow."""
    return {
        "groups": [_group(each) for each in verdict.groups],
        "fields": [
            {
                "group": each.field.group,
                "path": each.field.path,
                "kind": each.field.kind.value,
                "differing": each.differing,
                "compared": each.compared,
                "noise": each.noise,
                "baseline": each.baseline,
                "differs": each.differs,
            }
            for each in verdict.fields[:_MOST_FIELDS]
        ],
        "more_fields": max(len(verdict.fields) - _MOST_FIELDS, 0),
        "compared": verdict.compared,
        "noise_unknown": verdict.noise_unknown,
        "unpaired": {lost.value: count for lost, count in verdict.lost.items()},
        "skipped": dict(verdict.skipped),
        "silent": len(verdict.silent),
    }


def _picture(verdict: ShadowVerdict, series: Series) -> dict[str, Any]:
    total, since = verdict.total, verdict.since
    return {
        "namespace": verdict.namespace,
        "name": verdict.name,
        "kind": verdict.kind.value,
        "service": verdict.service,
        "verdict": verdict.verdict.value,
        "message": verdict.message,
        "since": None if since is None else datetime.fromtimestamp(since, UTC).isoformat(),
        "pairs": total.pairs,
        "canary_failed": total.canary_failed,
        "stable_failed": total.stable_failed,
        "arrived": verdict.judgement.arrived,
        "primary": verdict.primary._asdict(),
        "mirrored": verdict.mirrored._asdict(),
        "changed_fields": sum(bool(each.differs) for each in verdict.fields),
        "slower": verdict.slower,
        "series": series._asdict(),
        "latency": {"primary": _latencies(total.primary), "canary": _latencies(total.shadow)},
    }


def _latencies(side: SideReport) -> dict[str, Any]:
    bars = [0] * (len(BOUNDS_S) // _COARSE + 1)
    for bucket, count in side.latencies.items():
        bars[min(bucket // _COARSE, len(bars) - 1)] += count
    return {"bars": bars, **_quantiles(side)}


def _group(group: GroupReport) -> dict[str, Any]:
    return {
        "name": group.name,
        "pairs": group.pairs,
        "canary_failed": group.canary_failed,
        "stable_failed": group.stable_failed,
        "differing_types": group.differing_types,
        "primary": _side(group.primary),
        "canary": _side(group.shadow),
    }


def _side(side: SideReport) -> dict[str, Any]:
    return {"codes": side.codes[:_MOST_CODES], **_quantiles(side)}


def _quantiles(side: SideReport) -> dict[str, float | None]:
    return {"p50": side.p50, "p95": side.p95, "p99": side.p99}
