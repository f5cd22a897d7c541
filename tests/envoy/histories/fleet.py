"""Four Envoys on one control plane: the newest and the oldest that are supported, in either variant each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.envoy.scenarios.stage import BINARIES
from tests.support.named_backends import NamedBackends, named_backends
from tests.support.scripted import Document, Name, Scripted, name_of
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.stream_events import Variant

BACKEND_PORTS = 3
_WITNESS = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nobody", "labels": {}}}


@dataclass
class Fleet:
    """`held` is the objects that the control plane has, by name."""

    plane: Scripted
    envoys: tuple[Envoy, ...]
    backends: NamedBackends
    directory: Path
    held: dict[Name, Document] = field(default_factory=dict)

    async def become(self, documents: Iterable[Document]) -> None:
        """Let exactly these objects be there; what that takes is one batch."""
        wanted = {name_of(document): document for document in documents}
        upserts = [document for name, document in wanted.items() if self.held.get(name) != document]
        deletes = [name for name in self.held if name not in wanted]
        self.held = wanted
        if upserts or deletes:
            await self.plane.put(upserts, deletes)

    async def put(self, *documents: Document) -> None:
        """Let these be there besides what is, in one batch."""
        await self.become((self.held | {name_of(document): document for document in documents}).values())

    async def status(self) -> status_pb2.GetStatusResponse:
        return await asyncio.to_thread(get_status, self.plane.admin_address)


@contextlib.asynccontextmanager
async def fleet(
    directory: Path, hosts: Iterable[str], *, versions: Iterable[str] = tuple(BINARIES)
) -> AsyncIterator[Fleet]:
    """Start everything, on backends that listen on these hosts; end it afterwards."""
    kinds = [(version, variant) for version in versions for variant in Variant]
    async with contextlib.AsyncExitStack() as stack:
        backends = await stack.enter_async_context(named_backends(tuple(hosts), BACKEND_PORTS))
        plane = Scripted(directory)
        stack.push_async_callback(plane.stop)
        await plane.start([_WITNESS])
        ports = stack.enter_context(reserved_ports(len(kinds)))
        envoys = []
        for (version, variant), port in zip(kinds, ports, strict=True):
            envoy = start_of(plane, directory, version, variant, port)
            stack.push_async_callback(envoy.stop)
            envoys.append(envoy)
        await asyncio.gather(*(envoy.start() for envoy in envoys))
        await asyncio.gather(*(envoy.until_serving() for envoy in envoys))
        held: Mapping[Name, Document] = {name_of(_WITNESS): _WITNESS}
        yield Fleet(plane, tuple(envoys), backends, directory, dict(held))


def start_of(plane: Scripted, directory: Path, version: str, variant: Variant, port: int) -> Envoy:
    """An Envoy of this kind, not yet running."""
    options = BootstrapOptions(
        node_id=f"{version}-{variant.value}-{port}",
        mode=variant,
        xds_address=plane.xds_address,
        admin_port=0,
        gateway_port=port,
    )
    return Envoy(options, directory, binary=BINARIES[version])
