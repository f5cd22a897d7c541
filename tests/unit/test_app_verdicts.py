"""Verdicts in a running control plane: where a change of one is reported."""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import objects
from tests.support.records import record
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource, running
from tests.unit.test_pipeline import _changes as changes
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Condition
from xds_server.core.plan import ShadowStatus, State
from xds_server.server.app import App
from xds_server.server.verdict_report import Replica, VerdictReport, verdict_on

NAME = NamespacedName("staging", "myapp-canary")


class Written:
    """Who writes the Events."""

    leads = True

    def __init__(self) -> None:
        self.conditions: list[Condition] = []

    def put(self, conditions: Sequence[Condition], **_: bool) -> None:
        self.conditions += conditions


def judged(app: App, **figures: Any) -> VerdictReport:
    [shadow] = app.reporter.shadows()
    return VerdictReport((verdict_on(shadow, record(canary=NAME, **figures)),), (Replica("one"),))


async def until(app: App, state: State) -> ShadowStatus:
    await eventually(lambda: [each.state for each in app.reporter.shadows()] == [state], what=state)
    return app.reporter.shadows()[0]


async def test_a_verdict_that_changes_is_an_event_a_line_of_the_log_and_in_status() -> None:
    source, events = ScriptedSource(), Written()
    async with running(source) as app:
        app.reporter._events = events  # type: ignore[assignment]
        sink = await source.opened()
        canary = objects.canary()
        sink.put(
            changes(
                objects.namespace(),
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
                canary,
                objects.pod("canary-1", Address("10.0.0.2", 80)),
            )
        )
        sink.synced()
        await until(app, State.ACTIVE)
        events.conditions.clear()
        with capture_logs() as logs:
            app.reporter.judged(judged(app, pairs=400, failed=20))
            app.reporter.judged(judged(app, pairs=400, failed=20))
        [event] = events.conditions
        assert (event.subject.kind, event.subject.name, event.reason, event.severity) == (
            "Deployment",
            "myapp-canary",
            "ShadowWorse",
            "Error",
        )
        assert event.message.startswith("In 400 pairs the canary failed alone in 20")
        [line] = logs
        assert (line["event"], line["verdict"], line["log_level"]) == ("verdict changed", "Worse", "warning")
        change = app.reporter.server_state().changes[0]
        assert (change.reason, change.message, change.since is not None) == (
            event.reason,
            event.message,
            True,
        )


async def test_a_shadow_that_does_not_mirror_has_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    source, events = ScriptedSource(), Written()
    async with running(source) as app:
        app.reporter._events = events  # type: ignore[assignment]
        sink = await source.opened()
        sink.put(changes(objects.namespace(), objects.service(), objects.canary()))
        sink.synced()
        await until(app, State.PENDING)
        events.conditions.clear()
        report = judged(app, pairs=400, failed=20)
        app.reporter.judged(report)
        assert events.conditions == []

        def fail(*_: object) -> None:
            raise ValueError

        monkeypatch.setattr(app.reporter._verdicts, "note", fail)
        with capture_logs() as logs:
            app.reporter.judged(report)
        assert [line["event"] for line in logs] == ["reporting failed"]
