"""A real Prometheus scrapes a real control plane with real Envoys, and answers every expression of the rules
and of the dashboard."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.monitoring.tools import RULES, expressions, metrics_of, panels, tool
from tests.support import objects
from tests.support.backends import recorder
from tests.support.rig import rig
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.demo.processes import Process
from xds_server.server.metrics import TABLE

KUBERNETES_ALONE = {"xds_shadow_events_total"} | {row.name for row in TABLE if "_watch_" in row.name}
"""What is not there without an API server."""


class Prometheus:
    """One that is running."""

    def __init__(self, address: Address, session: aiohttp.ClientSession) -> None:
        self._url, self._session = f"http://{address}", session

    async def get(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as response:
            found = await response.json()
        assert found["status"] == "success", found
        return found["data"]

    async def names(self) -> set[str]:
        """Of all metrics that it has."""
        return set(await self.get("label/__name__/values"))

    async def firing(self) -> set[str]:
        """The alerts that fire."""
        found = (await self.get("alerts"))["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}

    def fires(self, alert: str) -> Callable[[], Awaitable[bool]]:
        async def does() -> bool:
            return alert in await self.firing()

        return does

    async def answers(self) -> bool:
        try:
            await self.names()
        except aiohttp.ClientError:
            return False
        return True


@asynccontextmanager
async def prometheus(directory: Path, target: Address) -> AsyncIterator[Prometheus]:
    """Scrapes the target every second, with the rules loaded."""
    config = directory / "prometheus.yaml"
    scrape = {"job_name": "xds-shadow", "static_configs": [{"targets": [str(target)]}]}
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config.write_text(
        yaml.safe_dump({"global": every, "rule_files": [str(RULES)], "scrape_configs": [scrape]})
    )
    with reserved_ports(1) as (port,):
        pass  # Prometheus does not share a port, so it is free again; if somebody else takes it, it says so
    address = Address("127.0.0.1", port)
    command = [
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    process = Process("prometheus", command, directory / "prometheus.log")
    await process.start()
    try:
        async with aiohttp.ClientSession() as session:
            running = Prometheus(address, session)
            await process.until(running.answers, what="answering")
            yield running
    finally:
        await process.stop()


@pytest.mark.envoy
async def test_a_real_prometheus_answers_every_expression(tmp_path: Path) -> None:
    tool("prometheus")
    async with recorder("stable") as stable, recorder("canary") as canary, rig(tmp_path) as fleet:
        fleet.write("base.yaml", [objects.namespace(), objects.service()])
        fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await fleet.until_shadow("Active")
        async with prometheus(tmp_path, fleet.control_plane.http_address) as running:

            async def scraped() -> bool:
                return "xds_shadow_traffic" in await running.names()

            await eventually(scraped, what="a scrape with a shadow")
            names = {name.removesuffix("_bucket") for name in await running.names()}
            for where, expression in expressions().items():
                await running.get("query", query=expression)
                missing = metrics_of(expression) - names - KUBERNETES_ALONE
                assert missing == set(), where
            [group] = (await running.get("rules"))["groups"]
            assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
            assert {rule.get("lastError", "") for rule in group["rules"]} == {""}
            active = await running.get("query", query='max(xds_shadow_shadows{state="Active"})')
            assert active["result"][0]["value"][1] == "1"


@pytest.mark.envoy
async def test_a_real_prometheus_draws_a_canary_that_fails_and_fires_its_alert(tmp_path: Path) -> None:
    """By what two real Envoys report of 1,000 requests."""
    tool("prometheus")
    async with (
        recorder("stable") as stable,
        recorder("canary", fails=4) as canary,
        rig(tmp_path) as fleet,
        prometheus(tmp_path, fleet.control_plane.http_address) as running,
    ):
        fleet.write("base.yaml", [objects.namespace(), objects.service()])
        fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        fleet.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await fleet.until_shadow("Active")
        await eventually(counts(running, "pairs", 0), what="a scrape with a shadow")
        assert "XdsShadowCanaryWorse" not in await running.firing()
        await asyncio.gather(*(fleet.send_many(envoy, 500) for envoy in fleet.envoys))
        for metric in ("primary_requests", "mirrored_requests", "pairs"):
            await eventually(counts(running, metric, 1_000), what=metric)
        for panel in drawn("Mirrored requests", "Dropped", "Failures, canary", "Failures, primary"):
            [found] = (await running.get("query", query=panel))["result"]
            assert (found["metric"]["namespace"], found["metric"]["deployment"]) == (
                "staging",
                "myapp-canary",
            )
        [failing, pairs, latency, verdicts] = [
            (await running.get("query", query=panel))["result"]
            for panel in drawn("Failures, canary", "Pairs", "Latency, p95", "Verdicts")
        ]
        assert float(failing[0]["value"][1]) == pytest.approx(0.25, rel=0.05)
        assert {each["metric"]["outcome"]: float(each["value"][1]) > 0 for each in pairs} == {
            "canary_failed": True,
            "stable_failed": False,
            "same": True,
        }
        assert sorted(each["metric"]["side"] for each in latency) == ["canary", "primary"]
        assert {each["metric"]["verdict"] for each in verdicts if each["value"][1] == "1"} == {"Worse"}
        await eventually(running.fires("XdsShadowCanaryWorse"), what="the alert")


def counts(running: Prometheus, metric: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def it_does() -> bool:
        of = f'sum(xds_shadow_{metric}_total{{namespace="staging", deployment="myapp-canary"}})'
        return [float(each["value"][1]) for each in (await running.get("query", query=of))["result"]] == [
            count
        ]

    return it_does


def drawn(*titles: str) -> list[str]:
    """The expressions of panels."""
    found = {
        where.split(", ", 1)[1].rpartition(":")[0]: each
        for where, each in expressions().items()
        if "," in where
    }
    return [found[title] for title in titles]


def test_every_metric_is_drawn() -> None:
    drawn = (metrics_of(each) for where, each in expressions().items() if where.startswith("panel"))
    assert set().union(*drawn) == {row.name for row in TABLE}


def test_alerts_and_panels_name_metrics_that_exist() -> None:
    known = {row.name for row in TABLE}
    for where, expression in expressions().items():
        assert metrics_of(expression) <= known, where


def test_the_dashboard_can_be_provisioned_anywhere() -> None:
    for panel in panels():
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
    places = [
        (box["x"] + x, box["y"] + y)
        for box in (panel["gridPos"] for panel in panels())
        for x in range(box["w"])
        for y in range(box["h"])
    ]
    assert len(places) == len(set(places)), "panels overlap"
    assert max(x for x, _ in places) < 24
    assert json.dumps(panels()).count("http") == 0, "nothing from elsewhere"
