"""Pairs and verdicts on Envoys of both versions and variants, with the gateway's listener and with one of
their own."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.envoy.verdicts.stage import DELAY, EMPTY, FAILING, Door, Stage, stage
from tests.support.waiting import eventually
from xds_server.pb import status_pb2

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

_SHADOW = "cluster.staging/myapp/http/shadow/myapp-canary"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("verdicts"), [0.0, 0.05, 0.5]) as running:
        yield running


def outcomes(verdict: status_pb2.Verdict) -> tuple[int, dict[str, int]]:
    return verdict.total.pairs, dict(verdict.lost)


async def test_a_canary_that_fails_is_worse_on_every_envoy(fleet: Stage) -> None:
    await fleet.shadow(0.0, 0.05)
    await fleet.send_everywhere(1_600)
    found = await fleet.until_judged(1_600)
    assert outcomes(found) == (1_600, {})
    assert found.verdict == "Worse"
    assert 0 < found.total.canary_failed < 200
    assert found.total.stable_failed == fleet.failed == 0
    assert found.total.canary_failed == found.mirrored.failed
    for name, door in fleet.doors.items():
        assert await door.envoy.stat("access_logs.grpc_access_log.logs_written") == 400, name


async def test_a_canary_that_fails_as_often_is_no_worse(fleet: Stage) -> None:
    await fleet.shadow(0.0, 0.0)
    await fleet.send_everywhere(10_400)
    found = await fleet.until_judged(10_400)
    assert outcomes(found) == (10_400, {})
    found = await fleet.until_expected(10_400)
    assert (found.verdict, found.expected) == ("NoWorse", 10_400)


async def test_a_response_without_a_body_is_complete(fleet: Stage) -> None:
    await fleet.shadow(0.0, 0.0)
    failed = fleet.failed
    for method, path in (("HEAD", "/"), ("GET", EMPTY)):
        await asyncio.gather(
            *(fleet.send(door, 10, method=method, path=path) for door in fleet.doors.values())
        )
    found = await fleet.until_judged(20 * len(fleet.doors))
    assert outcomes(found) == (20 * len(fleet.doors), {})
    assert {(each.primary, each.shadow) for each in found.total.codes} == {("200", "200"), ("204", "204")}
    assert (found.total.canary_failed, found.total.stable_failed) == (0, 0)
    fleet.failed = failed


async def test_an_id_that_a_caller_repeats_decides_nothing(fleet: Stage) -> None:
    await fleet.shadow(0.5, 0.5)
    for door in fleet.doors.values():
        await fleet.send(door, 50, ids=["0" * 32])
    found = await fleet.until_judged(50 * len(fleet.doors))
    assert outcomes(found) == (0, {"ambiguous": 50 * len(fleet.doors)})


async def test_a_request_that_is_not_mirrored_cannot_stand_in_for_one_that_fails(fleet: Stage) -> None:
    """Both sides fail the first request. The second one, with the same id, is too large to be mirrored, and
    the primary answers it with 200."""
    await fleet.shadow(0.0, 0.0, max_body="1Ki")
    ids = [uuid.uuid4().hex for _ in range(5)]
    for door in fleet.doors.values():
        await fleet.send(door, 5, ids=ids, path=FAILING)
        await fleet.send(door, 5, ids=ids, method="POST", data=b"x" * 2_000)
    found = await fleet.until_judged(5 * len(fleet.doors))
    assert outcomes(found) == (0, {"ambiguous": 5 * len(fleet.doors)})


async def test_ids_that_callers_choose_pair_as_others_do(fleet: Stage) -> None:
    await fleet.shadow(0.0, 0.0)
    for number, door in enumerate(fleet.doors.values()):
        await fleet.send(door, 20, ids=[f"order-{number}-{each}" for each in range(20)])
        await fleet.send(door, 3, ids=["x" * 65])
    count = len(fleet.doors)
    found = await fleet.until_judged(26 * count)
    # Neither of the entries of a request with an id that is too long can be joined.
    assert outcomes(found) == (20 * count, {"no_id": 6 * count})


async def test_a_caller_who_does_not_wait_says_nothing_of_the_primary(fleet: Stage) -> None:
    await fleet.shadow(0.0, 0.0)
    brief = aiohttp.ClientTimeout(total=0.2)

    async def give_up(door: Door) -> None:
        with pytest.raises(TimeoutError):
            await fleet.send(door, 1, at_once=1, timeout=brief, headers={DELAY: "700"})

    await asyncio.gather(*(give_up(door) for door in fleet.doors.values()))
    found = await fleet.until_judged(len(fleet.doors))
    assert outcomes(found) == (0, {"abandoned": len(fleet.doors)})


async def test_a_request_that_takes_both_too_long_says_nothing(fleet: Stage) -> None:
    """The canary's requests have a timeout, and the primary's have none: both are the same program."""
    await fleet.shadow(0.0, 0.0)
    await asyncio.gather(*(fleet.send(door, 2, headers={DELAY: "1400"}) for door in fleet.doors.values()))
    found = await fleet.until_judged(2 * len(fleet.doors))
    assert outcomes(found) == (2 * len(fleet.doors), {})
    assert {(each.primary, each.shadow) for each in found.total.codes} == {("200", "none")}
    assert (found.total.canary_failed, found.total.stable_failed) == (0, 0)


async def test_a_share_changes_without_a_new_cluster_or_listener(fleet: Stage) -> None:
    """Requests that may take 10 minutes may wait as long for their pair, so few of them are logged."""
    await fleet.shadow(0.0, 0.0, timeout="10m")
    before = {name: await changes(door) for name, door in fleet.doors.items()}
    load = asyncio.create_task(send_until_cancelled(fleet), name="load")

    async def sampled() -> bool:
        dumps = [await door.envoy.admin("/config_dump?include_eds") for door in fleet.doors.values()]
        metadata = ["".join(map(str, metadata_in(each))) for each in dumps]
        return all("xds-shadow.pairs" in each and "xds-shadow.all-pairs" not in each for each in metadata)

    await eventually(sampled, what="a smaller share on every Envoy")
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    for name, door in fleet.doors.items():
        logged, mirrored = "access_logs.grpc_access_log.logs_written", f"{_SHADOW}.upstream_rq_completed"
        await eventually(partial(at_rest, door), what=f"the end of the load of {name}")
        known, done = await door.envoy.stat(logged), await door.envoy.stat(mirrored)
        # Which ids are logged depends on the load: those that end in one zero, or in several.
        await fleet.send(
            door, 32, ids=[f"{number}{tail}" for number in range(16) for tail in ("0000", "1111")]
        )
        await eventually_stat(door, mirrored, at_least=done + 32)
        await eventually_stat(door, logged, at_least=known + 2 * 16)
        assert await door.envoy.stat(logged) - known == 2 * 16, name
        assert await changes(door) == before[name], name


def metadata_in(config: Any) -> Iterator[Any]:
    """All metadata of routes and endpoints."""
    if isinstance(config, dict):
        if "filter_metadata" in config:
            yield config["filter_metadata"]
        config = list(config.values())
    for each in config if isinstance(config, list) else ():
        yield from metadata_in(each)


async def changes(door: Door) -> dict[str, int]:
    """What counts up when a cluster, its endpoints, or a listener is replaced."""
    names = "cluster_modified|cluster_added|listener_modified|listener_added|canary.membership_change"
    stats = await door.envoy.stats(f"({names})$")
    return {name.rpartition(".")[2]: value for name, value in stats.items()}


async def send_until_cancelled(fleet: Stage) -> None:
    while True:
        await fleet.send_everywhere(80)


async def at_rest(door: Door) -> bool:
    return await door.envoy.stat(f"{_SHADOW}.upstream_rq_active") == 0


async def eventually_stat(door: Door, name: str, *, at_least: int) -> None:
    async def there() -> bool:
        return await door.envoy.stat(name) >= at_least

    await eventually(there, what=name)
