"""A credential of mirrored requests: rotated under load without a reload, and shown nowhere."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.envoy.policy.conftest import Annotate
from tests.support import objects
from tests.support.backends import Arrival, Recorder
from tests.support.cli import xds_shadow
from tests.support.rig import Rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OLD, NEW, NEWEST = "Bearer first-0f1e2d3c4b5a", "Bearer second-a5b4c3d2e1f0", "Bearer third-99887766"
CALLER = {"authorization": "Basic caller-77f0", "cookie": "session=caller-77f0"}
RELOADS = (
    "listener_manager.listener_added",
    "listener_manager.listener_modified",
    "listener_manager.listener_in_place_updated",
    "cluster_manager.cluster_added",
    "cluster_manager.cluster_modified",
    "cluster_manager.cluster_removed",
    "http.gateway.rds.gateway.config_reload",
)
LOADERS = 4
KEY = "token/authorization"


def write(fleet: Rig, value: str, *, allow: str | None = "true") -> None:
    fleet.write("secret.yaml", [objects.secret("token", allow=allow, authorization=value)])


async def reloads(envoy: Envoy) -> dict[str, int]:
    stats = await envoy.stats()
    return {name: stats.get(name, 0) for name in RELOADS}


@contextlib.asynccontextmanager
async def load(fleet: Rig, envoy: Envoy) -> AsyncIterator[list[str]]:
    """Callers that send one request after another, each with its credentials; gives the requests' ids."""
    sent: list[str] = []

    async def caller() -> None:
        while True:
            answer = await fleet.send(envoy, headers=CALLER)
            assert (answer.status, answer.backend) == (200, "stable")
            sent.append(answer.test_id)

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(caller(), name=f"caller {number}") for number in range(LOADERS)]
        yield sent
        for each in callers:
            each.cancel()


@pytest.mark.parametrize("index", [0, 1], ids=["delta", "sotw"])
async def test_a_rotation_under_load_changes_mirrored_requests_and_rebuilds_nothing(
    fleet: Rig, stable: Recorder, canary: Recorder, annotate: Annotate, index: int
) -> None:
    envoy = fleet.envoys[index]
    write(fleet, OLD)
    await annotate(credential_from_secret=KEY)
    await with_credential(fleet, canary, envoy, OLD)
    before = await reloads(envoy)
    in_turn: list[str] = []  # one request at a time: they arrive in the order in which they were sent
    async with load(fleet, envoy) as sent:
        for old, new in ((OLD, NEW), (NEW, NEWEST)):
            write(fleet, new)
            while True:
                arrival = await mirrored_request(fleet, canary, envoy)
                in_turn.append(arrival.headers["authorization"])
                if in_turn[-1] == new:
                    break
                assert in_turn[-1] == old
            more = [await mirrored_request(fleet, canary, envoy) for _ in range(50)]
            in_turn += [each.headers["authorization"] for each in more]
    assert sorted(in_turn, key=[OLD, NEW, NEWEST].index) == in_turn

    await eventually(lambda: {a.test_id for a in canary.arrivals} >= set(sent), what="all mirrored requests")
    mirrored = [arrival for arrival in canary.arrivals if arrival.test_id in set(sent)]
    assert len(mirrored) == len(sent) > 100
    assert {each.headers["authorization"] for each in mirrored} == {OLD, NEW, NEWEST}
    assert not any("cookie" in each.headers for each in mirrored)
    live = [arrival for arrival in stable.arrivals if arrival.test_id in set(sent)]
    assert all(arrival.headers.items() >= CALLER.items() for arrival in live)
    assert await reloads(envoy) == before


async def mirrored_request(fleet: Rig, canary: Recorder, envoy: Envoy) -> Arrival:
    answer = await fleet.send(envoy, headers=CALLER)
    await canary.until_seen(answer.test_id)
    return canary.of(answer.test_id)[0]


async def with_credential(fleet: Rig, canary: Recorder, envoy: Envoy, value: str) -> None:
    async def there() -> bool:
        return (await mirrored_request(fleet, canary, envoy)).headers["authorization"] == value

    await eventually(there, what="the credential")


async def test_a_secret_that_may_not_be_used_stops_the_mirroring(
    fleet: Rig, canary: Recorder, annotate: Annotate
) -> None:
    write(fleet, OLD)
    await annotate(credential_from_secret=KEY)
    for allow in (None, "false"):
        write(fleet, OLD, allow=allow)
        await fleet.until_shadow("Rejected", "SecretNotFound")
        seen = len(canary.arrivals)
        for envoy in fleet.envoys:
            assert (await fleet.send(envoy, headers=CALLER)).backend == "stable"
        assert len(canary.arrivals) == seen
    fleet.write("secret.yaml", [objects.secret("token", other="x")])
    await fleet.until_shadow("Rejected", "SecretNotFound")
    write(fleet, "two\nlines")
    await fleet.until_shadow("Rejected", "InvalidSecret")
    write(fleet, NEW + "\n")
    await fleet.until_shadow("Active")
    for envoy in fleet.envoys:
        await with_credential(fleet, canary, envoy, NEW)


async def test_nothing_secret_is_in_any_output(fleet: Rig, annotate: Annotate) -> None:
    write(fleet, OLD)
    await annotate(credential_from_secret=KEY)
    for value in (NEW, "bad\nvalue-31415926"):
        write(fleet, value)
        await fleet.until_shadow("Active" if value == NEW else "Rejected")
    write(fleet, OLD)
    await fleet.until_shadow("Active")

    server = f"--server={fleet.control_plane.admin_address}"
    manifests = f"--manifests={fleet.manifests}"
    outputs = {
        " ".join(arguments): await xds_shadow(*arguments)
        for arguments in [
            *(("status", server, "-o", form) for form in ("table", "json", "yaml")),
            *(("explain", "staging/myapp-canary", server, "-o", form) for form in ("table", "json", "yaml")),
            ("explain", "staging/myapp-canary", "--config", server),
            *(("render", manifests, "-o", form) for form in ("yaml", "json", "static")),
        ]
    }
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/readyz", "/healthz"):
            async with session.get(f"http://{fleet.control_plane.http_address}{path}") as response:
                outputs[path] = await response.text()
    for process in (fleet.control_plane.process, *(envoy.process for envoy in fleet.envoys)):
        outputs[f"log of {process.name}"] = process.log.read_text()

    assert "credential_injector" in outputs[f"render {manifests} -o static"], "the outputs are real"
    for value in (OLD, NEW, "value-31415926"):
        word = value.rpartition(" ")[2]
        for secret in (
            word,
            base64.b64encode(value.encode()).decode(),
            base64.b64encode(word.encode()).decode(),
        ):
            assert [name for name, text in outputs.items() if secret in text] == []
