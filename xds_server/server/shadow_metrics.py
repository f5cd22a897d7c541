"""The metrics of each shadow.

Their number is bounded: `server/shadow_stats.py` has figures of so many shadows, and the sum of the others.
Counters are of the Envoys of this replica, so Prometheus adds those of all replicas. The verdict is that of
all replicas together, which each of them shows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.figures import LATENCY_BOUNDS_S, Figures
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.judgement import Verdict
from xds_server.core.verdict.record import Requests
from xds_server.core.verdict.traffic import Traffic
from xds_server.server.facts import Facts
from xds_server.server.metric_rows import Buckets, Histogram, Row

_SHADOW: Final = ("namespace", "deployment")
_Labels = tuple[str, ...]


def _each(read: Callable[[Figures], Mapping[str, int]]) -> Callable[[Facts], dict[_Labels, float]]:
    def of(facts: Facts) -> Iterator[tuple[_Labels, float]]:
        for shadow, figures in facts.figures.items():
            for word, count in read(figures).items():
                yield (*shadow, word), count

    return lambda facts: dict(of(facts))


def _finished(requests: Requests) -> dict[str, int]:
    return {"succeeded": requests.succeeded, "failed": requests.failed}


def _outcomes(counts: Counts) -> dict[str, int]:
    alone = counts.canary_failed + counts.stable_failed
    return {
        "canary_failed": counts.canary_failed,
        "stable_failed": counts.stable_failed,
        "same": counts.pairs - alone,
    }


def _latencies(facts: Facts) -> dict[_Labels, Buckets]:
    return {
        (*shadow, side): Buckets(counts)
        for shadow, figures in facts.figures.items()
        for side, counts in (("primary", figures.primary_latency), ("canary", figures.canary_latency))
    }


def _states(found: Mapping[tuple[str, str], StrEnum], words: Iterable[StrEnum]) -> dict[_Labels, float]:
    return {(*shadow, word.value): word is state for shadow, state in found.items() for word in words}


SHADOWS: Final[tuple[Row | Histogram, ...]] = (
    Row(
        "xds_shadow_mirrored_requests_total",
        "Mirrored requests by result, as the Envoys of this replica report them. `failed` is a 5xx response,"
        " a gRPC status that Envoy counts as one, a reset or a timeout. `dropped`: not sent, because as many"
        " were in flight as `max-concurrent` allows.",
        (*_SHADOW, "result"),
        _each(lambda each: _finished(each.mirrored) | {"dropped": each.mirrored.dropped}),
    ),
    Row(
        "xds_shadow_primary_requests_total",
        "Requests of callers to the Service of the shadow by result, as the Envoys of this replica report"
        " them, mirrored or not.",
        (*_SHADOW, "result"),
        _each(lambda each: _finished(each.primary)),
    ),
    Row(
        "xds_shadow_pairs_total",
        "Sampled pairs of a primary's and a canary's response to one request, by outcome. `canary_failed` and"
        " `stable_failed`: only that side failed. `same`: both succeeded, or both failed.",
        (*_SHADOW, "outcome"),
        _each(lambda each: _outcomes(each.counts)),
    ),
    Row(
        "xds_shadow_unpaired_requests_total",
        "Sampled requests that made no pair, by reason. `not_sent`: no entry of a mirrored request came."
        " `no_primary`: no entry of the primary came. `abandoned`: the caller did not wait for the response."
        " `ambiguous`: the request ID came twice. `no_id`: the entry had none. `evicted`: too many requests"
        " waited for their other half.",
        (*_SHADOW, "reason"),
        _each(lambda each: dict(zip((reason.value for reason in Lost), each.unpaired, strict=True))),
    ),
    Histogram(
        "xds_shadow_pair_latency_seconds",
        "Latency of the responses of sampled pairs, by side (`primary`, `canary`), without a sum. A mirrored"
        " request is sent at another moment than the primary's, so the two are not comparable to a few"
        " milliseconds.",
        (*_SHADOW, "side"),
        _latencies,
        LATENCY_BOUNDS_S,
    ),
    Row(
        "xds_shadow_verdict",
        "1 for the present verdict on the shadow, and 0 for the others: `Worse`, `NoWorse`, `TooEarly`,"
        " `Blind`. It is judged by the evidence of all replicas.",
        (*_SHADOW, "verdict"),
        lambda facts: _states(facts.verdicts, Verdict),
    ),
    Row(
        "xds_shadow_traffic",
        "1 for what happens at present to the requests of an active shadow, 0 for the other states, as the"
        " Envoys of this replica report it: `Mirroring`, `NoEnvoy`, `NoReports`, `NoTraffic`,"
        " `NotMirrored`, `Failing`, `Dropped`. docs/operate.md explains them.",
        (*_SHADOW, "traffic"),
        lambda facts: _states(facts.shadow_traffic, Traffic),
    ),
)
