"""`max-rps` is decided before a request is mirrored, for each canary of a Service by itself."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.static_envoys import Config, http_filters, rendered, running
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.parametrize("version", BINARIES)]

REQUESTS = 120
CANARIES = {
    "few": {"max_rps": "3"},
    "more": {"max_rps": "12"},
    "half": {"max_rps": "1000", "percent": "50"},
    "posts": {"max_rps": "2", "methods": "POST"},
    "all": {},
}


@contextlib.asynccontextmanager
async def world(directory: Path) -> AsyncIterator[tuple[Config, Recorder]]:
    """A Service with these canaries, and the backend of all of them."""
    async with recorder("stable") as stable, recorder("canary") as canary:
        documents = [
            objects.namespace(),
            objects.service(),
            *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
        ]
        for name, annotations in CANARIES.items():
            documents += [
                objects.canary(name, selects=None, **annotations),
                objects.pod(f"{name}-1", canary.address, labels={"app": name}),
            ]
        yield await rendered(directory, documents), canary


async def arrived(envoy: Envoy, canary: Recorder) -> tuple[Counter[str], float]:
    """How many of a number of requests each canary got, and how many seconds they took."""
    places = asyncio.Semaphore(16)
    async with aiohttp.ClientSession() as session:

        async def get() -> None:
            url = f"http://127.0.0.1:{envoy.gateway_port}/"
            async with places, session.get(url, headers={"Host": "myapp.staging"}) as response:
                assert response.status == 200

        began = time.monotonic()
        await asyncio.gather(*(get() for _ in range(REQUESTS)))
        took = time.monotonic() - began

    def found() -> Counter[str]:
        return Counter((arrival.shadow or "").removeprefix("staging/") for arrival in canary.arrivals)

    await eventually(lambda: found()["all"] == REQUESTS, what="every request at the canary without a limit")
    await eventually(lambda: _all_ended(envoy), what="no mirrored request in flight")
    return found(), took


async def _all_ended(envoy: Envoy) -> bool:
    return set((await envoy.stats("/shadow/.*upstream_rq_active$")).values()) == {0}


async def test_each_canary_has_its_own_limit(tmp_path: Path, version: str) -> None:
    async with world(tmp_path) as (config, canary), running(config, tmp_path, version) as envoy:
        found, took = await arrived(envoy, canary)
    assert 3 <= found["few"] <= 3 + 3 * took + 1
    assert 12 <= found["more"] <= 12 + 12 * took + 1
    assert 0.25 * REQUESTS < found["half"] < 0.75 * REQUESTS
    assert found["posts"] == 0


async def test_without_the_filter_nothing_is_mirrored_to_a_canary_with_a_limit(
    tmp_path: Path, version: str
) -> None:
    async with world(tmp_path) as (config, canary):
        filters = http_filters(config)
        assert filters.pop(0)["name"] == "xds-shadow.max-rps"
        async with running(config, tmp_path, version) as envoy:
            found, _ = await arrived(envoy, canary)
    assert found == {"all": REQUESTS}
