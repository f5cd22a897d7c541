"""Endpoints that cannot be reached cost callers little, and nothing once Envoy has ejected them."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.mortal_hosts import MortalHost, mortal_hosts, packet_filters_are_admitted
from tests.support.rig import Rig, rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

_NUMBERS = itertools.count()
_PATIENCE_S = 5
_FILTERS = pytest.mark.skipif(
    not packet_filters_are_admitted(),
    reason="the filter that swallows packets needs a privilege here",
)
_SWALLOWS = pytest.param(MortalHost.swallows_packets, marks=_FILTERS)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(BINARIES))
async def gateways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """Both variants of one version."""
    async with rig(tmp_path_factory.mktemp("dead"), binary=BINARIES[request.param]) as fleet:
        fleet.write("namespace.yaml", [objects.namespace()])
        yield fleet


@dataclass(frozen=True)
class App:
    """A Service whose endpoints are these hosts."""

    gateways: Rig
    name: str

    async def send(self, envoy: Envoy, *, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
        """Status, and the id of the request."""
        answer = await self.gateways.send(envoy, method=method, host=f"{self.name}.staging", body=body)
        return answer.status, answer.test_id

    async def stat(self, envoy: Envoy, name: str) -> int:
        return await envoy.stat(f"cluster.staging/{self.name}/http.{name}")

    async def ejected(self, envoy: Envoy) -> int:
        return await self.stat(envoy, "outlier_detection.ejections_active")


async def _app(gateways: Rig, hosts: Sequence[MortalHost]) -> App:
    """A new Service for each test, as Envoy remembers what it has found out."""
    name = f"app-{next(_NUMBERS)}"
    addresses = [(f"{name}-{number}", host.address) for number, host in enumerate(hosts)]
    gateways.write(f"{name}.yaml", [objects.service(name), *objects.endpoint_slice(name, addresses)])
    app = App(gateways, name)

    async def known() -> bool:
        found = [await app.stat(envoy, "membership_total") for envoy in gateways.envoys]
        return found == [len(hosts)] * len(gateways.envoys)

    await eventually(known, what=f"the endpoints of {name}")
    await gateways.until_synced()
    return app


@dataclass
class Load:
    """Requests that are sent at a steady rate, whatever becomes of them, until there are as many `afterwards`
    as a second has. Each is when it was sent and its status."""

    app: App
    envoy: Envoy
    rate: int
    dead: int
    found_out: float = float("inf")

    async def run(self) -> list[tuple[float, int]]:
        """All of them, in the order of sending."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        began, sent = loop.time(), list[asyncio.Task[tuple[float, int]]]()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(stop))
            for number in itertools.count():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(began + number / self.rate):
                        await stop.wait()
                if stop.is_set():
                    break
                sent.append(group.create_task(self._one()))
        await watching
        return [task.result() for task in sent]

    async def _one(self) -> tuple[float, int]:
        at, status = asyncio.get_running_loop().time(), 0
        with contextlib.suppress(TimeoutError):  # nobody waits for longer
            async with asyncio.timeout(_PATIENCE_S):
                status, _ = await self.app.send(self.envoy)
        return at, status

    async def _watch(self, stop: asyncio.Event) -> None:
        async def found_out() -> bool:
            return await self.app.ejected(self.envoy) == self.dead

        loop = asyncio.get_running_loop()
        await eventually(found_out, what=f"{self.dead} ejected hosts")
        self.found_out = loop.time()
        await eventually(lambda: loop.time() > self.found_out + 1)
        stop.set()


@pytest.mark.parametrize(("dead", "of"), [(1, 2), (2, 3)])
@pytest.mark.parametrize(
    "dies", [lambda _: None, MortalHost.swallows_connections], ids=["refuses", "swallows"]
)
async def test_dead_endpoints_fail_no_request(
    gateways: Rig, dies: Callable[[MortalHost], None], dead: int, of: int
) -> None:
    async with mortal_hosts(of) as hosts:
        for host in hosts[dead:]:
            await host.lives()
        for host in hosts[:dead]:
            dies(host)
        apps = {rate: await _app(gateways, hosts) for rate in (20, 150)}
        loads = [Load(app, envoy, rate, dead) for envoy in gateways.envoys for rate, app in apps.items()]
        for load, results in zip(loads, await asyncio.gather(*(load.run() for load in loads)), strict=True):
            before = [status for at, status in results if at <= load.found_out]
            after = [status for at, status in results if at > load.found_out]
            failed = [status for status in before if status != 200]
            assert len(failed) * 100 < len(before), (load.rate, failed)
            assert set(after) == {200}, load.rate


