"""Checks what another replica reports before it is believed. Pure.

A replica that runs another version, or is broken, must not spoil the verdicts of this one. A record that
contradicts itself, or is about something else, is left out, and the replica is named with the reason.
"""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Final

from xds_server.base.text import listed
from xds_server.core.verdict.bodies import MOST_FIELDS, Kind
from xds_server.core.verdict.paths import MOST_GROUPS
from xds_server.core.verdict.record import Record
from xds_server.core.verdict.tally import BOUNDS_S, MOST_CODES, Group
from xds_server.pb import evidence_pb2

_MOST_COUNT: Final = 2**53
"""A larger count is no count of requests, and JSON would not keep it."""

_MOST_ENVOYS: Final = 10_000
_MOST_REASONS: Final = 32
_LONGEST_NAME: Final = 512
_AHEAD_S: Final = 300.0
"""By how much the clocks of two replicas may differ."""


def is_plausible(message: evidence_pb2.Record) -> bool:
    """Whether the sizes of a message are within the limits, before anything is made of it."""
    lists = (message.differing, message.noise, message.alone, message.baseline_alone)
    texts = [message.template, *message.envoys, *message.silent]
    texts += [text for found in lists for field in found for text in (field.group, field.path)]
    texts += [*message.lost, *message.compared, *message.baseline, *message.skipped]
    for group in message.groups:
        if len(group.codes) > MOST_CODES + 1:
            return False
        texts += [group.name, *(text for codes in group.codes for text in (codes.primary, codes.shadow))]
    return (
        len(message.groups) <= MOST_GROUPS + 1
        and max(map(len, lists)) <= MOST_FIELDS + len(Kind)
        and max(len(message.compared), len(message.baseline)) <= MOST_GROUPS + 1
        and max(len(message.envoys), len(message.silent)) <= _MOST_ENVOYS
        and max(len(message.lost), len(message.skipped)) <= _MOST_REASONS
        and all(len(text) <= _LONGEST_NAME and text.isprintable() for text in texts)
    )


def is_consistent(record: Record, now: float) -> bool:
    """Whether the counts of a record can be true. `now` is in seconds since the epoch."""
    return (
        0 < record.since <= now + _AHEAD_S
        and isfinite(record.expected)
        and 0 <= record.expected <= _MOST_COUNT
        and record.silent <= record.envoys
        and max(_counts(record)) <= _MOST_COUNT
        and _is_part(record, now)
        and all(map(_adds_up, record.tally.groups.values()))
    )


def _counts(record: Record) -> Iterator[int]:
    """The counts that no group of pairs has."""
    yield from (*record.primary, *record.mirrored, *record.tally.lost.values())
    bodies = record.bodies
    for counter in (bodies.compared, bodies.baseline, bodies.skipped):
        yield from counter.values()
    for fields in (bodies.differing, bodies.noise, bodies.alone, bodies.baseline_alone):
        yield from fields.values()


def _is_part(record: Record, now: float) -> bool:
    """Whether what was counted until the end of the gap is a part of all."""
    gap, counts = record.gap, record.tally.counts
    times = (gap.since, gap.ended)
    return (
        all(each is None or 0 < each <= now + _AHEAD_S for each in times)
        and all(part <= whole for part, whole in zip(gap.before, counts, strict=True))
        and gap.arrived <= record.tally.arrived
        and 0 <= gap.expected <= record.expected
    )


def left_out(absurd: Iterable[str], other: Iterable[str], unknown: Iterable[str]) -> str:
    """The sentence about the shadows whose records are left out: those whose counts contradict each other,
    those about other Pod templates, those that this replica does not know. Empty if there are none."""
    parts = (
        (sorted(absurd), "its counts contradict each other"),
        (sorted(other), "its evidence is about other Pod templates"),
        (sorted(unknown), "it reports what is no shadow here"),
    )
    return "; ".join(f"{why}: {listed(names, len(names), 'shadow')}" for names, why in parts if names)


def _adds_up(group: Group) -> bool:
    counts = group.counts
    sums = (
        group.codes.total(),
        group.primary.buckets.total(),
        group.shadow.buckets.total(),
    )
    return (
        counts.pairs <= _MOST_COUNT
        and counts.canary_failed + counts.stable_failed <= counts.pairs
        and group.differing_types <= counts.pairs
        and sum(group.speed) <= counts.pairs
        and all(each == counts.pairs for each in sums)
        and all(bucket <= len(BOUNDS_S) for bucket in (*group.primary.buckets, *group.shadow.buckets))
    )
