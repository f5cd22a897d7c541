"""Verdicts as messages of the status API."""

from xds_server.base.text import plain
from xds_server.core.verdict.judgement import Terms
from xds_server.core.verdict.record import Requests
from xds_server.pb import evidence_pb2, status_pb2
from xds_server.server.terms import terms
from xds_server.server.timestamps import timestamp
from xds_server.server.verdict_report import (
    DEFAULT_TERMS,
    GroupReport,
    ShadowVerdict,
    SideReport,
    VerdictReport,
)

_LONGEST_ID = 200
_MOST_IDS = 1_000


def message_of(report: VerdictReport) -> status_pb2.GetVerdictsResponse:
    """The message of a report."""
    return status_pb2.GetVerdictsResponse(
        verdicts=map(verdict_message, report.shadows), replicas=replica_messages(report)
    )


def replica_messages(report: VerdictReport) -> list[status_pb2.Replica]:
    """The messages of the replicas that were asked."""
    return [status_pb2.Replica(name=each.name, problem=each.problem) for each in report.replicas]


def verdict_message(found: ShadowVerdict) -> status_pb2.Verdict:
    """The message of one verdict. Ids of Envoys are cut, and there are at most 1,000 of them."""
    judgement = found.judgement
    return status_pb2.Verdict(
        namespace=found.namespace,
        name=found.name,
        kind=found.kind,
        service=found.service,
        state=found.state,
        reason=found.reason,
        state_message=found.state_message,
        verdict=found.verdict,
        message=found.message,
        terms=status_pb2.Terms(
            alpha=found.terms.alpha, tolerance=found.terms.tolerance, min_pairs=found.terms.min_pairs
        ),
        since=None if found.since is None else timestamp(found.since),
        template=found.template,
        excess=judgement.excess,
        arrived=judgement.arrived,
        expected=found.expected,
        worst=judgement.worst,
        primary=_requests(found.primary),
        mirrored=_requests(found.mirrored),
        total=_pairs(found.total),
        groups=map(_pairs, found.groups),
        lost={lost.value: count for lost, count in found.lost.items()},
        compared=found.compared,
        fields=[
            status_pb2.DifferingField(
                group=each.field.group,
                path=each.field.path,
                kind=each.field.kind,
                differing=each.differing,
                compared=each.compared,
                noise=each.noise,
                baseline=each.baseline,
                differs=each.differs,
            )
            for each in found.fields
        ],
        noise_unknown=found.noise_unknown,
        skipped=found.skipped,
        slower=found.slower,
        envoys=[plain(each, _LONGEST_ID) for each in found.envoys[:_MOST_IDS]],
        silent=[plain(each, _LONGEST_ID) for each in found.silent[:_MOST_IDS]],
    )


def terms_of(message: status_pb2.Terms) -> Terms:
    """The terms of a message.

    Raises:
        UsageError: a value is out of range.
    """
    alpha, tolerance, pairs = DEFAULT_TERMS.alpha, DEFAULT_TERMS.tolerance, DEFAULT_TERMS.min_pairs
    return terms(
        message.alpha if message.HasField("alpha") else alpha,
        message.tolerance if message.HasField("tolerance") else tolerance,
        message.min_pairs if message.HasField("min_pairs") else pairs,
    )


def _pairs(group: GroupReport) -> status_pb2.Pairs:
    return status_pb2.Pairs(
        name=group.name,
        pairs=group.pairs,
        canary_failed=group.canary_failed,
        stable_failed=group.stable_failed,
        differing_types=group.differing_types,
        primary=_side(group.primary),
        canary=_side(group.shadow),
        codes=[
            evidence_pb2.Codes(primary=primary, shadow=shadow, pairs=pairs)
            for primary, shadow, pairs in group.codes
        ],
    )


def _side(side: SideReport) -> status_pb2.Side:
    return status_pb2.Side(codes=dict(side.codes), p50=side.p50, p95=side.p95, p99=side.p99)


def _requests(requests: Requests) -> evidence_pb2.Requests:
    return evidence_pb2.Requests(**requests._asdict())
