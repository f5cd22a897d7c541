"""Which fields of responses differ between the primary and a canary, and between the primary and the
baseline. Counts alone, which add up; no value of a body is kept."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from xds_server.core.verdict.paths import OTHER, admitted

MOST_FIELDS: Final = 200
"""Different fields of one shadow."""


class Kind(StrEnum):
    """How a field differs from the primary's."""

    MISSING = "missing"
    EXTRA = "extra"
    TYPE = "type"
    VALUE = "value"
    ORDER = "order"


class Field(NamedTuple):
    """A field of the bodies of one group of requests: its JSON path, such as ``$.items[].price``, and how it
    differs. The path ``$`` is the body as a whole, also of one that is not JSON."""

    group: str
    path: str
    kind: Kind


Differences = Collection[tuple[str, Kind]]
"""Of two bodies: JSON paths, and how they differ."""


@dataclass(slots=True)
class Bodies:
    """The compared bodies of one shadow. `compared` and `baseline` are the numbers of bodies by group, of the
    canary and of the baseline, that were compared with the primary's; `differing` and `noise` are how many of
    them differ, by field. `alone` counts, by field, the requests of which the canary's body differs and the
    baseline's does not, `baseline_alone` the opposite. `skipped` counts bodies that could not be compared, by
    the reason."""

    compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[Field] = field(default_factory=Counter)
    baseline: Counter[str] = field(default_factory=Counter)
    noise: Counter[Field] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    alone: Counter[Field] = field(default_factory=Counter)
    baseline_alone: Counter[Field] = field(default_factory=Counter)

    def add(self, group: str, differing: Differences, noise: Differences | None = None) -> None:
        """Count one request: how the canary's body differs from the primary's, and how the baseline's does,
        or None if the request was not mirrored to a baseline."""
        group = admitted(group, self.compared)
        canary = {self._admitted(Field(group, path, kind)) for path, kind in sorted(differing)}
        self.compared[group] += 1
        self.differing.update(canary)
        if noise is None:
            return
        baseline = {self._admitted(Field(group, path, kind)) for path, kind in sorted(noise)}
        self.baseline[group] += 1
        self.noise.update(baseline)
        self.alone.update(canary - baseline)
        self.baseline_alone.update(baseline - canary)

    def update(self, other: "Bodies") -> None:
        """Add what another replica counted."""
        for groups, more in ((self.compared, other.compared), (self.baseline, other.baseline)):
            for group in sorted(more):
                groups[admitted(group, self.compared)] += more[group]
        for fields, counted in (
            (self.differing, other.differing),
            (self.noise, other.noise),
            (self.alone, other.alone),
            (self.baseline_alone, other.baseline_alone),
        ):
            for each in sorted(counted):
                fields[self._admitted(each)] += counted[each]
        self.skipped.update(other.skipped)

    def _admitted(self, found: Field) -> Field:
        """The field that a difference counts for: itself, unless `MOST_FIELDS` others are known."""
        found = found._replace(group=admitted(found.group, self.compared))
        known = found in self.differing or found in self.noise
        if known or len(self.differing.keys() | self.noise.keys()) < MOST_FIELDS:
            return found
        return found._replace(group=OTHER, path=OTHER)
