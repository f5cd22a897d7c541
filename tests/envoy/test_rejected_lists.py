"""A control plane that may not list something, or not yet, takes nothing away from callers and puts no canary
in front of them. Stable Pods and the canary's are behind one selector, so that only the list of Pods tells
which are which.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.kube.cluster import Cluster
from tests.kube.proxy import Proxy, proxy
from tests.support import objects
from tests.support.backends import BACKEND, Recorder, recorder
from tests.support.embedded import embedded
from tests.support.rig import HOST, all_have
from tests.support.waiting import eventually
from xds_server.kube.client import KubeClient
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = pytest.mark.envoy

SHARED = {"app": "myapp", "track": "canary"}
"""The labels of the canary's Pods: the Service's selector matches them."""

_PACE_S = 0.01
"""Between the requests of a user, so that the rest of the machine has its share."""

REQUESTS = 12
"""Each that is balanced over both versions would reach the canary with one of two."""


@dataclass
class Callers:
    """Sends requests through all Envoys one after another; `answers` counts (status, backend)."""

    session: aiohttp.ClientSession
    envoys: list[Envoy]
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)

    async def send(self) -> None:
        while True:
            for envoy in self.envoys:
                url = f"http://127.0.0.1:{envoy.gateway_port}/"
                async with self.session.get(url, headers={"Host": HOST}) as response:
                    await response.read()
                    self.answers[response.status, response.headers.get(BACKEND, "")] += 1
            await asyncio.sleep(_PACE_S)

    async def until_many_more(self) -> None:
        wanted = self.answers.total() + REQUESTS * len(self.envoys)
        await eventually(lambda: self.answers.total() >= wanted, what="more requests")


@dataclass
class Fleet:
    """One Envoy of each variant, and a control plane on a Kubernetes API behind a proxy."""

    server: Cluster
    faults: Proxy
    control_plane: ControlPlane
    callers: Callers
    stable: Recorder
    canary: Recorder

    async def add_canary(self) -> None:
        """The Deployment, its Pod, and the Pod's address among the Service's."""
        canary = objects.canary(selects=SHARED)
        spec = _pod("canary-1", self.canary)["spec"]
        canary["spec"]["template"] = {"metadata": {"labels": SHARED}, "spec": spec}
        await self.server.create("deployments", canary)
        await self.add_pod("canary-1", self.canary)

    async def add_pod(self, name: str, backend: Recorder) -> None:
        """A Pod of the canary, and then its address among the Service's."""
        pod = _pod(name, backend)
        status = pod.pop("status")
        await self.server.create("pods", pod)
        await self.server.patch("pods", name, {"status": status}, "/status")
        for piece in objects.endpoint_slice("myapp", [(name, backend.address)]):
            await self.server.create("endpointslices", piece)

    async def until_state(self, state: str) -> None:
        async def there() -> bool:
            found = await asyncio.to_thread(get_status, self.control_plane.admin_address)
            return [s.state for s in found.shadows] == [state] and len(found.nodes) == 2 and all_have(found)

        await eventually(there, what=f"the shadow {state}")

    async def rejected(self, plural: str) -> None:
        before = self.faults.turned_away[plural]
        await eventually(lambda: self.faults.turned_away[plural] > before, what=f"{plural} rejected")

    async def readiness(self) -> tuple[int, str]:
        url = f"http://{self.control_plane.http_address}/readyz"
        async with self.callers.session.get(url) as response:
            return response.status, await response.text()

    async def until_not_ready(self, because: str) -> None:
        async def there() -> bool:
            status, said = await self.readiness()
            return status == 503 and because in said

        await eventually(there, what=f"not ready: {because}")

    async def mirrored(self) -> None:
        """Wait until a further mirrored request arrives."""
        before = len(self.canary.arrivals)
        await eventually(lambda: len(self.canary.arrivals) > before, what="a mirrored request")


def _pod(name: str, backend: Recorder) -> dict[str, Any]:
    pod = objects.pod(name, backend.address, labels=SHARED)
    pod["spec"]["containers"][0]["image"] = "backend:none"
    return pod


