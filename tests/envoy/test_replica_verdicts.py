"""Two replicas with two Envoys each: either gives the verdict by what all four Envoys report."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.cli import run
from tests.support.objects import write_documents
from tests.support.waiting import eventually
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_verdicts
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

NAME = "staging/myapp-canary"
EACH = 40


@dataclass
class Replicas:
    """Both control planes by name, and the Envoys of each."""

    control_planes: dict[str, ControlPlane]
    envoys: dict[str, list[Envoy]]

    async def answer(self, name: str) -> status_pb2.GetVerdictsResponse:
        address = self.control_planes[name].admin_address
        return await asyncio.to_thread(get_verdicts, address, "staging", "myapp-canary")

    async def mirroring(self) -> bool:
        """Whether every Envoy has the canary's endpoint."""
        name = "cluster.staging/myapp/http/shadow/myapp-canary.membership_healthy"
        return all([await each.stat(name) == 1 for found in self.envoys.values() for each in found])

    async def send(self, name: str) -> None:
        """As many requests through each Envoy of a replica."""
        async with aiohttp.ClientSession(headers={"Host": "myapp.staging"}) as session:
            for envoy in self.envoys[name]:
                for _ in range(EACH):
                    async with session.get(f"http://127.0.0.1:{envoy.gateway_port}/orders/7") as response:
                        assert response.status == 200


@contextlib.asynccontextmanager
async def replicas(directory: Path) -> AsyncIterator[Replicas]:
    manifests = directory / "manifests"
    manifests.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(reserved_ports(6))
        names = dict(zip(("one", "two"), ports, strict=False))
        found = Replicas({}, {})
        for name, port in names.items():
            own = directory / name
            own.mkdir()
            peers = [f"--peers=127.0.0.1:{each}" for each in names.values()]
            options = [*peers, f"--peer-address=127.0.0.1:{port}", f"--replica={name}"]
            control_plane = ControlPlane([f"--manifests={manifests}"], own, extra=options)
            stack.push_async_callback(control_plane.stop)
            found.control_planes[name] = await control_plane.start()
            found.envoys[name] = []
        gateways = iter(ports[2:])
        for name, control_plane in found.control_planes.items():
            for mode in Variant:
                bootstrap = BootstrapOptions(
                    node_id=f"{name}-{mode}",
                    mode=mode,
                    xds_address=control_plane.xds_address,
                    admin_port=0,
                    gateway_port=next(gateways),
                )
                envoy = Envoy(bootstrap, directory)
                stack.push_async_callback(envoy.stop)
                found.envoys[name].append(envoy)
        everything = [each for envoys in found.envoys.values() for each in envoys]
        await asyncio.gather(*(each.start() for each in everything))
        await asyncio.gather(*(each.until_serving() for each in everything))
        yield found


async def test_either_replica_has_the_evidence_of_all_envoys(
    tmp_path: Path, stable: Recorder, canary: Recorder
) -> None:
    async with replicas(tmp_path) as both:
        write_documents(
            tmp_path / "manifests" / "myapp.yaml",
            [
                objects.namespace(),
                objects.service(),
                *objects.endpoint_slice("myapp", [("stable-1", stable.address)]),
                objects.canary(timeout="1s"),  # a pair is judged soon after that
                objects.pod("canary-1", canary.address),
            ],
        )
        await eventually(both.mirroring, what="all Envoys with the canary")
        await both.send("one")
        await both.send("two")
        found: dict[str, status_pb2.GetVerdictsResponse] = {}

        async def complete() -> bool:
            for name in both.control_planes:
                found[name] = await both.answer(name)
            verdicts = [each.verdicts[0] for each in found.values()]
            counted = [(each.mirrored.succeeded, each.expected, each.total.pairs) for each in verdicts]
            return counted == [(4 * EACH,) * 3] * 2 and all(len(each.envoys) == 4 for each in verdicts)

        await eventually(complete, what="the sums of four Envoys from either replica")
        one, two = (found[name].verdicts[0] for name in ("one", "two"))
        assert one == two
        assert one.primary.issued == one.mirrored.issued == 4 * EACH
        assert [(each.name, each.pairs) for each in one.groups] == [("GET /orders/{id}", 4 * EACH)]
        assert [(each.name, each.problem) for each in found["one"].replicas] == [("one", ""), ("two", "")]
        assert [(each.name, each.problem) for each in found["two"].replicas] == [("two", ""), ("one", "")]

        await both.control_planes["two"].stop(signal.SIGKILL)
        alone = await both.answer("one")

        async def named() -> bool:
            nonlocal alone
            alone = await both.answer("one")
            return [(each.name, each.problem) for each in alone.replicas] == [
                ("one", ""),
                ("two", "it cannot be reached"),
            ]

        await eventually(named, what="the name of the replica that was killed")
        half = alone.verdicts[0]
        assert (half.mirrored.issued, half.total.pairs) == (2 * EACH, 2 * EACH)
        server = f"--server={both.control_planes['one'].admin_address}"
        printed = await asyncio.to_thread(run, "verdict", NAME, server)
        assert "Replica two: it cannot be reached." in printed.stdout
