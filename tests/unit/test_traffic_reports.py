"""What a control plane reports of the requests of shadows: to `status`, the log, and the writer of Events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.support import objects
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource, _config
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Condition
from xds_server.server.app import App

CANARY = "myapp-canary"


class Events:
    """Takes the place of the writer of Events."""

    leads = True

    def __init__(self) -> None:
        self.found: list[tuple[str, str, bool]] = []

    def put(self, conditions: Sequence[Condition], *, initial: bool = False) -> None:
        for each in conditions:
            self.found.append((each.subject.name, each.reason, initial))

    def outcomes(self) -> dict[str, int]:
        return {}


@contextlib.asynccontextmanager
async def shadowed(events: Events, *, late: bool = True) -> AsyncIterator[App]:
    """A control plane with a shadow, which begins after the start if it is `late`."""
    source = ScriptedSource()
    app = App(_config(), source=source, intervals_s=(0.05,))
    recorder: Any = events
    app.reporter._events = recorder
    task = asyncio.create_task(app.run())
    try:
        sink = await source.opened()
        base = [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
            objects.pod("canary-1", Address("10.0.0.2", 80)),
        ]
        sink.put(_changes(*base, *([] if late else [objects.canary()])))
        sink.synced()
        await app.ready.wait()
        if late:
            sink.put(_changes(objects.canary()))
        yield app
    finally:
        app.stop()
        await task


@pytest.mark.parametrize("late", [True, False])
async def test_a_state_that_lasts_is_an_event_and_shown(late: bool) -> None:
    events = Events()
    async with shadowed(events, late=late) as app:
        await eventually(lambda: (CANARY, "ShadowNoEnvoy", not late) in events.found, what="the Event")
        [shadow] = app.reporter.server_state().shadows
        assert (shadow.state, shadow.reason) == ("Active", "NoEnvoy")
        assert shadow.message.startswith("No Envoy that is connected to this replica")
        explained = app.reporter.explain(NamespacedName("staging", CANARY))
        assert explained is not None
        assert explained.shadow.reason == "NoEnvoy"
        assert app.reporter.facts().reasons["NoEnvoy"] == 1
        assert [each[1] for each in events.found] == ["ShadowActive", "ShadowNoEnvoy"]


async def test_that_another_replica_has_the_envoys_is_no_event() -> None:
    events, asked = Events(), asyncio.Event()

    async def elsewhere(canary: NamespacedName) -> bool:
        asked.set()
        return canary == NamespacedName("staging", CANARY)

    async with shadowed(events) as app:
        app.reporter.elsewhere = elsewhere
        await asked.wait()
        [shadow] = app.reporter.shadows()
        assert shadow.reason == "NoEnvoy"
    assert [each[1] for each in events.found] == ["ShadowActive"]


async def test_a_bug_in_looking_does_not_end_the_reports() -> None:
    events = Events()
    async with shadowed(events) as app:
        look, failed = app.observer.look, asyncio.Event()

        async def fails() -> Any:
            failed.set()
            app.observer.look = look  # type: ignore[method-assign]
            raise ZeroDivisionError("a bug")

        app.observer.look = fails  # type: ignore[method-assign]
        await failed.wait()
        await eventually(lambda: (CANARY, "ShadowNoEnvoy", False) in events.found, what="the Event")