@contextlib.asynccontextmanager
async def fleet(directory: Path, binary: Path | None, *, with_canary: bool) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        kube = await enter(embedded())
        faults = await enter(proxy(kube.connect))
        client = await KubeClient.open(kube.connect)
        stack.push_async_callback(client.close)
        stable, canary = await enter(recorder("stable")), await enter(recorder("canary"))
        server = Cluster(kube.connect, "staging", client)
        await server.create_namespace("staging")
        await server.label_namespace(**{"xds-shadow.io/expose": "true"})
        await server.create("services", objects.service())
        for piece in objects.endpoint_slice("myapp", [("stable-1", stable.address)]):
            await server.create("endpointslices", piece)
        kubeconfig = directory / "kubeconfig"
        write_kubeconfig(kubeconfig, faults.url)
        source = [f"--kubeconfig={kubeconfig}", "--namespace=staging", "--allow-loopback-endpoints"]
        control_plane = ControlPlane(source, directory)
        stack.push_async_callback(control_plane.stop)
        session = await enter(aiohttp.ClientSession())
        it = Fleet(server, faults, control_plane, Callers(session, []), stable, canary)
        if with_canary:
            await it.add_canary()
        await control_plane.start()
        ports = stack.enter_context(reserved_ports(len(Variant)))
        for variant, port in zip(Variant, ports, strict=True):
            options = BootstrapOptions(
                node_id=variant.value,
                mode=variant,
                xds_address=control_plane.xds_address,
                admin_port=0,
                gateway_port=port,
            )
            envoy = Envoy(options, directory, binary=binary)
            stack.push_async_callback(envoy.stop)
            it.callers.envoys.append(await envoy.start())
        await asyncio.gather(*(envoy.until_serving() for envoy in it.callers.envoys))
        yield it


@contextlib.contextmanager
def sending(callers: Callers) -> Iterator[None]:
    task = asyncio.create_task(callers.send())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()


@pytest.mark.parametrize("version", BINARIES)
async def test_a_replica_that_starts_and_may_not_list_something_serves_no_envoy(
    tmp_path: Path, version: str
) -> None:
    """First a server that forbids everything, as it does while it starts; then less and less."""
    async with fleet(tmp_path, BINARIES[version], with_canary=True) as it:
        await it.until_state("Active")
        with sending(it.callers):
            await it.mirrored()
            await it.control_plane.stop()
            it.faults.rejected = {"": 403}
            starting = asyncio.create_task(it.control_plane.start())
            await it.rejected("services")
            for plurals, missing in (
                (("namespaces", "pods"), "namespace staging, pods in namespace staging"),
                (("pods",), "pods in namespace staging"),
            ):
                it.faults.rejected = dict.fromkeys(plurals, 403)
                await it.until_not_ready(f"waiting for the first list of {missing}. No permission")
                await it.rejected("pods")
                await it.callers.until_many_more()
                assert not starting.done()
            it.faults.rejected = {}
            await starting
            await it.until_state("Active")
            await it.mirrored()
            await it.callers.until_many_more()
        assert it.callers.answers.keys() == {(200, "stable")}
        assert it.canary.live == []


@pytest.mark.parametrize("version", BINARIES)
async def test_a_canary_whose_pods_may_not_be_listed_gets_no_live_traffic(
    tmp_path: Path, version: str
) -> None:
    async with fleet(tmp_path, BINARIES[version], with_canary=False) as it:
        with sending(it.callers):
            it.faults.rejected = {"pods": 403}
            await it.add_canary()
            await it.rejected("pods")
            await it.callers.until_many_more()
            assert it.canary.arrivals == []
            status, said = await it.readiness()
            assert status == 200
            assert "has rejected requests for" in said
            it.faults.rejected = {}
            await it.until_state("Active")
            await it.mirrored()
            await it.callers.until_many_more()
        assert it.callers.answers.keys() == {(200, "stable")}
        assert it.canary.live == []


GROWING = [
    pytest.param("1.40", (403, 0), id="1.40"),
    # Each status is tried again at growing intervals, which takes 20 s.
    pytest.param("1.40", (401, 429), id="1.40-others", marks=pytest.mark.thorough),
    pytest.param("1.36", (403, 401, 429, 0), id="1.36", marks=pytest.mark.thorough),
]


@pytest.mark.parametrize(("version", "statuses"), GROWING)
async def test_a_canary_that_grows_while_its_pods_are_not_watched_gets_no_live_traffic(
    tmp_path: Path, version: str, statuses: tuple[int, ...]
) -> None:
    """They were known before, and the watch of them alone is rejected, or breaks (0)."""
    async with contextlib.AsyncExitStack() as stack:
        it = await stack.enter_async_context(fleet(tmp_path, BINARIES[version], with_canary=True))
        await it.until_state("Active")
        stack.enter_context(sending(it.callers))
        more: list[Recorder] = []
        for number, status in enumerate(statuses, start=2):
            await it.mirrored()
            it.faults.rejected = {"pods": status}
            it.faults.cut("pods")
            await it.rejected("pods")
            more.append(await stack.enter_async_context(recorder(f"canary-{number}")))
            await it.add_pod(f"canary-{number}", more[-1])
            await it.until_state("Pending")
            await it.mirrored()
            await it.callers.until_many_more()
            it.faults.rejected = {}
            await it.until_state("Active")
            await it.callers.until_many_more()
        assert it.callers.answers.keys() == {(200, "stable")}
        assert [each.name for each in (it.canary, *more) if each.live] == []
        await eventually(lambda: all(each.arrivals for each in more), what="mirrored requests at all Pods")
