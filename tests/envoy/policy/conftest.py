"""A Service with a stable version, and a canary whose annotations a test chooses."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import TEST_ID, Arrival, Recorder
from tests.support.objects import Document
from tests.support.rig import HOST, Rig
from tests.support.waiting import eventually
from xds_server.local.demo.envoy import Envoy

Annotate = Callable[..., Awaitable[None]]
Sent = dict[str, str]


@dataclass(frozen=True)
class Scene:
    """One Envoy of the fleet, and what arrives behind it."""

    fleet: Rig
    envoy: Envoy
    stable: Recorder
    canary: Recorder
    annotate: Annotate

    async def both(
        self,
        *,
        method: str = "GET",
        path: str = "/",
        headers: Sent | None = None,
        body: bytes | None = None,
    ) -> tuple[Arrival, Arrival]:
        """One request as the stable version got it, and the mirrored one."""
        answer = await self.fleet.send(self.envoy, method=method, path=path, headers=headers, body=body)
        assert (answer.status, answer.backend) == (200, "stable")
        await self.canary.until_seen(answer.test_id)
        [live], [mirrored] = self.stable.of(answer.test_id), self.canary.of(answer.test_id)
        return live, mirrored

    async def missing(self, body: bytes, headers: Sent) -> None:
        """A request with this body reaches the stable version and not the canary."""
        answer = await self.fleet.send(self.envoy, method="POST", body=body, headers=headers)
        assert (answer.status, answer.backend) == (200, "stable")
        fence = await self.fleet.send(self.envoy)
        await self.canary.until_seen(fence.test_id)
        assert [arrival.body for arrival in self.stable.of(answer.test_id)] == [body]
        assert self.canary.of(answer.test_id) == []

    async def raw(self, headers: list[tuple[str, str]], body: bytes) -> str:
        """A POST with just these headers, as they stand; returns its id."""
        test_id = self.fleet.new_id()
        lines = ["POST / HTTP/1.1", f"host: {HOST}", f"{TEST_ID}: {test_id}", "connection: close"]
        lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers), "", ""]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.envoy.gateway_port)
        try:
            writer.write("\r\n".join(lines).encode() + body)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        finally:
            writer.close()
        return test_id


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _routed(fleet: Rig, stable: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))


@pytest.fixture
def annotate(fleet: Rig, canary: Recorder) -> Annotate:
    """Give the canary these annotations, by their short names, and wait until every Envoy has what
    follows."""

    async def done(*, state: str = "Active", others: tuple[Document, ...] = (), **annotations: str) -> None:
        pod = objects.pod("canary-1", canary.address)
        fleet.write("canary.yaml", [objects.canary(selects=None, **annotations), pod, *others])
        wanted = {name.replace("_", "-"): value.strip() for name, value in annotations.items()}

        async def read() -> bool:
            shadow = await fleet.shadow()
            found = {each.name: each.value for each in shadow.settings} if shadow else None
            return found is not None and (state == "Rejected" or found == wanted)

        await eventually(read, what=f"the annotations {wanted}")
        await fleet.until_shadow(state)

    return done


@pytest.fixture(params=[0, 1], ids=["delta", "sotw"])
def scene(
    request: pytest.FixtureRequest, fleet: Rig, stable: Recorder, canary: Recorder, annotate: Annotate
) -> Scene:
    return Scene(fleet, fleet.envoys[request.param], stable, canary, annotate)
