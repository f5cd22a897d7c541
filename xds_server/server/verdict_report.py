"""A verdict with its evidence, as values for display: what `verdict`, `explain`, the page, the metrics and
the HTTP API show of a shadow. Pure.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason
from xds_server.core.objects import Kind
from xds_server.core.plan import ShadowStatus, State
from xds_server.core.verdict.fields import Finding, findings, noise_unknown
from xds_server.core.verdict.gaps import NO_GAP
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.judgement import Judgement, Terms, Verdict, judge
from xds_server.core.verdict.record import Record, Requests
from xds_server.core.verdict.tally import Group, Latencies, Speed, Tally, slower
from xds_server.core.workload_names import named_by

DEFAULT_TERMS: Final = Terms()
"""The terms of a verdict unless others are given."""

_NOTHING: Final = Tally()
_Key = TypeVar("_Key", str, tuple[str, str])


class SideReport(NamedTuple):
    """One side of the pairs of a group. `codes` are the numbers of responses by code, such as ``200``,
    ``grpc 14`` or ``none``, the most frequent first. The quantiles of the latency are in seconds, and None
    without a pair. `latencies` are the numbers of pairs by bucket of `tally.BOUNDS_S`."""

    codes: tuple[tuple[str, int], ...]
    p50: float | None
    p95: float | None
    p99: float | None
    latencies: Mapping[int, int]


class GroupReport(NamedTuple):
    """The pairs of one group of requests. `canary_failed` and `stable_failed` are the pairs in which only
    that side failed, `differing_types` those with two content types. `codes` are the numbers of pairs by the
    codes of the primary and of the canary, the most frequent first."""

    name: str
    pairs: int
    canary_failed: int
    stable_failed: int
    differing_types: int
    codes: tuple[tuple[str, str, int], ...]
    primary: SideReport
    shadow: SideReport


class Replica(NamedTuple):
    """A replica that was asked for its evidence. `problem` says why its evidence is missing, and is empty if
    it is counted."""

    name: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowVerdict:
    """The verdict on one shadow, with the evidence of all replicas that answered.

    `namespace`, `canary` (the key of the workload) and `service` identify the shadow; `kind` and `name` are
    those of the workload. `state`, `reason` and `state_message` are the state of the shadow at the moment, as
    `status` shows it. `verdict` and `message` are the result, by `terms`; `judgement` has its figures.
    `since` is when the evidence began, in seconds since the epoch, and None where there is none; `template`
    identifies the Pod templates that it is about. `total` are all pairs as one group, and `groups` the
    groups, the one with the most failures of the canary first. `lost` counts the requests that made no pair.
    `primary` and `mirrored` are the requests by load reports, of which `expected` should have become pairs.
    `compared` are the compared bodies, `fields` those of their fields that differ, those that the canary
    changed first, `noise_unknown` says that no baseline tells which those are, and `skipped` are the bodies
    that were not compared, by the reason. `slower` says whether the canary is slower than the baseline, and
    is None without one; `speed` has the counts. `envoys` are the ids of the Envoys that mirror to the canary,
    and `silent` those among them that report no loads.
    """

    namespace: str
    canary: str
    service: str
    state: State
    reason: str
    state_message: str
    verdict: Verdict
    message: str
    terms: Terms
    judgement: Judgement
    since: float | None
    template: str
    total: GroupReport
    groups: tuple[GroupReport, ...]
    lost: Mapping[Lost, int]
    primary: Requests
    mirrored: Requests
    expected: float
    compared: int
    fields: tuple[Finding, ...]
    noise_unknown: bool
    skipped: Mapping[str, int]
    slower: bool | None
    speed: Speed
    envoys: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """The kind of the workload."""
        return named_by(self.canary)[0]

    @property
    def name(self) -> str:
        """The name of the workload."""
        return named_by(self.canary)[1]


class VerdictReport(NamedTuple):
    """The verdicts on all shadows, sorted by namespace and canary. `replicas` are those that were asked, this
    one first."""

    shadows: tuple[ShadowVerdict, ...]
    replicas: tuple[Replica, ...]

    @property
    def missing(self) -> tuple[Replica, ...]:
        """The replicas whose evidence is not counted."""
        return tuple(each for each in self.replicas if each.problem)


def verdict_on(shadow: ShadowStatus, record: Record | None, terms: Terms = DEFAULT_TERMS) -> ShadowVerdict:
    """The verdict on a shadow. Without a record there is no evidence."""
    judgement = _judged(shadow, record, terms)
    since = record.since if record else None
    name = NamespacedName(shadow.namespace, shadow.canary)
    found = record or Record(canary=name, service=shadow.service, since=0.0)
    return ShadowVerdict(
        namespace=shadow.namespace,
        canary=shadow.canary,
        service=shadow.service,
        state=shadow.state,
        reason=shadow.reason,
        state_message=shadow.message,
        verdict=judgement.verdict,
        message=judgement.message,
        terms=terms,
        judgement=judgement,
        since=since,
        template=found.template,
        total=_total(found.tally),
        groups=_groups(found.tally),
        lost=dict(found.tally.lost),
        primary=found.primary,
        mirrored=found.mirrored,
        expected=found.expected,
        compared=found.bodies.compared.total(),
        fields=tuple(findings(found.bodies)),
        noise_unknown=noise_unknown(found.bodies),
        skipped=dict(found.bodies.skipped),
        slower=slower(found.tally.speed, terms.alpha) if any(found.tally.speed) else None,
        speed=found.tally.speed,
        envoys=tuple(sorted(found.envoys)),
        silent=tuple(sorted(found.silent)),
    )


def _judged(shadow: ShadowStatus, record: Record | None, terms: Terms) -> Judgement:
    tally, expected, gap = (record.tally, record.expected, record.gap) if record else (_NOTHING, 0.0, NO_GAP)
    judged = judge(tally, expected, terms, gap)
    if judged.verdict is not Verdict.BLIND or (record and record.expected):
        return judged
    if record and record.mirrored.issued:
        # They were reported, and their pairs are not due yet.
        message = f"{judged.counts.pairs} of at least {terms.min_pairs} pairs were compared."
    elif shadow.state is not State.ACTIVE:
        message = f"No request was mirrored yet: the shadow is {shadow.state}."
    elif record and record.envoys - record.silent:
        message = "No request was mirrored yet."
    elif shadow.reason == Reason.CONFIGURED:
        message = "The first load reports of the Envoys are awaited."
    else:
        return judged
    return replace(judged, verdict=Verdict.TOO_EARLY, message=message)


def _total(tally: Tally) -> GroupReport:
    total = Group()
    for each in tally.groups.values():
        total.update(each)
    return _group("all", total)


def _groups(tally: Tally) -> tuple[GroupReport, ...]:
    found = (_group(name, group) for name, group in tally.groups.items())
    return tuple(sorted(found, key=lambda each: (-each.canary_failed, -each.pairs, each.name)))


def _group(name: str, group: Group) -> GroupReport:
    primary, shadow = Counter[str](), Counter[str]()
    for (of_primary, of_shadow), pairs in group.codes.items():
        primary[of_primary] += pairs
        shadow[of_shadow] += pairs
    return GroupReport(
        name=name,
        pairs=group.counts.pairs,
        canary_failed=group.counts.canary_failed,
        stable_failed=group.counts.stable_failed,
        differing_types=group.differing_types,
        codes=tuple((*codes, pairs) for codes, pairs in _most_frequent(group.codes)),
        primary=_side(primary, group.primary),
        shadow=_side(shadow, group.shadow),
    )


def _side(codes: Counter[str], latencies: Latencies) -> SideReport:
    p50, p95, p99 = map(latencies.quantile, (0.5, 0.95, 0.99))
    return SideReport(tuple(_most_frequent(codes)), p50, p95, p99, dict(latencies.buckets))


def _most_frequent(counts: Counter[_Key]) -> list[tuple[_Key, int]]:
    """The entries of `counts`, the most frequent first; of equal ones in the order of their names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
