"""A control plane with a gateway file, an Envoy of each version and variant, requests written by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
import yaml

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import TEST_ID, Arrival, Recorder
from tests.support.rig import HOST, Rig, rig
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.address import Address
from xds_server.local.demo.envoy import Envoy
from xds_server.xds.stream_events import Variant

KINDS = [f"{version}-{variant.value}" for version in BINARIES for variant in Variant]
MARKED = ("request-headers-timeout", "connection-idle-timeout")
_MARK_MS = 20_000
Metadata = dict[str, str]

FROM_BALANCER = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Envoy-Retry-On: 5xx")
"""What a balancer says of its client, and what its client says to Envoy."""

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


@dataclass(frozen=True)
class Reply:
    """A response as it came: its status line, its headers in small letters, and what follows."""

    status: int
    headers: dict[str, str]
    rest: bytes

    @property
    def is_from_backend(self) -> bool:
        """Whether it is a backend's own response, not Envoy's."""
        return self.headers.get("server", "").startswith("Python")


class GatewayFile:
    """The file of ``--gateway``, and how every Envoy gets what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.envoys: tuple[Envoy, ...] = ()
        self._said: dict[str, Any] = {}
        self._changes = 0

    async def says(self, **settings: Any) -> None:
        """Replace the file, and wait until every Envoy serves by it; nothing if it says so already."""
        wanted = {key.replace("_", "-"): value for key, value in settings.items()}
        if wanted == self._said and self._changes:
            return
        # A time that nobody waits for, different each time: it tells that the listener is this one.
        self._changes += 1
        mark = _MARK_MS + self._changes
        key = next(key for key in MARKED if key not in wanted)
        self.write(yaml.safe_dump({key: f"{mark}ms", **wanted}))
        for envoy in self.envoys:
            await eventually(partial(_serves, envoy, mark), what=f"{envoy.id} serving by {wanted}")
        # A connection to a socket that is about to be closed may be reset.
        for listener in wanted.get("listeners", [{}]):
            if listener.get("name", "gateway") == "gateway":
                addresses = set(listener.get("addresses", ["0.0.0.0"]))
                for envoy in self.envoys:
                    await eventually(
                        partial(_listens, envoy, addresses), what=f"{envoy.id} listening on {addresses}"
                    )
        self._said = wanted

    def write(self, text: str) -> None:
        """Replace the file in one step."""
        part = self.path.with_suffix(".part")
        part.write_text(text)
        part.replace(self.path)


async def _serves(envoy: Envoy, mark: int) -> bool:
    found = await envoy.admin("/config_dump?resource=dynamic_listeners")
    return any(
        f'_timeout": "{mark / 1000:.3f}s"' in json.dumps(each.get("active_state", {}))
        and "warming_state" not in each
        for each in found["configs"]
    )


async def _listens(envoy: Envoy, addresses: set[str]) -> bool:
    """Whether the gateway's port is listened on at these addresses and no others (Linux: state 10)."""
    found = set()
    for table in ("tcp", "tcp6"):
        text = await asyncio.to_thread(Path("/proc/net", table).read_text)
        for _, local, _, state, *_ in (line.split() for line in text.splitlines()[1:]):
            address, port = local.split(":")
            if state == "0A" and int(port, 16) == envoy.gateway_port:
                words = bytes.fromhex(address)
                found.add(
                    str(ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))))
                )
    return found == addresses


