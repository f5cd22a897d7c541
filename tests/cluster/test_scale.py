"""3,000 Services with 30,000 endpoints: every Envoy has what the API server has, also after many changes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable
from typing import Any

import pytest

from tests.cluster.fleet import Fleet
from tests.cluster.servers import Servers
from tests.kube.cluster import Cluster, cluster, endpoint_slice, service
from tests.support.waiting import eventually
from xds_server.kube.session import connect
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.cluster, pytest.mark.envoy, pytest.mark.timeout(1200)]

NAMESPACES, SERVICES, ENDPOINTS, CHANGES = 6, 3_000, 10, 1_000
"""One namespace may not have all Services: `--namespace-memory-max` bounds what it takes of an Envoy."""

AT_ONCE = 16
WITHIN_S = 300.0
PAUSE_S = 2.0
"""Between two readings of 30,000 endpoints, which keep an Envoy busy."""

Endpoints = dict[tuple[str, str], set[str]]


async def test_every_envoy_has_the_endpoints_of_3000_services(servers: Servers, fleet: Fleet) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opening = [cluster(lambda: connect(servers.kubeconfig)) for _ in range(NAMESPACES)]
        spaces = [await stack.enter_async_context(each) for each in opening]
        for space in spaces:
            await space.label_namespace(**{"xds-shadow.io/expose": "true"})
        await _all(_create(spaces[number % NAMESPACES], number) for number in range(SERVICES))
        expected = {
            (spaces[number % NAMESPACES].namespace, f"svc-{number}"): set(_addresses(number))
            for number in range(SERVICES)
        }
        await _until_equal(fleet, expected)
        for change in range(CHANGES):
            number, addresses = change * 7919 % SERVICES, _addresses(SERVICES + change)
            space, name = spaces[number % NAMESPACES], f"svc-{number}"
            endpoints = endpoint_slice(name, name, *addresses)["endpoints"]
            await space.patch("endpointslices", name, {"endpoints": endpoints})
            expected[space.namespace, name] = set(addresses)
        await _until_equal(fleet, expected)


async def _create(space: Cluster, number: int) -> None:
    name = f"svc-{number}"
    await space.create("services", service(name))
    await space.create("endpointslices", endpoint_slice(name, name, *_addresses(number)))


def _addresses(number: int) -> list[str]:
    first = number * ENDPOINTS
    return [f"10.77.{64 + (each >> 7) % 190}.{1 + each % 128}" for each in range(first, first + ENDPOINTS)]


async def _until_equal(fleet: Fleet, expected: Endpoints) -> None:
    namespaces = {namespace for namespace, _ in expected}
    for envoy in fleet.envoys:

        async def equal() -> bool:
            await asyncio.sleep(PAUSE_S)
            return await _endpoints(envoy, namespaces) == expected  # noqa: B023 - awaited before the next one

        await eventually(equal, within=WITHIN_S, what=f"the endpoints in {envoy.id}")


async def _endpoints(envoy: Envoy, namespaces: set[str]) -> Endpoints:
    """The addresses in an Envoy, by namespace and Service."""
    found: Endpoints = {}
    clusters: dict[str, Any] = await envoy.admin("/clusters?format=json")
    for each in clusters["cluster_statuses"]:
        namespace, _, rest = each["name"].partition("/")
        if namespace in namespaces:
            hosts = {host["address"]["socket_address"]["address"] for host in each.get("host_statuses", [])}
            found.setdefault((namespace, rest.partition("/")[0]), set()).update(hosts)
    return found


async def _all(tasks: Iterable[Awaitable[None]]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(task: Awaitable[None]) -> None:
        async with places:
            await task

    await asyncio.gather(*(one(task) for task in tasks))
