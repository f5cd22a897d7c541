"""Decides which verdicts are reported, as Events and in the log: not `TooEarly`, no verdict twice, and the
less often the more often it changes. `status` shows each verdict at once. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.judgement import Verdict
from xds_server.server.verdict_report import ShadowVerdict

_HOLDS_S: Final = {Verdict.WORSE: 0.0, Verdict.NO_WORSE: 0.0, Verdict.BLIND: 60.0}
"""For how long a verdict has to hold. Pairs may be missing for a moment while Envoys reconnect."""

_PAUSE_S: Final = 60.0
_LONGEST_S: Final = 3600.0
"""Between two reports of one shadow: at first, and at most. The pause doubles with each report, and is short
again after a verdict has held for the longest one."""


@dataclass(slots=True)
class _Shadow:
    """`template` is what the last report was about."""

    template: str
    current: Verdict
    since: float
    reported: Verdict | None = None
    at: float = float("-inf")
    pause_s: float = _PAUSE_S

    def note(self, found: ShadowVerdict, now: float) -> bool:
        """Take the verdict of a moment. Returns whether it is to be reported."""
        if found.template != self.template:
            self.template, self.reported = found.template, None
        if found.verdict is not self.current:
            self.current, self.since = found.verdict, now
        if now - self.since >= _LONGEST_S:
            self.pause_s = _PAUSE_S
        holds_s = _HOLDS_S.get(found.verdict)
        if holds_s is None or found.verdict is self.reported or now - self.since < holds_s:
            return False
        if now - self.at < self.pause_s:
            return False
        self.pause_s = min(2 * self.pause_s, _LONGEST_S) if self.reported else _PAUSE_S
        self.reported, self.at = found.verdict, now
        return True


class VerdictChanges:
    """The verdicts on all shadows that were reported last."""

    def __init__(self) -> None:
        self._shadows: dict[NamespacedName, _Shadow] = {}

    def note(self, shadows: Iterable[ShadowVerdict], now: float) -> list[ShadowVerdict]:
        """Take all verdicts of a moment, of shadows that mirror. Returns those to report. `now` is in seconds
        of any steady clock."""
        found = {NamespacedName(each.namespace, each.canary): each for each in shadows}
        for gone in self._shadows.keys() - found.keys():
            del self._shadows[gone]
        reported = []
        for canary, each in found.items():
            known = self._shadows.get(canary)
            if known is None:
                known = self._shadows[canary] = _Shadow(each.template, each.verdict, now)
            if known.note(each, now):
                reported.append(each)
        return reported
