"""HTTP backends for real Envoys: one that records, and canaries of every bad kind."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from tests.support.waiting import eventually
from xds_server.base.address import Address

TEST_ID = "x-test-id"
BACKEND = "x-backend"
_KEPT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Arrival:
    """One request as a backend saw it; `shadow` is its x-xds-shadow header, `body` its first 64 KiB."""

    test_id: str
    method: str
    path: str
    host: str
    shadow: str | None
    digest: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Recorder:
    """Answers with its name and remembers everything. Every `fails`-th answer is a 500."""

    name: str
    address: Address
    fails: int = 0
    arrivals: list[Arrival] = field(default_factory=list)

    def of(self, test_id: str) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.test_id == test_id]

    async def until_seen(self, test_id: str) -> None:
        """Wait until a request with this id has arrived."""
        await eventually(lambda: self.of(test_id), what=f"the arrival of {test_id} at {self.name}")

    @property
    def live(self) -> list[Arrival]:
        """Requests that were not mirrored."""
        return [arrival for arrival in self.arrivals if arrival.shadow is None]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        digest, body = hashlib.sha256(), b""
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            body += chunk[: _KEPT_BYTES - len(body)]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.arrivals.append(
            Arrival(
                headers.get(TEST_ID, ""),
                request.method,
                request.raw_path,
                headers["host"],
                headers.get("x-xds-shadow"),
                digest.hexdigest(),
                headers,
                body,
            )
        )
        if headers.get("upgrade", "").lower() == "websocket":
            return await self._echo(request)
        status = 500 if self.fails and len(self.arrivals) % self.fails == 0 else 200
        return web.Response(text=self.name, status=status, headers={BACKEND: self.name})

    @staticmethod
    async def _echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.type == WSMsgType.TEXT:
                await websocket.send_str(message.data)
        return websocket


@contextlib.asynccontextmanager
async def serving(runner: web.BaseRunner) -> AsyncIterator[Address]:
    """Serve it on a free port."""
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def recorder(name: str, *, fails: int = 0) -> AsyncIterator[Recorder]:
    """A recording backend on a free port."""
    backend = Recorder(name, Address("127.0.0.1", 0), fails)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", backend.handle)
    async with serving(web.AppRunner(application, access_log=None)) as address:
        backend.address = address
        yield backend


@contextlib.asynccontextmanager
async def hanging() -> AsyncIterator[Address]:
    """Reads every request to its end and never answers."""

    open_connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections[task] = writer
        try:
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
        finally:
            writer.close()
            del open_connections[task]

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        try:
            yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for writer in open_connections.values():
                writer.transport.abort()  # the reader sees the end, and the task ends by itself
            await asyncio.gather(*open_connections)


@contextlib.contextmanager
def listening_but_deaf() -> Iterator[Address]:
    """Accepts connections, in the kernel, and never reads a byte."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield Address("127.0.0.1", listener.getsockname()[1])


@contextlib.contextmanager
def dead() -> Iterator[Address]:
    """A port that is in use and refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", bound.getsockname()[1])