@pytest.mark.parametrize("dies", [MortalHost.refuses, _SWALLOWS])
async def test_hosts_that_die_under_load_are_found_out(
    gateways: Rig, dies: Callable[[MortalHost], None]
) -> None:
    """Lost are the requests that the host had taken, and those that are sent on its open connections: one on
    each."""
    async with mortal_hosts(2) as hosts:
        for host in hosts:
            await host.lives()
        app = await _app(gateways, hosts)
        loads = [Load(app, envoy, 150, 1) for envoy in gateways.envoys]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(load.run()) for load in loads]
            await eventually(lambda: len(hosts[0].connections) >= len(loads))
            had = len(hosts[0].connections)
            dies(hosts[0])
        late = []
        for load, task in zip(loads, running, strict=True):
            late += [at > load.found_out for at, status in task.result() if status != 200]
        assert len(late) <= had
        assert not any(late)


async def test_all_hosts_are_tried_where_none_can_be_reached(gateways: Rig) -> None:
    async with mortal_hosts(2) as hosts:
        app = await _app(gateways, hosts)
        for envoy in gateways.envoys:

            async def all_ejected(envoy: Envoy = envoy) -> bool:
                assert (await app.send(envoy))[0] == 503
                return await app.ejected(envoy) == len(hosts)

            await eventually(all_ejected)
        await hosts[1].lives()
        for envoy in gateways.envoys:
            assert await app.ejected(envoy) == len(hosts)
            # Not one of them waits for the end of an ejection.
            assert [(await app.send(envoy))[0] for _ in range(10)] == [200] * 10


async def test_responses_eject_no_endpoint(gateways: Rig) -> None:
    async with mortal_hosts(2) as hosts:
        for host in hosts:
            await host.lives()
            host.status = 503
        app = await _app(gateways, hosts)
        for envoy in gateways.envoys:
            assert {(await app.send(envoy))[0] for _ in range(50)} == {503}
            assert await app.ejected(envoy) == 0
        assert min(sum(host.arrivals.values()) for host in hosts) > 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_that_has_reached_an_application_is_not_sent_again(
    gateways: Rig, method: str
) -> None:
    body = b"pay" if method == "POST" else None
    async with mortal_hosts(2) as hosts:
        for host in hosts:
            await host.lives()
            host.crashing = True
        app = await _app(gateways, hosts)
        for envoy in gateways.envoys:
            answers = [await app.send(envoy, method=method, body=body) for _ in range(20)]
            assert {status for status, _ in answers} == {503}
            arrived = hosts[0].arrivals + hosts[1].arrivals
            assert [arrived[test_id] for _, test_id in answers] == [1] * len(answers)
            assert await app.ejected(envoy) == 0


async def test_a_request_with_a_body_is_sent_to_another_host_once(gateways: Rig) -> None:
    async with mortal_hosts(2) as hosts:
        await hosts[1].lives()
        app = await _app(gateways, hosts)
        for envoy in gateways.envoys:
            answers = [await app.send(envoy, method="POST", body=b"x" * 20_000) for _ in range(20)]
            assert [status for status, _ in answers] == [200] * len(answers)
            assert [hosts[1].arrivals[test_id] for _, test_id in answers] == [1] * len(answers)
            assert await app.stat(envoy, "upstream_rq_retry") > 0


async def test_an_idle_connection_is_closed_before_the_server_closes_it(gateways: Rig) -> None:
    async with mortal_hosts(1) as [host]:
        await host.lives()
        app = await _app(gateways, [host])
        assert {(await app.send(envoy))[0] for envoy in gateways.envoys} == {200}
        assert len(host.connections) == len(gateways.envoys)
        await eventually(lambda: not host.connections, what="the end of idle connections")
