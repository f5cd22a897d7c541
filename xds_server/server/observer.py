"""Owns what Envoys report of shadowed Services: the loads of their clusters, and a `Record` of each shadow.

Envoys are asked for the clusters of shadowed Services only. Which these are follows from what each step
moved, so Services without a shadow cost nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.base.recent import remembered
from xds_server.core.plan import NOTHING
from xds_server.core.verdict.record import NO_REQUESTS, Record, Requests
from xds_server.server.pipeline import Published
from xds_server.server.views import View
from xds_server.server.watched import Watched, watched_of
from xds_server.xds.loads import INTERVALS_S, Loads

_NONE: Final = frozenset[str]()
_MOST_VIEWS: Final = 64


class _Totals(NamedTuple):
    """Requests to the primary and mirrored requests since Envoys were first asked."""

    primary: Requests
    mirrored: Requests


class Observer:
    """What this replica's Envoys report. `wall` gives seconds since the epoch."""

    def __init__(
        self, *, intervals_s: Sequence[float] = INTERVALS_S, wall: Callable[[], float] = time.time
    ) -> None:
        self.loads = Loads(intervals_s)
        self._wall = wall
        self._notify: Callable[[], None] = lambda: None
        self._marked: dict[NamespacedName, frozenset[NamespacedName]] = {}
        self._services: dict[NamespacedName, Mapping[NamespacedName, Watched]] = {}
        self._clusters: dict[str, dict[NamespacedName, frozenset[str]]] = {}
        self._of_view: dict[frozenset[str] | None, frozenset[str]] = {}
        self._records: dict[NamespacedName, Record] = {}
        self._counted: dict[NamespacedName, dict[NamespacedName, _Totals]] = {}

    def listen(self, notify: Callable[[], None]) -> None:
        """Call `notify` when other clusters are wanted."""
        self._notify = notify

    def stepped(self, before: Published | None, after: Published) -> None:
        """Follow a step, at the cost of what it moved."""
        moved = after.moved if before else after.plan.services.keys()
        changed = [target for target in moved if self._follow(target, after)]
        if changed:
            self._of_view.clear()
            self.loads.want(self.wanted(View()))
            for target in changed:
                self._recount(target)
            self._notify()

    @property
    def watched(self) -> Mapping[NamespacedName, Watched]:
        """The shadows that Envoys are to mirror requests to, by canary."""
        return {canary: each for found in self._services.values() for canary, each in found.items()}

    def wanted(self, view: View) -> frozenset[str]:
        """The clusters of a view whose loads Envoys are to report."""
        return remembered(
            self._of_view, view.namespaces, lambda: self._clusters_in(view.namespaces), most=_MOST_VIEWS
        )

    def _clusters_in(self, namespaces: frozenset[str] | None) -> frozenset[str]:
        seen = self._clusters.keys() if namespaces is None else namespaces & self._clusters.keys()
        return _NONE.union(*(each for namespace in seen for each in self._clusters[namespace].values()))

    def records(self) -> Mapping[NamespacedName, Record]:
        """The record of each shadow, by canary. A record lasts as long as the workload has its label,
        whatever the state of the shadow."""
        for target in self._services:
            self._count(target)
        return self._records

    def _follow(self, target: NamespacedName, after: Published) -> bool:
        """Follow what happened to one Service. Returns whether other clusters are wanted of it."""
        plan = after.plan.services.get(target, NOTHING)
        self._keep_records(target, frozenset(NamespacedName(s.namespace, s.canary) for s in plan.shadows))
        known, watched = self._services.get(target, {}), watched_of(target, plan)
        if watched == known:
            return False
        self._count(target)  # the loads of what is no longer wanted will be forgotten
        clusters = self._clusters.setdefault(target.namespace, {})
        if watched:
            self._services[target] = watched
            clusters[target] = _NONE.union(*(each.clusters for each in watched.values()))
            return True
        del self._services[target], clusters[target]
        if not clusters:
            del self._clusters[target.namespace]
        return True

    def _keep_records(self, target: NamespacedName, marked: frozenset[NamespacedName]) -> None:
        for canary in self._marked.get(target, frozenset()) - marked:
            if self._records[canary].service == target.name:  # otherwise it shadows another Service now
                del self._records[canary]
        for canary in marked:
            known = self._records.get(canary)
            if known is None or known.service != target.name:
                self._records[canary] = Record(canary=canary, service=target.name, since=self._wall())
        if marked:
            self._marked[target] = marked
        else:
            self._marked.pop(target, None)

    def _count(self, target: NamespacedName) -> None:
        """Add to the records what was reported since the last call."""
        counted = self._counted.get(target, {})
        for canary, watched in self._services.get(target, {}).items():
            record, total = self._records.get(canary), self._totals(watched)
            if record is not None and record.service == target.name:
                before = counted[canary]
                record.primary = record.primary.plus(_since(before.primary, total.primary))
                record.mirrored = record.mirrored.plus(_since(before.mirrored, total.mirrored))
            counted[canary] = total

    def _recount(self, target: NamespacedName) -> None:
        """Begin at the sums as they are now."""
        watched = self._services.get(target, {})
        self._counted.pop(target, None)
        if watched:
            self._counted[target] = {canary: self._totals(each) for canary, each in watched.items()}

    def _totals(self, watched: Watched) -> _Totals:
        return _Totals(
            self._sum(port.primary for port in watched.ports),
            self._sum(port.mirrored for port in watched.ports),
        )

    def _sum(self, clusters: Iterable[str]) -> Requests:
        loads = (self.loads.total(each) for each in clusters)
        return sum_of(Requests(each.issued, each.succeeded, each.failed, each.dropped) for each in loads)


def sum_of(requests: Iterable[Requests]) -> Requests:
    """The sum of all."""
    total = NO_REQUESTS
    for each in requests:
        total = total.plus(each)
    return total


def _since(before: Requests, after: Requests) -> Requests:
    return Requests(*(now - was for was, now in zip(before, after, strict=True)))
