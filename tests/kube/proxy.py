"""Stands between the Kubernetes source and an API server, passes all on, and breaks what it is told to.

It works on bytes, so a connection can be cut in the middle of a list, of a line or of an HTTP chunk; and it
knows of Kubernetes only what it needs to tell a list from a watch.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from xds_server.kube.session import Connect


class Asked(NamedTuple):
    """What a request is about: `verb` is list, watch, or stream for a list that turns into a watch."""

    verb: str
    plural: str


@dataclass(frozen=True)
class Reject:
    """Answer with this status, and pass nothing on."""

    status: int
    retry_after: int | None = None


@dataclass(frozen=True)
class Cut:
    """Break the connection after so many bytes of the body; with `in_chunk`, inside an HTTP chunk."""

    after: int
    in_chunk: bool = False


Fault = Reject | Cut

ERROR_EVENT = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure",'
    b'"message":"too old resource version","reason":"Expired","code":410}}\n'
)


@dataclass(eq=False)
class Passing:
    """One response under way, in pieces; None ends it, and an exception breaks it."""

    asked: Asked
    transport: asyncio.Transport
    pieces: asyncio.Queue[bytes | Exception | None] = field(default_factory=asyncio.Queue)


@dataclass
class Proxy:
    """`faults` are used up in order, for the requests they are for; `rejected` holds the status that every
    request for a kind is answered with, or for "" every request at all, and 0 if its connection is to break.
    `silent` kinds are read and not passed on; kinds on hold wait until they are let go, so that one kind's
    events come later than another's. `asked` counts requests whose credentials were accepted and that were
    not `rejected`, and `turned_away` the rejected ones by kind."""

    connect_upstream: Connect
    url: str = ""
    down: bool = False
    credential: str = ""
    faults: dict[Asked, list[Fault]] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: Counter[Asked] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    passing: set[Passing] = field(default_factory=set)
    clients: list[ApiClient] = field(default_factory=list)
    _let_go: dict[str, asyncio.Event] = field(default_factory=dict)
    _upstream: ApiClient | None = None

    async def connect(self) -> ApiClient:
        """What `KubeSource` is given to connect with."""
        configuration = Configuration(host=self.url)
        configuration.connection_pool_maxsize = 0
        configuration.client_session_kwargs = {"trust_env": False}
        if self.credential:
            configuration.api_key["BearerToken"] = f"Bearer {self.credential}"
        self.clients.append(ApiClient(configuration))
        return self.clients[-1]

    def lists(self, plural: str) -> int:
        """How often a kind was listed, either way."""
        return self.asked[Asked("list", plural)] + self.asked[Asked("stream", plural)]

    def watched(self) -> set[str]:
        """The kinds with an open watch."""
        return {each.asked.plural for each in self.passing if each.asked.verb != "list"}

    def add(self, verb: str, plural: str, *faults: Fault) -> None:
        self.faults.setdefault(Asked(verb, plural), []).extend(faults)

    def cut(self, plural: str = "") -> None:
        """Break the open connections of a kind, or all."""
        for each in list(self.passing):
            if plural in ("", each.asked.plural):
                each.transport.abort()

    def inject(self, plural: str, data: bytes) -> None:
        """Send bytes on the open watches of a kind, between two pieces of what the server sends."""
        for each in self.passing:
            if each.asked.plural == plural and each.asked.verb != "list":
                each.pieces.put_nowait(data)

    def hold(self, plural: str) -> None:
        """Keep back what the server says of a kind."""
        self._let_go[plural] = asyncio.Event()

    def let_go(self, plural: str) -> None:
        self._let_go.pop(plural).set()

    async def handle(self, http: web.Request) -> web.StreamResponse:
        *_, plural = http.path.strip("/").split("/")
        if plural == "pods" and http.query.get("labelSelector") == "xds-shadow.io/shadow-of":
            plural = "marked pods"  # apart from those of canaries
        verb = "watch" if http.query.get("watch") == "true" else "list"
        asked = Asked("stream" if "sendInitialEvents" in http.query else verb, plural)
        transport = http.transport
        assert isinstance(transport, asyncio.Transport)
        if self.down:
            transport.abort()
            return web.Response()
        if self.credential and http.headers.get("Authorization") != f"Bearer {self.credential}":
            return _status(Reject(401))
        rejected = self.rejected.get("", self.rejected.get(plural))
        if rejected is not None:
            self.turned_away[plural] += 1
            if rejected == 0:
                transport.abort()
            return _status(Reject(rejected))
        self.asked[asked] += 1
        script = self.faults.get(asked)
        fault = script.pop(0) if script else None
        if isinstance(fault, Reject):
            return _status(fault)
        passing = Passing(asked, transport)
        self.passing.add(passing)
        try:
            return await self._pass(http, passing, fault)
        except (aiohttp.ClientError, ConnectionError):
            transport.abort()  # as broken as what is behind it
            return web.Response()
        finally:
            self.passing.discard(passing)

    async def _pass(self, http: web.Request, passing: Passing, cut: Cut | None) -> web.StreamResponse:
        assert self._upstream is not None
        client = self._upstream
        _, url, headers, _, _ = await client.param_serialize(
            "GET", http.path, header_params={"Accept": http.headers["Accept"]}, auth_settings=["BearerToken"]
        )
        limits = aiohttp.ClientTimeout(sock_connect=10)
        found = await client.call_api("GET", f"{url}?{http.query_string}", headers, _request_timeout=limits)
        upstream: aiohttp.ClientResponse = found.response
        try:
            response = web.StreamResponse(status=upstream.status)
            response.content_type = upstream.content_type
            response.enable_chunked_encoding()
            await response.prepare(http)
            sent = 0
            async for data in self._pieces(upstream, passing):
                if cut and sent + len(data) > cut.after:
                    await _send_part(response, passing.transport, data, cut, cut.after - sent)
                    return response
                await response.write(data)
                sent += len(data)
            await response.write_eof()
            return response
        finally:
            upstream.close()

    async def _pieces(self, upstream: aiohttp.ClientResponse, passing: Passing) -> AsyncIterator[bytes]:
        """What the server sends, and what is injected."""
        plural = passing.asked.plural
        reading = asyncio.create_task(_read(upstream, passing))
        try:
            while (data := await passing.pieces.get()) is not None:
                if isinstance(data, Exception):
                    raise data
                if plural in self._let_go:
                    await self._let_go[plural].wait()
                if plural not in self.silent:
                    yield data
        finally:
            reading.cancel()


async def _read(upstream: aiohttp.ClientResponse, passing: Passing) -> None:
    try:
        async for chunk in upstream.content.iter_any():
            passing.pieces.put_nowait(chunk)
        passing.pieces.put_nowait(None)
    except aiohttp.ClientError as error:
        passing.pieces.put_nowait(error)


async def _send_part(
    response: web.StreamResponse, transport: asyncio.Transport, data: bytes, cut: Cut, size: int
) -> None:
    if cut.in_chunk:
        transport.write(f"{len(data):x}\r\n".encode() + data[:size])
    elif size:
        await response.write(data[:size])
    transport.close()  # what was written still goes out


def _status(reject: Reject) -> web.Response:
    headers = {} if reject.retry_after is None else {"Retry-After": str(reject.retry_after)}
    status = {"kind": "Status", "code": reject.status, "message": "as the test says"}
    return web.json_response(status, status=reject.status, headers=headers)


@asynccontextmanager
async def proxy(connect_upstream: Connect) -> AsyncIterator[Proxy]:
    """A proxy on a port of the system's choice."""
    it = Proxy(connect_upstream)
    it._upstream = await connect_upstream()
    app = web.Application()
    app.router.add_get("/{path:.*}", it.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    it.url = f"http://{host}:{port}"
    try:
        yield it
    finally:
        await runner.cleanup()
        await it._upstream.close()  # type: ignore[no-untyped-call]
