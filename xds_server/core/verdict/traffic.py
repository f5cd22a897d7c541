"""What happens to the requests of a shadow, by the loads that Envoys report: not what was intended.

The counts are of the last few reports. What they do not tell is not guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from xds_server.base.text import listed

ENOUGH: Final = 20
"""Requests that should have been mirrored before their absence means something."""

_FAILING: Final = 0.05
"""The share of failures from which on a canary is failing, if the primary fails less often."""

_DROPPED: Final = 0.01
_LONGEST_LIST: Final = 3


class Traffic(StrEnum):
    """Stable: scripts match on these."""

    MIRRORING = "Mirroring"
    NO_ENVOY = "NoEnvoy"
    NO_REPORTS = "NoReports"
    NO_TRAFFIC = "NoTraffic"
    NOT_MIRRORED = "NotMirrored"
    FAILING = "Failing"
    DROPPED = "Dropped"


class Counts(Protocol):
    """Requests of one cluster in the last few reports."""

    @property
    def issued(self) -> int: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def dropped(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """`share` is the part of the primary's requests that qualifies, from 0 to 1, or None where conditions
    decide that. `silent` are the ids of those of the `envoys` connected Envoys that report no loads."""

    primary: Counts
    mirrored: Counts
    share: float | None
    envoys: int
    silent: Sequence[str] = ()


def traffic(seen: Observed) -> tuple[Traffic, str]:
    """The state of a shadow's requests, and a sentence or two with the figures."""
    if not seen.envoys:
        return Traffic.NO_ENVOY, "No connected Envoy carries this mirror."
    primary, mirrored = seen.primary, seen.mirrored
    if len(seen.silent) == seen.envoys:
        return Traffic.NO_REPORTS, f"{_silent(seen)}, so whether requests are mirrored is not known."
    state, message = _reported(primary, mirrored, seen.share)
    return state, f"{message} {_silent(seen)}; their requests are not counted." if seen.silent else message


def _silent(seen: Observed) -> str:
    names = listed(seen.silent[:_LONGEST_LIST], len(seen.silent), "Envoy")
    verb = "reports" if len(seen.silent) == 1 else "report"
    return f"{names} {verb} no loads (generate the bootstrap again with `xds-shadow bootstrap`)"


def _reported(primary: Counts, mirrored: Counts, share: float | None) -> tuple[Traffic, str]:
    attempted = mirrored.issued + mirrored.dropped
    if not attempted:
        return _nothing_mirrored(primary, share)
    if mirrored.dropped >= _DROPPED * attempted:
        count = f"{mirrored.dropped} of {attempted} mirrored requests were not sent"
        return Traffic.DROPPED, f"{count}: as many were in flight as max-concurrent allows."
    failures, primary_failures = _failure(mirrored), _failure(primary)
    figures = f"{mirrored.issued} requests were mirrored; {mirrored.failed} of them failed ({failures:.1%})"
    if failures >= _FAILING and failures > primary_failures:
        return Traffic.FAILING, f"{figures}, and {primary_failures:.1%} of the primary's requests."
    return Traffic.MIRRORING, f"{figures}."


def _nothing_mirrored(primary: Counts, share: float | None) -> tuple[Traffic, str]:
    if not primary.issued:
        return Traffic.NO_TRAFFIC, "The Service received no requests."
    none = f"None of {primary.issued} requests was mirrored"
    if share is None:
        reasons = "none met the conditions, or no endpoint of the canary is in use"
        return Traffic.NO_TRAFFIC, f"{none}: {reasons}."
    if primary.issued * share < ENOUGH:
        return Traffic.NO_TRAFFIC, f"{none}; {share:.2%} of all requests are."
    ejected = "every endpoint of the canary is ejected by outlier detection, or there is none"
    return Traffic.NOT_MIRRORED, f"{none}: {ejected}."


def _failure(counts: Counts) -> float:
    finished = counts.succeeded + counts.failed
    return counts.failed / finished if finished else 0.0
