"""What happens to the requests of a shadow, by the loads that Envoys report: not what was intended.

The counts are of the last few reports. What they do not tell is not guessed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from xds_server.base.text import listed

_FEW_FAILURES: Final = 3
_FAILING: Final = 0.05
"""The share of failures from which on a canary is failing, if the primary fails less often."""

_DROPPED: Final = 0.01
_LEAST: Final = 3
"""Requests that should have been mirrored before their absence means something."""

_CHANCE: Final = 1e-6
_DEVIATIONS: Final = 4
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
    """The counts of the last `seconds`. `share` is the part of the primary's requests that is to be mirrored,
    from 0 to 1, or None where conditions decide that; `capped` says that it may be less. `envoys` is how many
    connected Envoys mirror, and `silent` are the ids of those among them that report no loads."""

    primary: Counts
    mirrored: Counts
    share: float | None
    envoys: int
    capped: bool = False
    silent: Sequence[str] = ()
    seconds: float = 9.0


def traffic(seen: Observed) -> tuple[Traffic, str]:
    """The state of a shadow's requests, and a sentence or two with the figures."""
    if not seen.envoys:
        return Traffic.NO_ENVOY, "No Envoy that is connected to this replica mirrors requests to it."
    if len(seen.silent) == seen.envoys:
        return Traffic.NO_REPORTS, f"{_silent(seen)}, so it is not known whether requests are mirrored."
    state, message = _reported(seen) if _attempted(seen) else _nothing_mirrored(seen)
    message = f"In the last {seen.seconds:g} s {message}."
    if not seen.silent:
        return state, message
    whose = "its" if len(seen.silent) == 1 else "their"
    return state, f"{message} {_silent(seen)}, so {whose} requests are not counted."


def _attempted(seen: Observed) -> int:
    return seen.mirrored.issued + seen.mirrored.dropped


def _silent(seen: Observed) -> str:
    names = listed(seen.silent[:_LONGEST_LIST], len(seen.silent), "Envoy")
    verb = "reports" if len(seen.silent) == 1 else "report"
    return f"{names} {verb} no loads (generate the bootstrap again with `xds-shadow bootstrap`)"


def _reported(seen: Observed) -> tuple[Traffic, str]:
    primary, mirrored, attempted = seen.primary, seen.mirrored, _attempted(seen)
    if mirrored.dropped >= _DROPPED * attempted:
        count = f"{mirrored.dropped} of {attempted} mirrored requests were not sent"
        return Traffic.DROPPED, f"{count}: as many were in flight as max-concurrent allows"
    failures, primary_failures = _failure(mirrored), _failure(primary)
    ended = f"{mirrored.failed} failed ({failures:.1%})"
    if not mirrored.succeeded + mirrored.failed:
        ended = "none has a response yet"
    expected = 0.0 if seen.share is None or seen.capped else primary.issued * seen.share
    spread = _DEVIATIONS * math.sqrt(expected * (1 - (seen.share or 0.0)))
    if expected >= _LEAST and attempted + spread < expected / 2:
        few = f"only {mirrored.issued} of {expected:.0f} requests were mirrored, and {ended}"
        return Traffic.NOT_MIRRORED, f"{few}: outlier detection ejects endpoints of the canary"
    were = "request was" if mirrored.issued == 1 else "requests were"
    figures = f"{mirrored.issued} {were} mirrored; {ended}"
    if mirrored.failed >= _FEW_FAILURES and failures >= _FAILING and failures > primary_failures:
        return Traffic.FAILING, f"{figures}, and {primary_failures:.1%} of the primary's requests"
    return Traffic.MIRRORING, figures


def _nothing_mirrored(seen: Observed) -> tuple[Traffic, str]:
    issued = seen.primary.issued
    if not issued:
        return Traffic.NO_TRAFFIC, "the Service received no requests"
    none = f"none of {issued} requests was mirrored"
    if seen.share is None:
        return Traffic.NO_TRAFFIC, f"{none}: none met the conditions, or no endpoint of the canary is in use"
    if issued < _LEAST or (1 - seen.share) ** issued > _CHANCE:
        return Traffic.NO_TRAFFIC, f"{none}; {seen.share:.2%} of all requests are to be"
    ejected = "every endpoint of the canary is ejected by outlier detection, or there is none"
    return Traffic.NOT_MIRRORED, f"{none}: {ejected}"


def _failure(counts: Counts) -> float:
    finished = counts.succeeded + counts.failed
    return counts.failed / finished if finished else 0.0
