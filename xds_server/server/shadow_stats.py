"""What the metrics and the pictures of each shadow show: totals that go on when evidence begins again, the
requests of the last half hour, and the verdict as it was last given.

It looks at the records every few seconds. In between it costs nothing, and at a scrape it only reads. It
looks at one shadow at a time, because this process serves the Envoys.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import structlog

from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.core.verdict.figures import NO_FIGURES, Figures, Gains
from xds_server.core.verdict.history import History, Series
from xds_server.core.verdict.judgement import Verdict
from xds_server.core.verdict.record import Record
from xds_server.core.verdict.traffic import Traffic
from xds_server.server.verdict_report import ShadowVerdict, VerdictReport
from xds_server.server.verdicts import Verdicts

_EVERY_S: Final = 10.0
_REST: Final = 9

OTHER: Final = ("(other)", "(other)")
"""The labels of the sum of all shadows that have no metrics of their own. They are no names of Kubernetes."""

_TRAFFIC: Final = frozenset(Traffic)
_sleep = asyncio.sleep
_log = structlog.stdlib.get_logger(__name__)


class Limit(NamedTuple):
    """How many shadows have metrics and a history of their own, and how many of them in one namespace."""

    total: int = 200
    of_namespace: int = 100


LIMIT: Final = Limit()


def pause(took_s: float) -> float:
    """Seconds until the next look: so many that looks take a tenth of the time at most."""
    return max(_EVERY_S, _REST * took_s)


class ShadowStats:
    """Figures, history and verdict of each shadow that has its own, at most as `limit` says.

    A shadow keeps its own until it ends. The verdicts and the histories are of all replicas. A look at which
    another replica began or ceased to answer adds nothing to the histories. `report` has the verdicts of the
    last look, None before the first.
    """

    def __init__(
        self, verdicts: Verdicts, shadows: Callable[[], Iterable[ShadowStatus]], limit: Limit = LIMIT
    ) -> None:
        self._verdicts = verdicts
        self._shadows = shadows
        self._limit = limit
        self._gains = Gains()
        self._totals: dict[NamespacedName, Figures] = {}
        self._others = NO_FIGURES
        self._there_are_others = False
        self._histories: dict[NamespacedName, History] = {}
        self._sums: dict[NamespacedName, _Sum] = {}
        self.report: VerdictReport | None = None

    async def run(self) -> None:
        """Look at the records until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.look(began)
            except Exception:  # noqa: BLE001 - a bug here must not end the serving
                _log.exception("shadow statistics failed")
            await _sleep(pause(time.monotonic() - began))

    async def look(self, now: float) -> None:
        """Add what the records gained. `now` is in seconds of any steady clock."""
        report = await self._verdicts.ask()
        shadows = {NamespacedName(each.namespace, each.canary): each for each in report.shadows}
        self._assign(shadows, now)
        replicas = frozenset(each.name for each in report.replicas if not each.problem)
        records = self._verdicts.own()
        for shadow, history in self._histories.items():
            history.add(self._gained(shadow, shadows[shadow], replicas, records.get(shadow)), now)
        self.report = report
        self._gains.keep(records.keys() & shadows.keys())
        for shadow in tuple(records.keys() & shadows.keys()):
            if record := records.get(shadow):
                self._add(shadow, self._gains.of(record))
            await asyncio.sleep(0)

    def figures(self) -> dict[tuple[str, str], Figures]:
        """The totals since the start of this process, by namespace and canary, from the Envoys of this
        replica; of the shadows that have none of their own, the sum."""
        found = {(shadow.namespace, shadow.name): total for shadow, total in self._totals.items()}
        return found | ({OTHER: self._others} if self._there_are_others else {})

    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """The last verdict on each shadow that has figures of its own."""
        return {
            (each.namespace, each.canary): each.verdict
            for each in (self.report.shadows if self.report else ())
            if NamespacedName(each.namespace, each.canary) in self._totals
        }

    def traffic(self) -> dict[tuple[str, str], Traffic]:
        """What happens to the requests of each active shadow that has figures of its own, by the Envoys of
        this replica."""
        return {
            (each.namespace, each.canary): Traffic(each.reason)
            for each in self._shadows()
            if each.reason in _TRAFFIC and NamespacedName(each.namespace, each.canary) in self._totals
        }

    def series(self) -> dict[NamespacedName, Series]:
        """The requests of the last half hour of each shadow that has a history."""
        return {shadow: history.series() for shadow, history in self._histories.items()}

    def _assign(self, shadows: Iterable[NamespacedName], now: float) -> None:
        there_are = dict.fromkeys(shadows)
        for gone in self._totals.keys() - there_are.keys():
            del self._totals[gone], self._histories[gone]
            self._sums.pop(gone, None)
        of_namespace = Counter(shadow.namespace for shadow in self._totals)
        for shadow in there_are:
            has_room = of_namespace[shadow.namespace] < self._limit.of_namespace
            if shadow not in self._totals and has_room and len(self._totals) < self._limit.total:
                of_namespace[shadow.namespace] += 1
                self._totals[shadow], self._histories[shadow] = NO_FIGURES, History(now)
        self._there_are_others |= len(there_are) > len(self._totals)

    def _add(self, shadow: NamespacedName, gained: Figures) -> None:
        if shadow in self._totals:
            self._totals[shadow] = self._totals[shadow].plus(gained)
        else:
            self._others = self._others.plus(gained)

    def _gained(
        self, shadow: NamespacedName, verdict: ShadowVerdict, replicas: frozenset[str], own: Record | None
    ) -> Figures:
        """What the sum of all replicas gained. The first time, that is what this replica has: the others may
        have had the shadow for long."""
        now = _Sum(replicas, verdict.template, Figures(verdict.primary, verdict.mirrored))
        before = self._sums.get(shadow)
        self._sums[shadow] = now
        if before is None:
            return Figures(own.primary, own.mirrored) if own else NO_FIGURES
        comparable = before.replicas == now.replicas and before.template == now.template
        return now.figures.gained(before.figures) if comparable else NO_FIGURES


class _Sum(NamedTuple):
    """The requests of a shadow by the evidence of these replicas about this template."""

    replicas: frozenset[str]
    template: str
    figures: Figures
