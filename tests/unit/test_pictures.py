"""What the page draws: the documents, and that they are made once for each look at the records."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.records import CANARY, record, shadow
from tests.support.status import status_of
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Kind
from xds_server.core.verdict.history import Series
from xds_server.core.verdict.tally import BOUNDS_S
from xds_server.server import page
from xds_server.server.http import Readiness, Shown, http_server
from xds_server.server.pictures import details, pictures
from xds_server.server.verdict_report import Replica, VerdictReport, verdict_on
from xds_server.xds.fleet import Fleet

SERIES = Series((8, 9), (0, 1), (4, 5), (2, 0))


def report(pairs: int = 2_000, failed: int = 100) -> VerdictReport:
    replicas = (Replica("one"), Replica("two", "it did not answer in 2 s"))
    return VerdictReport((verdict_on(shadow(), record(pairs, failed)),), replicas)


def test_a_picture_has_the_verdict_the_requests_and_the_latencies() -> None:
    found = pictures(report(), {CANARY: SERIES})
    [picture] = found["pictures"]
    assert (picture["namespace"], picture["name"], picture["kind"]) == ("staging", "web-canary", "Deployment")
    assert (picture["verdict"], picture["pairs"], picture["canary_failed"]) == ("Worse", 2_000, 100)
    assert picture["since"] == "1970-01-01T00:16:40+00:00"
    assert picture["series"] == SERIES._asdict()
    assert picture["arrived"] == 1.0
    primary, canary = picture["latency"]["primary"], picture["latency"]["canary"]
    assert sum(primary["bars"]) == sum(canary["bars"]) == 2_000
    assert (primary["p50"], canary["p99"]) == (
        pytest.approx(0.0113, rel=0.01),
        pytest.approx(0.1076, rel=0.01),
    )
    assert found["replicas"] == [{"name": "two", "problem": "it did not answer in 2 s"}]


def test_a_bar_has_the_latencies_up_to_its_bound() -> None:
    found = pictures(report(), {})
    [picture], bounds = found["pictures"], found["bounds_s"]
    assert len(picture["latency"]["canary"]["bars"]) == len(bounds) + 1 == len(BOUNDS_S) // 2 + 1
    for side, seconds in (("primary", {0.010}), ("canary", {0.010, 0.100})):
        bars = picture["latency"][side]["bars"]
        filled = {at for at, count in enumerate(bars) if count}
        assert filled == {next(at for at, bound in enumerate(bounds) if bound >= each) for each in seconds}


def test_a_shadow_without_evidence_has_an_empty_picture() -> None:
    [picture] = pictures(VerdictReport((verdict_on(shadow(), None),), ()), {})["pictures"]
    assert (picture["since"], picture["pairs"], picture["arrived"]) == (None, 0, None)
    assert picture["series"] == Series()._asdict()
    assert picture["latency"]["canary"]["p99"] is None


def test_details_are_the_groups_and_the_fields() -> None:
    found = record(2_000, 100)
    for number in range(60):
        found.bodies.add("GET /", [(f"$.field{number}", Kind.EXTRA)])
    document = details(verdict_on(shadow(), found))
    [group] = document["groups"]
    assert (group["name"], group["canary"]["codes"]) == ("GET /", (("200", 1_900), ("500", 100)))
    assert (len(document["fields"]), document["more_fields"]) == (50, 10)
    assert document["fields"][0] == {
        "group": "GET /",
        "path": "$.field0",
        "kind": "extra",
        "differing": 1,
        "compared": 60,
        "noise": 0,
        "baseline": 0,
        "differs": None,
    }


class Stats:
    """A report that a test replaces."""

    def __init__(self) -> None:
        self.report: VerdictReport | None = None

    def series(self) -> Mapping[NamespacedName, Series]:
        return {CANARY: SERIES}


@asynccontextmanager
async def served(stats: Stats) -> AsyncIterator[aiohttp.ClientSession]:
    async def metrics() -> bytes:
        return b""

    async with (
        http_server(
            Address("127.0.0.1", 0),
            readiness=lambda: Readiness(ready=True, message="ok"),
            metrics=metrics,
            shown=Shown(status_of(Fleet()), stats),
        ) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        yield session


async def test_pictures_are_made_once_for_each_report(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counter[str]()

    def counted(*of: object) -> dict[str, object]:
        made["pictures"] += 1
        return pictures(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(page, "pictures", counted)
    stats = Stats()
    async with served(stats) as session:
        async with session.get("/api/v1/pictures") as answer:
            assert (await answer.json())["pictures"] == []
        stats.report = report()
        for _ in range(3):
            async with session.get("/api/v1/pictures") as answer:
                tag = answer.headers["ETag"]
                assert [each["verdict"] for each in (await answer.json())["pictures"]] == ["Worse"]
        async with session.get("/api/v1/pictures", headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        assert made["pictures"] == 2


async def test_details_are_those_of_the_shadow_that_is_asked_for() -> None:
    stats = Stats()
    stats.report = report()
    async with served(stats) as session:
        query = {"namespace": "staging", "kind": "Deployment", "name": "web-canary"}
        async with session.get("/api/v1/pictures", params=query) as answer:
            assert [group["name"] for group in json.loads(await answer.text())["groups"]] == ["GET /"]
        for other in ({"name": "x"}, query | {"kind": "StatefulSet"}, {"namespace": "staging"}):
            async with session.get("/api/v1/pictures", params=other) as answer:
                assert answer.status == 404
