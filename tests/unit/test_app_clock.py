"""A clock that is set back is noticed though nothing else happens."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import objects
from tests.support.waiting import eventually
from tests.unit.test_app import ScriptedSource, running
from tests.unit.test_pipeline import _changes as changes
from xds_server.base.address import Address
from xds_server.core.plan import State
from xds_server.server import app as app_module


class Clock:
    """The `time` that the program sees."""

    monotonic = time.monotonic

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


async def test_a_shadow_that_expired_is_active_again_when_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(app_module, "time", clock)
    monkeypatch.setattr(app_module, "_CLOCK_CHECK_S", 0.05)
    until = datetime.now(UTC) + timedelta(hours=1)
    source = ScriptedSource()
    async with running(source) as app:
        sink = await source.opened()
        sink.put(
            changes(
                objects.namespace(),
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", Address("10.0.0.1", 80))]),
                objects.canary(until=until.isoformat()),
                objects.pod("canary-1", Address("10.0.0.2", 80)),
            )
        )
        sink.synced()
        await app.ready.wait()

        def states() -> list[State]:
            return [shadow.state for shadow in app.reporter.server_state().shadows]

        assert states() == [State.ACTIVE]
        for ahead, state in ((7200.0, State.EXPIRED), (0.0, State.ACTIVE), (7200.0, State.EXPIRED)):
            clock.ahead = ahead
            await eventually(lambda state=state: states() == [state], what=state)  # type: ignore[misc]
