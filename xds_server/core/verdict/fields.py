"""Which fields of a canary's responses differ because of the canary, and which differ anyhow.

A time stamp differs between any two responses. The baseline shows that: it is the stable version, which got
the same request once more. If the canary answers as the stable version does, then of one request its body and
the baseline's differ from the primary's equally often. So a request of which exactly one of the two differs
is the canary's with a probability of one half at most, and `evidence.worse` applies.
"""

from math import log
from typing import Final, NamedTuple

from xds_server.core.verdict.bodies import MOST_FIELDS, Bodies, Field, Kind
from xds_server.core.verdict.evidence import Counts, worse
from xds_server.core.verdict.judgement import ALPHA

NOISE_UNKNOWN: Final = (
    "No body of a baseline was compared, so fields that differ between any two responses, such as times, are"
    ' among these; set baseline: "true" to tell them apart.'
)


class Finding(NamedTuple):
    """A field that differs in `differing` of `compared` bodies of the canary, and in `noise` of `baseline`
    bodies of the baseline. `differs` says whether it differs more often in the canary's; None if no baseline
    tells."""

    field: Field
    differing: int
    compared: int
    noise: int
    baseline: int
    differs: bool | None


def findings(bodies: Bodies, alpha: float = ALPHA) -> list[Finding]:
    """The fields that differ, those that the canary changed first, then the most frequent. `alpha` is the
    chance that any field is ever said to differ more often in the canary's bodies and does not."""
    found = [_finding(bodies, each, alpha / (MOST_FIELDS + len(Kind))) for each in bodies.differing]
    return sorted(found, key=lambda each: (not each.differs, -each.differing, each.field))


def noise_unknown(bodies: Bodies) -> bool:
    """Whether `NOISE_UNKNOWN` has to be said beside the findings."""
    return bool(bodies.compared) and not bodies.baseline


def _finding(bodies: Bodies, field: Field, alpha: float) -> Finding:
    baseline = bodies.baseline[field.group]
    alone, baseline_alone = bodies.alone[field], bodies.baseline_alone[field]
    evidence = worse(Counts(baseline, alone, baseline_alone))
    return Finding(
        field=field,
        differing=bodies.differing[field],
        compared=bodies.compared[field.group],
        noise=bodies.noise[field],
        baseline=baseline,
        differs=evidence >= log(1 / alpha) if baseline else None,
    )
