"""A fleet under test: a control plane that reads a directory, and one real Envoy of each variant."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from tests.support.backends import BACKEND, TEST_ID
from tests.support.objects import Document, write_documents
from tests.support.waiting import eventually
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions, BootstrapTls
from xds_server.xds.stream_events import Variant

HOST = "myapp.staging"
_IDS = itertools.count()  # of all rigs, as their backends may be the same


def told_of(variant: str) -> set[str]:
    """The types whose version says that an Envoy has the current clusters and routes."""
    return {"CDS", "VHDS" if variant == "delta" else "RDS"}


def all_have(status: status_pb2.GetStatusResponse, current: Set[str] = frozenset()) -> bool:
    """Whether the Envoys have acknowledged all that they were sent, and were sent the current version of what
    they are told of and of the types `current`."""
    return all(
        kind.sync == "SYNCED"
        and (
            kind.short_name not in current | told_of(node.variant)
            or kind.sent_version == status.server.versions[kind.short_name]
        )
        for node in status.nodes
        for kind in node.types
    )


@dataclass(frozen=True)
class Answer:
    """What a caller got: status, the backend that answered, the id that mirrored requests carry."""

    status: int
    backend: str
    test_id: str


@dataclass
class Rig:
    """Writes manifests, waits until they have taken effect, sends requests."""

    manifests: Path
    control_plane: ControlPlane
    envoys: tuple[Envoy, ...]
    session: aiohttp.ClientSession

    def write(self, file: str, documents: Sequence[Document]) -> None:
        """Replace one file of the manifests in one step."""
        write_documents(self.manifests / file, documents)

    async def status(self) -> status_pb2.GetStatusResponse:
        return await asyncio.to_thread(get_status, self.control_plane.admin_address)

    async def shadow(self, deployment: str = "myapp-canary") -> status_pb2.Shadow | None:
        found = await self.status()
        return next((s for s in found.shadows if s.name == deployment), None)

    async def until_shadow(self, state: str, reason: str = "", deployment: str = "myapp-canary") -> None:
        """Wait for the shadow's state and for every Envoy to have what follows from it."""

        async def there() -> bool:
            shadow = await self.shadow(deployment)
            return shadow is not None and shadow.state == state and reason in ("", shadow.reason)

        await eventually(there, what=f"shadow {deployment} {state} {reason}")
        await self.until_synced()

    async def until_no_shadow(self, deployment: str = "myapp-canary") -> None:
        async def gone() -> bool:
            return await self.shadow(deployment) is None

        await eventually(gone, what=f"no shadow {deployment}")
        await self.until_synced()

    async def until_synced(self, *current: str) -> None:
        """Wait until every Envoy has acknowledged all it was sent, and was sent the current version of
        clusters, routes (delta: virtual hosts) and the types `current`. (State of the world has no word for
        an assignment that is gone, so the version of endpoints may move on without a push.)"""
        await eventually(partial(self._synced, set(current)), what="every Envoy in sync")

    async def _synced(self, current: set[str]) -> bool:
        status = await self.status()
        connected = {node.id for node in status.nodes if node.types}
        return connected == {envoy.id for envoy in self.envoys} and all_have(status, current)

    def new_id(self) -> str:
        return f"t{next(_IDS)}"

    async def send(
        self,
        envoy: Envoy,
        *,
        method: str = "GET",
        path: str = "/",
        host: str = HOST,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request of a user through a gateway."""
        test_id = self.new_id()
        url = f"http://127.0.0.1:{envoy.gateway_port}{path}"
        all_headers = {"Host": host, TEST_ID: test_id, **(headers or {})}
        async with self.session.request(method, url, data=body, headers=all_headers) as response:
            await response.read()
            return Answer(response.status, response.headers.get(BACKEND, ""), test_id)

    async def send_many(
        self, envoy: Envoy, count: int, *, at_once: int = 16, method: str = "GET"
    ) -> list[Answer]:
        places = asyncio.Semaphore(at_once)

        async def one() -> Answer:
            async with places:
                return await self.send(envoy, method=method)

        return list(await asyncio.gather(*(one() for _ in range(count))))


@contextlib.asynccontextmanager
async def rig(
    directory: Path,
    extra: Sequence[str] = (),
    *,
    binary: Path | None = None,
    versions: Mapping[str, Path | None] | None = None,
    tls: BootstrapTls | None = None,
) -> AsyncIterator[Rig]:
    """Start a control plane on an empty directory, and an Envoy of either variant, of `binary` and with `tls`
    if they are given, or two of each of `versions`, by their binaries; end them all afterwards."""
    manifests = directory / "manifests"
    manifests.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        # Many tests of credentials need no TLS; that they do without this option is tested by itself.
        source = [f"--manifests={manifests}", "--plaintext-credentials"]
        control_plane = ControlPlane(source, directory, extra=extra)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        kinds = [(mode.value, mode, binary) for mode in Variant]
        if versions is not None:
            kinds = [(f"{version}-{m.value}", m, path) for version, path in versions.items() for m in Variant]
        ports = stack.enter_context(reserved_ports(len(kinds)))
        envoys = []
        for (name, mode, its_binary), port in zip(kinds, ports, strict=True):
            options = BootstrapOptions(
                node_id=name,
                mode=mode,
                xds_address=control_plane.xds_address,
                admin_port=0,
                gateway_port=port,
                tls=tls,
            )
            envoy = Envoy(options, directory, binary=its_binary)
            stack.push_async_callback(envoy.stop)
            envoys.append(envoy)
        await asyncio.gather(*(envoy.start() for envoy in envoys))
        await asyncio.gather(*(envoy.until_serving() for envoy in envoys))
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Rig(manifests, control_plane, tuple(envoys), session)
