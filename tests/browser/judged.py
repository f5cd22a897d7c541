"""A page that shows made-up evidence of any number of shadows, without a fleet."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.support.records import shadow
from tests.support.status import NO_VERDICTS, STATE
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Kind
from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.history import MOST_STEPS, Series
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.record import Record, Requests
from xds_server.core.verdict.tally import Group
from xds_server.server.http import Readiness, Shown, http_server
from xds_server.server.status_api import StatusServicer
from xds_server.server.verdict_report import Replica, VerdictReport, verdict_on
from xds_server.xds.fleet import Fleet

STEPS = MOST_STEPS - 1
PRICE, TRACE = ("$.items[].price", Kind.TYPE), ("$.trace", Kind.VALUE)


class Judged:
    """What the page shows: what was added when `judge` was called last."""

    def __init__(self) -> None:
        self.replicas: Sequence[Replica] = (Replica("xds-shadow-0"),)
        self.records: dict[NamespacedName, Record] = {}
        self.report: VerdictReport | None = None
        self._series: dict[NamespacedName, Series] = {}
        self._random = random.Random(16)  # noqa: S311 - made-up figures

    def series(self) -> Mapping[NamespacedName, Series]:
        return self._series

    def add(
        self, name: str, *, pairs: int, failing: float = 0.0, slow: float = 1.0, lost: float = 0.0
    ) -> Record:
        """A shadow with so many pairs, whose canary fails in a share of them and takes so many times as long.
        The share `lost` of the pairs did not arrive."""
        canary = NamespacedName("staging", name)
        found = Record(canary=canary, service="myapp", since=1_795_000_000.0, expected=pairs / (1 - lost))
        for path, share in (("GET /orders/{id}", 0.7), ("POST /orders", 0.2), ("GET /", 0.1)):
            self.pair(found, path, round(pairs * share), failing if path.startswith("POST") else 0.0, slow)
        if pairs:
            found.envoys = frozenset({"envoy-1"})
            self._draw(found, failing)
        self.records[canary] = found
        return found

    def judge(self) -> None:
        """Take what was added."""
        judged = (verdict_on(shadow(canary), record) for canary, record in sorted(self.records.items()))
        self.report = VerdictReport(tuple(judged), tuple(self.replicas))

    def status(self) -> StatusServicer:
        state = replace(
            STATE, versions={"CDS": "1"}, source="Kubernetes at https://kubernetes is being watched"
        )
        return StatusServicer(
            state=lambda: replace(state, shadows=[shadow(each) for each in sorted(self.records)]),
            explain=lambda _: None,
            fleet=Fleet(),
            verdicts=NO_VERDICTS,
        )

    def pair(self, record: Record, path: str, pairs: int, failing: float = 0.0, slow: float = 1.0) -> None:
        """Pairs of one path."""
        failed = round(pairs * failing)
        group = Group(
            counts=Counts(pairs, failed, 0),
            codes=Counter({("200", "200"): pairs - failed, **({("200", "500"): failed} if failed else {})}),
        )
        for _ in range(pairs):
            latency = self._random.lognormvariate(-4.2, 0.5)
            group.primary.add(latency)
            group.shadow.add(latency * slow * self._random.uniform(0.8, 1.2))
        record.tally.groups[path] = group

    def _draw(self, record: Record, failing: float) -> None:
        primary = [round(self._random.uniform(0.7, 1) * 400) for _ in range(STEPS)]
        mirrored = [count // 2 for count in primary]
        failed = [sum(self._random.random() < failing for _ in range(count // 5)) for count in mirrored]
        own = [int(self._random.random() < 0.2) for _ in range(STEPS)]
        self._series[record.canary] = Series(tuple(primary), tuple(own), tuple(mirrored), tuple(failed))
        record.primary = Requests(sum(primary), sum(primary) - sum(own), sum(own), 0)
        record.mirrored = Requests(sum(mirrored), sum(mirrored) - sum(failed), sum(failed), 0)


def three() -> Judged:
    """A canary that fails, whose bodies differ, a good one, and one with too few pairs."""
    found = Judged()
    bad = found.add("myapp-canary", pairs=6_000, failing=0.05, slow=1.6)
    for number in range(400):
        bad.bodies.add("GET /orders/{id}", [TRACE, PRICE] if number % 20 else [TRACE], [TRACE])
    bad.tally.lost[Lost.NOT_SENT] = 7
    bad.bodies.skipped["encoding"] = 3
    found.add("myapp-next", pairs=20_000)
    found.add("myapp-slim", pairs=120)
    return found


@asynccontextmanager
async def page(judged: Judged) -> AsyncIterator[str]:
    """The address of a page that shows it."""
    judged.judge()

    async def metrics() -> bytes:
        return b""

    async with http_server(
        Address("127.0.0.1", 0),
        readiness=lambda: Readiness(ready=True, message="ok"),
        metrics=metrics,
        shown=Shown(judged.status(), judged),
    ) as address:
        yield f"http://{address}/"
