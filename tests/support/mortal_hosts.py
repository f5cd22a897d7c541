"""HTTP hosts that die: they refuse connections, swallow packets, or close connections without a response."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from tests.support.backends import TEST_ID
from xds_server.base.address import Address

_SO_ATTACH_FILTER: Final = 26
_BACKLOG: Final = 1024
_FILLING: Final = 4
_END_OF_HEAD: Final = b"\r\n\r\n"


class _Drop(ctypes.Structure):
    """A packet filter of one instruction: return 0, which is to drop."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


_DROP_ALL: Final = _Drop(6, 0, 0, 0)


def packet_filters_are_admitted() -> bool:
    """Whether this process may have some; not every system lets everybody."""
    with socket.socket() as tried:
        try:
            _drop_packets(tried)
        except PermissionError:
            return False
    return True


def _drop_packets(of: socket.socket) -> None:
    program = struct.pack("HL", 1, ctypes.addressof(_DROP_ALL))
    of.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class MortalHost:
    """Refuses connections until it `lives`. `arrivals` counts requests by their test id, and `connections`
    are the open ones. A host that is `crashing` closes a connection once a request has arrived; otherwise
    it answers with `status`."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0)
        self._waiting: list[socket.socket] = []
        self._server: asyncio.Server | None = None
        self.address = Address(*self._socket.getsockname())
        self.arrivals: Counter[str] = Counter()
        self.connections: set[asyncio.Transport] = set()
        self.crashing = False
        self.status = 200

    async def lives(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Answering(self), sock=self._socket, backlog=_BACKLOG)

    def refuses(self) -> None:
        """Stop listening, and close all connections."""
        assert self._server
        self._server.close()
        for connection in list(self.connections):
            connection.abort()

    def swallows_connections(self) -> None:
        """Answer no attempt to connect: the queue of those that wait is full. Needs no privilege."""
        self._socket.listen(0)
        for _ in range(_FILLING):
            waiting = socket.socket()
            self._waiting.append(waiting)
            waiting.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((self.address.host, self.address.port))

    def swallows_packets(self) -> None:
        """Drop every packet, of open connections, too, where `packet_filters_are_admitted`."""
        for each in (self._socket, *(c.get_extra_info("socket") for c in self.connections)):
            _drop_packets(each)

    def close(self) -> None:
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        for each in (self._socket, *self._waiting):
            each.close()


class _Answering(asyncio.Protocol):
    def __init__(self, host: MortalHost) -> None:
        self._host = host
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host.connections.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        assert self._transport
        self._host.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport
        self._held += data
        while (end := self._held.find(_END_OF_HEAD)) >= 0:
            lines = (line.partition(":") for line in self._held[:end].decode().split("\r\n")[1:])
            headers = {name.lower(): value.strip() for name, _, value in lines}
            whole = end + len(_END_OF_HEAD) + int(headers.get("content-length", "0"))
            if len(self._held) < whole:
                return
            self._held = self._held[whole:]
            self._host.arrivals[headers.get(TEST_ID, "")] += 1
            if self._host.crashing:
                self._transport.abort()
                return
            self._transport.write(f"HTTP/1.1 {self._host.status} -\r\ncontent-length: 0\r\n\r\n".encode())


@contextlib.asynccontextmanager
async def mortal_hosts(count: int) -> AsyncIterator[tuple[MortalHost, ...]]:
    """So many hosts, each on a port of its own."""
    hosts = tuple(MortalHost() for _ in range(count))
    try:
        yield hosts
    finally:
        for host in hosts:
            host.close()
        await asyncio.sleep(0)  # their connections are told
