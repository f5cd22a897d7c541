"""The API server ends without a word and is started again; changes made meanwhile are not lost."""

import signal
from collections.abc import Iterator

import aiohttp
import pytest

from tests.cluster.fleet import Fleet
from tests.cluster.installation import Installation
from tests.cluster.namespace import CANARY, Namespace
from tests.cluster.servers import API_SERVER, SECOND_API_SERVER, Servers
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.envoy, pytest.mark.timeout(600)]

HTTP_PORT = 18081
UP = "xds_shadow_source_up"
LISTS = 'xds_shadow_watch_lists_total{kind="EndpointSlice"}'
NO_CACHE = "--watch-cache=false"
"""Watches are served from etcd. The cache of a new API server does not reach back to before its start."""


@pytest.fixture
def outage(servers: Servers) -> Iterator[Servers]:
    """Starts a second API server, which no replica knows; afterwards the first one runs as before."""
    servers.start(SECOND_API_SERVER)
    yield servers
    servers.stop(SECOND_API_SERVER)
    if servers.runs(API_SERVER):
        servers.stop(API_SERVER)
    servers.start(API_SERVER)


@pytest.mark.parametrize("compacted", [False, True], ids=["resumed", "compacted"])
async def test_changes_during_an_outage_arrive_after_it(
    outage: Servers, installation: Installation, fleet: Fleet, namespace: Namespace, *, compacted: bool
) -> None:
    await eventually(lambda: fleet.served(namespace.host), what="a route")
    replicas = await installation.replicas()
    before = await _of_all(replicas, LISTS)
    changes = await fleet.changes()
    async with fleet.load(namespace.host) as responses:
        outage.stop(API_SERVER, signal.SIGKILL)

        async def noticed() -> bool:
            return set((await _of_all(replicas, UP)).values()) == {0.0}

        await eventually(noticed, what="the outage noticed by every replica")
        assert await fleet.changes() == changes, "an outage changes no configuration"
        await namespace.mark(with_kubectl=installation.kubectl_on_second)
        if compacted:
            outage.compact()
        outage.start(API_SERVER, NO_CACHE)

        async def mirrored() -> bool:
            return (await namespace.received(CANARY)).mirrored > 0

        await eventually(mirrored, what="the change in force")
    assert set(responses.statuses) == {"200"}
    canary = await namespace.received(CANARY)
    assert canary.total == canary.mirrored
    await namespace.until_event("ShadowActive")
    assert await installation.replicas() == replicas, "no replica was restarted"
    after = await _of_all(replicas, LISTS)
    if compacted:
        assert all(after[name] > before[name] for name in replicas), "410 demands new lists"
    else:
        assert after == before, "the watches resume"


async def _of_all(replicas: dict[str, str], metric: str) -> dict[str, float]:
    """A metric with its labels, for each replica."""
    return {name: await _metric(address, metric) for name, address in replicas.items()}


async def _metric(address: str, name: str) -> float:
    url = f"http://{address}:{HTTP_PORT}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    [value] = [float(line.removeprefix(name)) for line in lines if line.startswith(f"{name} ")]
    return value
