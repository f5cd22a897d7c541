"""Two replicas on one Kubernetes API: each serves an Envoy, one writes the Events; then that one dies."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kube.cluster import Cluster, deployment, endpoint_slice, service
from tests.support.embedded import Embedded, embedded
from tests.support.rig import told_of
from tests.support.waiting import eventually
from xds_server.kube.client import KubeClient
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = [pytest.mark.envoy, pytest.mark.thorough]


@dataclass
class Replicas:
    """Both control planes by name, the API that they share, and a user of it."""

    kube: Embedded
    server: Cluster
    control_planes: dict[str, ControlPlane]

    def written(self, reason: str) -> int:
        """How often Events with this reason were seen."""
        events = self.kube.documents("events")
        return sum(event["count"] for event in events if event["reason"] == reason)

    def holder(self) -> str:
        return "".join(lease["spec"]["holderIdentity"] for lease in self.kube.documents("leases"))

    async def agree(self, *names: str, state: str = "Active", percent: str = "100") -> dict[str, str]:
        """Wait until these replicas show the shadow so, and their Envoys have all of it; then they must serve
        the same versions, which are returned."""
        found: dict[str, status_pb2.GetStatusResponse] = {}

        async def there() -> bool:
            for name in names:
                found[name] = await asyncio.to_thread(get_status, self.control_planes[name].admin_address)
            return all(_shows(status, state, percent) and _synced(status) for status in found.values())

        await eventually(there, what=f"{names} to show {state} {percent}")
        versions = [dict(status.server.versions) for status in found.values()]
        assert all(each == versions[0] for each in versions)
        return versions[0]


def _shows(status: status_pb2.GetStatusResponse, state: str, percent: str) -> bool:
    shown = [(shadow.state, shadow.percent) for shadow in status.shadows]
    return shown == ([(state, percent)] if state else [])


def _synced(status: status_pb2.GetStatusResponse) -> bool:
    """Whether an Envoy is there and has the clusters and routes that are served now."""
    return bool(status.nodes) and all(
        {kind.short_name: kind.acked_version for kind in node.types}.get(name) == status.server.versions[name]
        and all(kind.sync == "SYNCED" for kind in node.types)
        for node in status.nodes
        for name in told_of(node.variant)
    )


@contextlib.asynccontextmanager
async def replicas(directory: Path) -> AsyncIterator[Replicas]:
    async with contextlib.AsyncExitStack() as stack:
        kube = await stack.enter_async_context(embedded())
        kubeconfig = kube.write_kubeconfig(directory / "kubeconfig")
        client = await KubeClient.open(kube.connect)
        stack.push_async_callback(client.close)
        server = Cluster(kube.connect, "staging", client)
        await server.create_namespace("staging")
        await server.create("services", service("web", {"xds-shadow.io/expose": "true"}))
        await server.create("endpointslices", endpoint_slice("web-1", "web", "127.0.0.1"))
        await server.create("deployments", deployment("canary"))
        await server.create_ready_pod("canary-1", {"app": "canary"})
        control_planes = {}
        ports = stack.enter_context(reserved_ports(2))
        for name, mode, port in zip(("one", "two"), Variant, ports, strict=True):
            own = directory / name
            own.mkdir()
            source = [f"--kubeconfig={kubeconfig}", "--allow-loopback-endpoints", f"--replica={name}"]
            control_planes[name] = ControlPlane(source, own)
            stack.push_async_callback(control_planes[name].stop)
            await control_planes[name].start()
            options = BootstrapOptions(
                node_id=f"envoy-{name}",
                mode=mode,
                xds_address=control_planes[name].xds_address,
                admin_port=0,
                gateway_port=port,
            )
            envoy = Envoy(options, own)
            stack.push_async_callback(envoy.stop)
            await envoy.start()
            await envoy.until_serving()
        yield Replicas(kube, server, control_planes)


async def test_one_writes_and_the_other_takes_over(tmp_path: Path) -> None:
    async with replicas(tmp_path) as both:
        await both.agree("one", "two", state="")
        await both.server.mark("canary", "web")
        await both.agree("one", "two")
        await eventually(lambda: both.written("ShadowActive") == 1, what="one Event")
        leader = both.holder()
        other = {"one": "two", "two": "one"}[leader]

        await both.control_planes[leader].stop(signal.SIGKILL)
        await both.server.annotate("deployments", "canary", **{"xds-shadow.io/percent": "50"})
        await both.agree(other, percent="50")  # nobody waits for a leader
        assert both.written("ShadowActive") == 1
        await eventually(lambda: both.holder() == other, what="the other in the lead")
        await eventually(
            lambda: both.written("ShadowActive") == 2, what="the Event that no leader had written"
        )

        await both.control_planes[leader].start()
        await both.agree("one", "two", percent="50")
        await both.server.mark("canary", None)
        await both.agree("one", "two", state="")
        await eventually(lambda: both.written("ShadowStopped") == 1, what="the Event of the end")
        assert both.written("ShadowActive") == 2
        assert both.holder() == other
