"""A backend that records requests as they arrive, by a reader of its own: a server's library would tidy them
up. It knows HTTP/2 by its preface."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from tests.envoy.forms.arrival import Arrival, Headers
from xds_server.base.address import Address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@dataclass
class Backend:
    """What arrived, in the order of arrival."""

    address: Address
    arrivals: list[Arrival] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client ends it."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first = await reader.readuntil(b"\r\n\r\n")
            if PREFACE.startswith(first):
                await self._http2(first, reader, writer)
            else:
                while await self._http1(first, reader, writer):
                    first = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def _http1(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request; whether another may follow."""
        line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, _, rest = line.partition(" ")
        headers = fields(lines)
        named = {name.lower(): value for name, value in headers}
        body, trailers = await _body(reader, named)
        self.arrivals.append(Arrival(method, rest.rpartition(" ")[0], headers, body, trailers))
        if named.get("upgrade", "").lower() == "websocket":
            writer.write(_UPGRADED)
            writer.write(await reader.readexactly(1))
            return False
        text = b"" if method == "HEAD" else b"ok"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + text)
        await writer.drain()
        return line.endswith("HTTP/1.1")

    async def _http2(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take every request of a connection."""
        configuration = h2.config.H2Configuration(client_side=False, validate_inbound_headers=False)
        connection = h2.connection.H2Connection(configuration)
        connection.initiate_connection()
        streams: dict[int, Arrival] = {}
        part = head
        while part:
            for event in connection.receive_data(part):
                match event:
                    case h2.events.RequestReceived():
                        streams[event.stream_id] = _of_http2(_pairs(event.headers))
                    case h2.events.DataReceived():
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        _add(streams, event.stream_id, body=event.data)
                    case h2.events.TrailersReceived():
                        _add(streams, event.stream_id, trailers=_pairs(event.headers))
                    case h2.events.StreamEnded():
                        self.arrivals.append(streams.pop(event.stream_id))
                        connection.send_headers(
                            event.stream_id, [(":status", "200"), ("grpc-status", "0")], end_stream=True
                        )
            writer.write(connection.data_to_send())
            await writer.drain()
            part = await reader.read(65536)


def fields(lines: list[str]) -> Headers:
    """Header lines, taken apart; the space around values is no part of them (RFC 9110, 5.5)."""
    pairs = (line.partition(":") for line in lines if line)
    return tuple((name, value.strip(" \t")) for name, _, value in pairs)


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _of_http2(headers: Headers) -> Arrival:
    pseudo = {name: value for name, value in headers if name.startswith(":")}
    rest = tuple((name, value) for name, value in headers if not name.startswith(":"))
    host = (("host", pseudo[":authority"]),) if ":authority" in pseudo else ()
    return Arrival(pseudo[":method"], pseudo[":path"], (*host, *rest))


def _add(streams: dict[int, Arrival], stream: int, *, body: bytes = b"", trailers: Headers = ()) -> None:
    known = streams[stream]
    streams[stream] = Arrival(
        known.method, known.target, known.headers, known.body + body, known.trailers + trailers
    )


async def _body(reader: asyncio.StreamReader, named: dict[str, str]) -> tuple[bytes, Headers]:
    if "chunked" not in named.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(named.get("content-length", "0"))), ()
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    lines = []
    while line := (await reader.readline()).decode("latin-1").strip():
        lines.append(line)
    return body, fields(lines)


@contextlib.asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    """A recording backend on a free port."""
    found = Backend(Address("127.0.0.1", 0))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=2**20)
    found.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield found
    finally:
        server.close()
