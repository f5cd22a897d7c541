"""HTTP servers on many addresses of the loopback network, each of which answers with its own address.

All listen on the same few ports, as the endpoints of one EndpointSlice do. They do next to nothing, so that a
test can ask often.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.support.backends import BACKEND

_ATTEMPTS: Final = 50
_END_OF_HEAD: Final = b"\r\n\r\n"


@dataclass(frozen=True)
class NamedBackends:
    """`hosts` and `ports`; each host listens on every port, and answers ``HOST:PORT``."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]


class _Answering(asyncio.Protocol):
    """Takes requests whose bodies say how long they are. `connected` holds all of them."""

    def __init__(self, connected: set[asyncio.Transport]) -> None:
        self._connected = connected
        self._answer = b""
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        host, port = transport.get_extra_info("sockname")
        self._transport = transport
        self._connected.add(transport)
        self._answer = f"HTTP/1.1 200 OK\r\n{BACKEND}: {host}:{port}\r\ncontent-length: 0\r\n\r\n".encode()

    def data_received(self, data: bytes) -> None:
        self._held += data
        assert self._transport
        while (head := self._held.find(_END_OF_HEAD)) >= 0:
            whole = head + len(_END_OF_HEAD) + _length(self._held[:head])
            if len(self._held) < whole:
                return
            self._held = self._held[whole:]
            self._transport.write(self._answer)

    def connection_lost(self, _: Exception | None) -> None:
        assert self._transport
        self._connected.discard(self._transport)


@contextlib.asynccontextmanager
async def named_backends(hosts: Sequence[str], ports: int) -> AsyncIterator[NamedBackends]:
    """Serve on these hosts, on as many ports that the system chooses."""
    loop = asyncio.get_running_loop()
    connected: set[asyncio.Transport] = set()
    chosen, servers = [], []
    try:
        for _ in range(ports):
            port, sockets = _same_port_on(hosts)
            chosen.append(port)
            servers += [await loop.create_server(lambda: _Answering(connected), sock=s) for s in sockets]
        yield NamedBackends(tuple(hosts), tuple(chosen))
    finally:
        for server in servers:
            server.close()
        for transport in connected:
            transport.abort()
        await asyncio.sleep(0)  # they are told


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _same_port_on(hosts: Sequence[str]) -> tuple[int, list[socket.socket]]:
    for _ in range(_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            port, sockets = 0, []
            try:
                for host in hosts:
                    each = stack.enter_context(socket.socket())
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    each.bind((host, port))
                    port = each.getsockname()[1]
                    sockets.append(each)
            except OSError:  # somebody has this port at one of them
                continue
            stack.pop_all()
            return port, sockets
    raise AssertionError("no port is free on all of them")
