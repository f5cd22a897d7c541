"""Records as messages, for the other replicas, and back."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies, Field, Kind
from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.gaps import Gap
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.record import Record, Requests
from xds_server.core.verdict.tally import Group, Speed, Tally
from xds_server.pb import evidence_pb2


def message_of(record: Record) -> evidence_pb2.Record:
    """The message of a record."""
    bodies = record.bodies
    return evidence_pb2.Record(
        namespace=record.canary.namespace,
        canary=record.canary.name,
        service=record.service,
        since=record.since,
        template=record.template,
        primary=evidence_pb2.Requests(**record.primary._asdict()),
        mirrored=evidence_pb2.Requests(**record.mirrored._asdict()),
        expected=record.expected,
        groups=[_group(name, group) for name, group in sorted(record.tally.groups.items())],
        lost={lost.value: count for lost, count in record.tally.lost.items()},
        envoys=sorted(record.envoys),
        silent=sorted(record.silent),
        compared=bodies.compared,
        baseline=bodies.baseline,
        differing=_fields(bodies.differing),
        noise=_fields(bodies.noise),
        skipped=bodies.skipped,
        gap=_gap(record.gap),
        alone=_fields(bodies.alone),
        baseline_alone=_fields(bodies.baseline_alone),
    )


def record_of(message: evidence_pb2.Record) -> Record:
    """The record of a message. Words that this version does not know are left out: another replica may run
    another version."""
    tally = Tally()
    for group in message.groups:
        tally.groups[group.name] = _of_group(group)
    tally.lost.update({lost: message.lost[lost] for lost in Lost if lost in message.lost})
    return Record(
        canary=NamespacedName(message.namespace, message.canary),
        service=message.service,
        since=message.since,
        template=message.template,
        primary=_requests(message.primary),
        mirrored=_requests(message.mirrored),
        expected=message.expected,
        tally=tally,
        bodies=Bodies(
            Counter(message.compared),
            _of_fields(message.differing),
            Counter(message.baseline),
            _of_fields(message.noise),
            Counter(message.skipped),
            _of_fields(message.alone),
            _of_fields(message.baseline_alone),
        ),
        envoys=frozenset(message.envoys),
        silent=frozenset(message.silent),
        gap=_of_gap(message.gap),
    )


def _group(name: str, group: Group) -> evidence_pb2.Group:
    return evidence_pb2.Group(
        name=name,
        **group.counts._asdict(),
        differing_types=group.differing_types,
        codes=[
            evidence_pb2.Codes(primary=primary, shadow=shadow, pairs=pairs)
            for (primary, shadow), pairs in sorted(group.codes.items())
        ],
        primary=group.primary.buckets,
        shadow=group.shadow.buckets,
        **group.speed._asdict(),
    )


def _of_group(message: evidence_pb2.Group) -> Group:
    group = Group(
        counts=Counts(message.pairs, message.canary_failed, message.stable_failed),
        differing_types=message.differing_types,
        codes=Counter({(each.primary, each.shadow): each.pairs for each in message.codes}),
        speed=Speed(message.slower, message.faster),
    )
    group.primary.buckets.update(message.primary)
    group.shadow.buckets.update(message.shadow)
    return group


def _gap(gap: Gap) -> evidence_pb2.Gap:
    before = gap.before._asdict()
    return evidence_pb2.Gap(
        since=gap.since, ended=gap.ended, **before, arrived=gap.arrived, expected=gap.expected
    )


def _of_gap(message: evidence_pb2.Gap) -> Gap:
    return Gap(
        message.since if message.HasField("since") else None,
        message.ended if message.HasField("ended") else None,
        Counts(message.pairs, message.canary_failed, message.stable_failed),
        message.arrived,
        message.expected,
    )


def _requests(message: evidence_pb2.Requests) -> Requests:
    return Requests(message.issued, message.succeeded, message.failed, message.dropped)


def _fields(counts: Mapping[Field, int]) -> list[evidence_pb2.Field]:
    return [evidence_pb2.Field(**field._asdict(), count=count) for field, count in sorted(counts.items())]


def _of_fields(messages: Iterable[evidence_pb2.Field]) -> Counter[Field]:
    found: Counter[Field] = Counter()
    for each in messages:
        with suppress(ValueError):
            found[Field(each.group, each.path, Kind(each.kind))] += each.count
    return found
