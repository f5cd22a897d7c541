"""A shadow that is paused or whose time has come sends nothing; neither takes more than its annotation."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.envoy.policy.conftest import Annotate
from tests.support.backends import Recorder
from tests.support.rig import Rig

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


async def nothing_is_copied(fleet: Rig, canary: Recorder) -> None:
    """Of a few requests to each Envoy, which knows of no shadow cluster any more."""
    for envoy in fleet.envoys:
        answers = await fleet.send_many(envoy, 20)
        assert {(answer.status, answer.backend) for answer in answers} == {(200, "stable")}
        assert await envoy.stat("cluster.staging/myapp/http/shadow/myapp-canary.upstream_rq_total") == 0
        assert [answer for answer in answers if canary.of(answer.test_id)] == []


async def until_mirrored(fleet: Rig, canary: Recorder) -> None:
    for envoy in fleet.envoys:
        await canary.until_seen((await fleet.send(envoy)).test_id)


async def test_a_shadow_ends_at_its_time_with_no_event_from_outside(
    fleet: Rig, canary: Recorder, annotate: Annotate
) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    await annotate(until=until.isoformat())
    await until_mirrored(fleet, canary)
    # From here on no object changes.
    await fleet.until_shadow("Expired", "Expired")
    assert datetime.now(UTC) >= until
    await nothing_is_copied(fleet, canary)


async def test_a_paused_shadow_goes_on_where_it_was(fleet: Rig, canary: Recorder, annotate: Annotate) -> None:
    await annotate(paused="true", state="Paused")
    await nothing_is_copied(fleet, canary)
    await annotate(paused="false")
    await until_mirrored(fleet, canary)
