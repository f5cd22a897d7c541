"""Everything that the demo starts, as one context manager that also stops it."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from xds_server.base.address import Address
from xds_server.local.demo.backend import Backend
from xds_server.local.demo.cluster import Cluster
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy, envoy_binary
from xds_server.local.demo.stage import documents
from xds_server.local.demo.traffic import Clients
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Addresses and ports; port 0 and an empty tuple mean free ports. `manifests` is the directory of the
    example."""

    manifests: Path
    gateway_ports: tuple[int, ...] = ()
    kube_address: Address
    xds_address: Address
    admin_address: Address


@dataclass(frozen=True, slots=True)
class Demo:
    """The running parts."""

    cluster: Cluster
    control_plane: ControlPlane
    envoys: tuple[Envoy, ...]
    stable: Backend
    canary: Backend
    clients: Clients


@contextlib.asynccontextmanager
async def running(options: DemoOptions) -> AsyncIterator[Demo]:
    """Start everything in a temporary directory, and stop it in reverse order.

    Raises:
        XdsShadowError: a part did not start; the message has the end of its output.
    """
    envoy_binary()  # fails before anything is started
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xds-shadow-demo-")))
        example = list(documents(options.manifests))
        stable, canary = Backend("stable"), Backend("canary")
        for backend in (stable, canary):
            stack.push_async_callback(backend.stop)
            await backend.start()
        cluster = Cluster(directory, options.kube_address)
        stack.push_async_callback(cluster.stop)
        await cluster.start()
        for document in example:
            await cluster.api.create(document)
        await cluster.api.add_pods(stable.address, canary.address)
        source = [f"--kubeconfig={cluster.kubeconfig}", "--allow-loopback-endpoints"]
        control_plane = ControlPlane(source, directory, xds=options.xds_address, admin=options.admin_address)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        ports = options.gateway_ports or stack.enter_context(reserved_ports(len(Variant)))
        envoys = tuple(
            Envoy(
                BootstrapOptions(
                    node_id=f"envoy-{mode}",
                    mode=mode,
                    xds_address=control_plane.xds_address,
                    admin_port=0,
                    gateway_port=port,
                ),
                directory,
            )
            for mode, port in zip(Variant, ports, strict=True)
        )
        for envoy in envoys:
            stack.push_async_callback(envoy.stop)
        await asyncio.gather(*(envoy.start() for envoy in envoys))
        await asyncio.gather(*(envoy.until_serving() for envoy in envoys))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Demo(cluster, control_plane, envoys, stable, canary, Clients(session))


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[tuple[int, ...]]:
    """Reserve ports that are free at every address of this machine, because a gateway listens at all of them.

    The sockets do not listen and set SO_REUSEPORT, as Envoy does, so Envoy can listen on the ports and other
    programs do not get them.
    """
    both = socket.has_dualstack_ipv6()
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET6 if both else socket.AF_INET))
            for _ in range(count)
        ]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if both:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            each.bind(("::" if both else "0.0.0.0", 0))  # noqa: S104
        yield tuple(each.getsockname()[1] for each in sockets)
