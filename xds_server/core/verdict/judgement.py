"""The verdict on a canary, from what was counted."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import exp, log
from typing import Final

from xds_server.core.verdict.evidence import Counts, excess_bound, no_worse, pairs_needed, worse
from xds_server.core.verdict.gaps import NO_GAP, Gap, missing
from xds_server.core.verdict.paths import MOST_GROUPS
from xds_server.core.verdict.tally import Tally

ALPHA: Final = 0.001
"""The chance that a canary which is no worse is ever called `Worse`, or one that is worse ever `NoWorse`."""

TOLERANCE: Final = 0.001
"""The share of requests by which a canary may fail more often and still be no worse."""

MIN_PAIRS: Final = 1000
BLIND_ABOVE: Final = 1.25
_FEW: Final = 5_000
"""If more than this share of the sampled pairs arrives, and `_FEW` more, callers choose the ids by which
requests are sampled. Then what arrived is no sample of all requests. Pairs may arrive some seconds before the
load reports that count them."""


class Verdict(StrEnum):
    """How a canary does. Stable: scripts match on these."""

    WORSE = "Worse"
    NO_WORSE = "NoWorse"
    TOO_EARLY = "TooEarly"
    BLIND = "Blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a verdict asks for. `alpha` and `tolerance` are shares between 0 and 1."""

    alpha: float = ALPHA
    tolerance: float = TOLERANCE
    min_pairs: int = MIN_PAIRS


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its figures. `excess` is the bound on how much more often the canary fails, a share of
    all pairs; `arrived` is the share of the expected pairs of which both sides arrived, or None where nothing
    was expected."""

    verdict: Verdict
    message: str
    counts: Counts
    excess: float
    arrived: float | None
    worst: str = ""


def judge(tally: Tally, expected: float, terms: Terms, gap: Gap = NO_GAP) -> Judgement:
    """Judge a canary. `expected` is how many pairs should have arrived, by the counts of load reports and the
    share that is sampled. All pairs count against a canary. After a gap, everything else is about what came
    since its end."""
    counts = tally.counts.minus(gap.before)
    known, expected = tally.arrived - gap.arrived, expected - gap.expected
    needed = log(1 / terms.alpha)
    excess = excess_bound(counts, terms.alpha)
    arrived = known / expected if expected > 0 else None
    worst = max(tally.groups, key=lambda name: worse(tally.groups[name].counts), default="")

    def judged(verdict: Verdict, message: str, group: str = "") -> Judgement:
        return Judgement(
            verdict=verdict, message=message, counts=tally.counts, excess=excess, arrived=arrived, worst=group
        )

    if _evidence(tally) >= needed:
        return judged(Verdict.WORSE, _worse_sentence(tally, worst), worst)
    if blind := _blindness(counts, known, expected, gap):
        return judged(Verdict.BLIND, blind)
    after = f" since {_time(gap.ended)}, when pairs arrived again" if gap.ended is not None else ""
    if counts.pairs < terms.min_pairs:
        message = f"{counts.pairs} of at least {terms.min_pairs} pairs were compared{after}."
        return judged(Verdict.TOO_EARLY, message)
    if no_worse(counts, terms.tolerance) >= needed:
        bound = f"the canary fails at most {excess:.2%} more often than the primary"
        return judged(Verdict.NO_WORSE, f"In {counts.pairs} pairs{after} {bound}.")
    enough = pairs_needed(counts, terms.tolerance, terms.alpha)
    need = f" If it goes on like this, NoWorse needs about {enough:,} pairs." if enough else ""
    alone = f"it failed alone in {counts.canary_failed}, the primary alone in {counts.stable_failed}"
    return judged(
        Verdict.TOO_EARLY,
        f"{counts.pairs} pairs{after} do not tell yet whether the canary fails {terms.tolerance:.2%} more"
        f" often: {alone}.{need}",
    )


def _evidence(tally: Tally) -> float:
    """Logarithm of the e-value of all pairs and of each group, averaged with weights that never change: one
    half for all pairs, the other half in equal parts for as many groups as there may be. A group without a
    pair has the e-value 1."""
    share = 0.5 / (MOST_GROUPS + 1)
    unused = share * (MOST_GROUPS + 1 - len(tally.groups))
    logs = [log(0.5) + worse(tally.counts), *(log(unused) for _ in range(unused > 0))]
    logs += [log(share) + worse(group.counts) for group in tally.groups.values()]
    most = max(logs)
    return most + log(sum(exp(each - most) for each in logs))


def _worse_sentence(tally: Tally, worst: str) -> str:
    counts = tally.counts
    group = tally.groups[worst].counts
    # Where failures are everywhere, one group has the strongest evidence and few of them.
    most = 2 * group.canary_failed > counts.canary_failed
    where = f" Most of it in {worst}: {group.canary_failed} of {group.pairs} pairs." if most else ""
    return (
        f"In {counts.pairs} pairs the canary failed alone in {counts.canary_failed},"
        f" the primary alone in {counts.stable_failed}.{where}"
    )


def _blindness(counts: Counts, known: int, expected: float, gap: Gap) -> str:
    """Why the pairs do not show what the canary does; empty if they do."""
    of_expected = f"{counts.pairs} of {expected:.0f} sampled pairs arrived."
    if gap.since is not None:
        return f"Sampled pairs have been missing since {_time(gap.since)}. {of_expected}"
    if expected <= 0:
        return "" if gap.ended is not None else "No Envoy reports how many requests it mirrored."
    if missing(known, expected):
        return of_expected
    if known > BLIND_ABOVE * expected and known > expected + _FEW:
        return f"{known} pairs arrived, and {expected:.0f} were sampled: callers choose x-request-id."
    return ""


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
