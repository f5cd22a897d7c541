"""A browser, and a fleet for it to show: the embedded Kubernetes API, a control plane, two real Envoys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.chromium import Driver, Tab, binary, chromium
from tests.kubectl.client import Kubectl
from tests.support.installation import kubectl
from xds_server.base.address import Address
from xds_server.local.demo.cluster import Cluster
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.demo.stage import NAMESPACE, documents, example_manifests
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant


@dataclass(frozen=True)
class Fleet:
    """What runs; `user` is kubectl in the example's namespace."""

    directory: Path
    control_plane: ControlPlane
    user: Kubectl

    @property
    def page(self) -> str:
        return f"http://{self.control_plane.http_address}/"

    def envoy(self, name: str, variant: Variant, port: int) -> Envoy:
        """One more Envoy, not started."""
        options = BootstrapOptions(
            node_id=name,
            mode=variant,
            xds_address=self.control_plane.xds_address,
            admin_port=0,
            gateway_port=port,
        )
        return Envoy(options, self.directory)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Driver]:
    path = binary()
    if path is None:
        pytest.skip("no chromium on the PATH (Debian: apt-get install chromium), and CHROMIUM names none")
    async with chromium(path, tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    async with AsyncExitStack() as stack:
        cluster = Cluster(directory)
        stack.push_async_callback(cluster.stop)
        await cluster.start()
        for document in documents(example_manifests()):
            await cluster.api.create(document)
        await cluster.api.add_pods(Address("10.0.0.1", 8080), Address("10.0.0.2", 8080))
        control_plane = ControlPlane(
            [f"--kubeconfig={cluster.kubeconfig}", "--allow-loopback-endpoints"], directory
        )
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(directory)}
        fleet = Fleet(directory, control_plane, Kubectl(kubectl(), environment, NAMESPACE))
        ports = stack.enter_context(reserved_ports(len(Variant)))
        envoys = [fleet.envoy(f"envoy-{mode}", mode, port) for mode, port in zip(Variant, ports, strict=True)]
        for envoy in envoys:
            stack.push_async_callback(envoy.stop)
        await asyncio.gather(*(envoy.start() for envoy in envoys))
        await asyncio.gather(*(envoy.until_serving() for envoy in envoys))
        yield fleet


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Driver) -> AsyncIterator[Tab]:
    async with browser.tab() as tab:
        yield tab
