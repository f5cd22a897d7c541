"""Which fields of responses differ between the primary and a canary, and between the primary and the
baseline. Counts alone, which add up; no value of a body is kept."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

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


@dataclass(slots=True)
class Bodies:
    """The compared bodies of one shadow. `compared` and `baseline` are the numbers of bodies by group, of the
    canary and of the baseline, that were compared with the primary's; `differing` and `noise` are how many of
    them differ, by field. `skipped` counts bodies that could not be compared, by the reason."""

    compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[Field] = field(default_factory=Counter)
    baseline: Counter[str] = field(default_factory=Counter)
    noise: Counter[Field] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def update(self, other: "Bodies") -> None:
        """Add what another replica counted."""
        self.compared.update(other.compared)
        self.differing.update(other.differing)
        self.baseline.update(other.baseline)
        self.noise.update(other.noise)
        self.skipped.update(other.skipped)