@dataclass(frozen=True)
class Scene:
    """One of the Envoys, and what arrives behind it."""

    fleet: Rig
    file: GatewayFile
    envoy: Envoy
    stable: Recorder
    canary: Recorder

    async def ask(self, request: str, *headers: str, body: bytes = b"", at: str = "127.0.0.1") -> Reply:
        """Send a request, of which `request` is the first line, just as it is written."""
        return (await self.asked(request, *headers, body=body, at=at))[0]

    async def asked(
        self, request: str, *headers: str, body: bytes = b"", at: str = "127.0.0.1"
    ) -> tuple[Reply, Arrival | None]:
        """The same, with what arrived at the stable version, if it did."""
        test_id = self.fleet.new_id()
        given = any(each.lower().startswith("host:") for each in headers)
        lines = [request, *([] if given else [f"Host: {HOST}"]), f"{TEST_ID}: {test_id}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        reader, writer = await asyncio.open_connection(at, self.envoy.gateway_port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            reply = await read_reply(reader)
        finally:
            writer.close()
        arrivals = self.stable.of(test_id)
        return reply, arrivals[0] if arrivals else None

    async def call(
        self, *, method: str = "/test.Echo/Say", metadata: tuple[tuple[str, str], ...] = ()
    ) -> grpc.StatusCode:
        """Call the gRPC Service; how it went."""
        options = [("grpc.default_authority", "echo.staging:50051")]
        async with grpc.aio.insecure_channel(str(self.envoy.gateway), options=options) as channel:
            say: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            try:
                await say(b"", timeout=PATIENCE_S, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    def websocket(self) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A WebSocket through the gateway, which says again what it is told."""
        url = f"http://{self.envoy.gateway}/"
        return self.fleet.session.ws_connect(url, headers={"Host": HOST})

    async def is_closed_by_gateway(self, begin: str) -> bool:
        """Whether a connection that begins so, and says nothing more, is closed from the other side."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.envoy.gateway_port)
        try:
            writer.write(begin.encode())
            async with asyncio.timeout(PATIENCE_S):
                await reader.read()
        finally:
            writer.close()
        return reader.at_eof()

    async def has_keepalive(self) -> bool:
        """Whether the kernel probes the gateway's end of a connection (Linux: its timer is number 2)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.envoy.gateway_port)
        try:
            # Answered, so that Envoy has accepted it.
            writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            await read_reply(reader)
            ends = [writer.get_extra_info(each)[1] for each in ("peername", "sockname")]
            table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
            rows = [line.split() for line in table.splitlines()[1:]]
            # The kernel may list a connection twice if the table changes while it is read.
            gateways, *_ = [row for row in rows if [int(each[-4:], 16) for each in row[1:3]] == ends]
        finally:
            writer.close()
        return gateways[5].startswith("02:")


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """The next response of a connection, its body if it says how long it is."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    rest = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(first.split(" ")[1]), headers, rest)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> GatewayFile:
    found = GatewayFile(tmp_path_factory.mktemp("gateway") / "gateway.yaml")
    found.write("profile: transparent")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, file: GatewayFile, stable: Recorder, canary: Recorder
) -> AsyncIterator[Rig]:
    option = f"--gateway={file.path}"
    async with rig(tmp_path_factory.mktemp("fleet"), [option], versions=BINARIES) as running:
        running.write("base.yaml", [objects.namespace(), objects.service()])
        running.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        running.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await running.until_shadow("Active")
        file.envoys = running.envoys
        yield running


@pytest.fixture
def scenes(fleet: Rig, file: GatewayFile, stable: Recorder, canary: Recorder) -> list[Scene]:
    """Of every Envoy."""
    return [Scene(fleet, file, envoy, stable, canary) for envoy in fleet.envoys]


@pytest.fixture(params=KINDS)
def scene(request: pytest.FixtureRequest, scenes: list[Scene]) -> Scene:
    """Of each Envoy in turn."""
    return scenes[KINDS.index(request.param)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo(fleet: Rig) -> AsyncIterator[list[Metadata]]:
    """A gRPC Service, which `Scene.call` calls; the metadata of its calls."""
    seen: list[Metadata] = []

    async def say(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        seen.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        return request

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(say)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),))
    address = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    port = {"name": "api", "port": 50051, "targetPort": "api", "appProtocol": "grpc"}
    slices = objects.endpoint_slice("echo", [("echo-1", address)], port_name="api")
    fleet.write("grpc.yaml", [objects.service("echo", ports=[port]), *slices])
    for envoy in fleet.envoys:
        await eventually(partial(_has_echo, envoy), what=f"the gRPC Service at {envoy.id}")
    yield seen
    await server.stop(0)


async def _has_echo(envoy: Envoy) -> bool:
    return bool(await envoy.stat("cluster.staging/echo/api.membership_healthy"))
