"""What the composition root measures: source, pipeline and fleet, and the way from one to the other."""

import time
from collections.abc import Awaitable, Callable

import grpc
import pytest

from tests.support import objects
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource, running
from tests.unit.test_app import _get as get
from tests.unit.test_app import _raise as raises
from tests.unit.test_app import _syncs as syncs
from tests.unit.test_pipeline import _changes as changes
from tests.wire.rig import Stream, node
from xds_server.core.objects import Kind
from xds_server.core.source import WatchCounts
from xds_server.server.pipeline import Pipeline
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER


async def test_metrics_show_the_source_the_shadows_and_the_fleet() -> None:
    source = ScriptedSource()
    source.watches = {Kind.SERVICE: WatchCounts(lists=1, resumes=2, events=3, failures=4)}
    async with running(source) as app:
        sink = await source.opened()
        await eventually(lambda: app.addresses.http.port)
        _, before = await get(app, "/metrics")
        sink.put(changes(objects.namespace(), objects.service(), objects.canary()))
        sink.synced()
        await app.ready.wait()
        source.outage_s, source.outages = 61.5, {Kind.POD: 61.5}
        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node("gateway-7"))
            await envoy.take()
            await eventually(lambda: sum(app.reporter.facts().lag.late.counts))
            _, after = await get(app, "/metrics")
    assert "xds_shadow_loop_lag_seconds_count 0.0" in before
    assert "xds_shadow_loop_lag_seconds_count 0.0" not in after
    assert "xds_shadow_ready 0.0" in before
    assert "xds_shadow_source_up 1.0" in before
    for line in (
        "xds_shadow_ready 1.0",
        "xds_shadow_source_up 0.0",
        "xds_shadow_source_outage_seconds 61.5",
        'xds_shadow_watch_outage_seconds{kind="Pod"} 61.5',
        'xds_shadow_watch_lists_total{kind="Service"} 1.0',
        'xds_shadow_watch_resumes_total{kind="Service"} 2.0',
        'xds_shadow_watch_events_total{kind="Service"} 3.0',
        'xds_shadow_watch_failures_total{kind="Service"} 4.0',
        'xds_shadow_shadows{state="Pending"} 1.0',
        'xds_shadow_shadows{state="Active"} 0.0',
        'xds_shadow_shadows_by_reason{reason="NoReadyEndpoint"} 1.0',
        'xds_shadow_shadows_by_reason{reason="InvalidPolicy"} 0.0',
        'xds_shadow_envoys{variant="delta"} 1.0',
        "xds_shadow_build_failures_total 0.0",
        "xds_shadow_load_report_streams 0.0",
        'xds_shadow_load_report_entries_total{result="rejected"} 0.0',
        'xds_shadow_access_log_entries_total{result="accepted"} 0.0',
        "xds_shadow_pairs_waiting 0.0",
    ):
        assert f"{line}\n" in after


def sample(text: str, name: str) -> float:
    """The value of one line."""
    [value] = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(value)


async def test_metrics_follow_a_change_to_the_last_acknowledgement() -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()

        async def metric(name: str) -> float:
            return sample((await get(app, "/metrics"))[1], f"xds_shadow_{name}")

        async with grpc.aio.insecure_channel(str(app.addresses.xds)) as channel:
            envoy = Stream(channel, Variant.DELTA)
            await envoy.ask(CLUSTER, node=node("gateway-7"))
            await envoy.ask(CLUSTER, answers=await envoy.take())
            await eventually(lambda: syncs(app) == {"CDS": "SYNCED"})
            gathered = await metric('pipeline_stage_seconds_count{stage="gather"}')
            seen = time.monotonic()
            sink.put(changes(objects.service("second")))
            answer = await envoy.take()
            await eventually(metric_is(metric, 'unanswered_responses{type="CDS"}', 1))
            assert await metric("convergence_waiting_seconds") > 0
            assert await metric("convergence_seconds_count") == 0, "the first one comes of no change"
            acknowledged = time.monotonic()
            await envoy.ask(CLUSTER, answers=answer)
            await eventually(metric_is(metric, "convergence_seconds_count", 1))
            took = await metric("convergence_seconds_sum")
            assert acknowledged - seen <= took <= time.monotonic() - seen
            assert await metric("convergence_waiting_seconds") == 0
            assert await metric('unanswered_responses{type="CDS"}') == 0
            # A change that no Envoy has to answer is not measured.
            sink.put(changes(objects.namespace("other", expose=None)))
            await eventually(metric_is(metric, 'pipeline_stage_seconds_count{stage="combine"}', gathered + 2))
            assert await metric("convergence_seconds_count") == 1
        for stage in ("gather", "apply", "build", "combine"):
            assert await metric(f'pipeline_stage_seconds_count{{stage="{stage}"}}') == gathered + 2
        assert await metric('pipeline_stage_seconds_count{stage="commit"}') == gathered + 1


def metric_is(
    metric: Callable[[str], Awaitable[float]], name: str, value: float
) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await metric(name) == value

    return holds


async def test_metrics_say_how_long_a_change_has_waited_that_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(changes(objects.namespace(), objects.service()))
        sink.synced()
        await app.ready.wait()
        built = app.reporter.facts().built
        assert app.reporter.facts().behind_s == 0
        began = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "step", raises(RuntimeError("a bug")))
            sink.put(changes(objects.service("second")))
            await eventually(lambda: app.reporter.facts().build_failures == 1)
            later = time.monotonic()
            sink.put(changes(objects.service("third")))
            await eventually(lambda: app.reporter.facts().build_failures == 2)
            # The oldest counts, although another has arrived.
            assert later - began <= app.reporter.facts().behind_s <= time.monotonic() - began
        assert app.reporter.facts().built == built
        sink.put(changes(objects.service("fourth")))
        await eventually(lambda: app.reporter.facts().built > built)
        assert app.reporter.facts().behind_s == 0
