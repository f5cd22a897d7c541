"""What is recorded of one shadow: the loads, the pairs, and the fields of bodies that differ.

Each replica records what its own Envoys report. All of it adds up, so a verdict may be asked of any replica,
which asks the others for their records and judges the sum.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies
from xds_server.core.verdict.gaps import NO_GAP, Gap
from xds_server.core.verdict.tally import Tally


class Requests(NamedTuple):
    """Requests of a cluster since the evidence began, by load reports: sent, succeeded, failed, and not sent
    because as many were in flight as the cluster allows."""

    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    dropped: int = 0

    def plus(self, other: "Requests") -> "Requests":
        """The requests of both."""
        return Requests(*map(sum, zip(self, other, strict=True)))


NO_REQUESTS: Final = Requests()


@dataclass(slots=True, kw_only=True)
class Record:
    """One shadow, as one replica or as several together have it.

    `since` is when its evidence began, in seconds since the epoch. `template` identifies the Pod templates of
    the canary and of the stable version that it is about. `expected` is how many pairs should have arrived,
    by load reports and the sampled share. `envoys` are the ids of the connected Envoys that mirror to it, and
    `silent` those among them that report no loads. `gap` is the last time in which sampled pairs did not
    arrive.
    """

    canary: NamespacedName
    service: str
    since: float
    template: str = ""
    primary: Requests = NO_REQUESTS
    mirrored: Requests = NO_REQUESTS
    expected: float = 0.0
    tally: Tally = field(default_factory=Tally)
    bodies: Bodies = field(default_factory=Bodies)
    envoys: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    gap: Gap = NO_GAP

    def restart(self, template: str, now: float) -> None:
        """Begin again, because the evidence so far is about other templates. `now` is in seconds since the
        epoch."""
        self.template, self.since = template, now
        self.primary, self.mirrored, self.expected = NO_REQUESTS, NO_REQUESTS, 0.0
        self.tally, self.bodies, self.gap = Tally(), Bodies(), NO_GAP

    def update(self, other: "Record") -> None:
        """Add what another replica has of the same shadow and the same templates."""
        self.since = min(self.since, other.since)
        self.primary = self.primary.plus(other.primary)
        self.mirrored = self.mirrored.plus(other.mirrored)
        self.expected += other.expected
        self.tally.update(other.tally)
        self.bodies.update(other.bodies)
        self.envoys |= other.envoys
        self.silent |= other.silent
        self.gap = self.gap.plus(other.gap)


def added(replicas: Iterable[Mapping[NamespacedName, Record]]) -> dict[NamespacedName, Record]:
    """The sums of what the replicas have.

    A replica that has not seen a new template yet has evidence about the one before it. That is no evidence
    about the new one, so of different templates the one whose evidence began last counts.
    """
    found: dict[NamespacedName, list[Record]] = {}
    for records in replicas:
        for canary, record in records.items():
            found.setdefault(canary, []).append(record)
    return {canary: _sum(records) for canary, records in found.items()}


def _sum(records: list[Record]) -> Record:
    newest = max(records, key=lambda record: record.since)
    total = Record(canary=newest.canary, service=newest.service, since=newest.since, template=newest.template)
    for each in records:
        if each.template == newest.template:
            total.update(each)
    return total
