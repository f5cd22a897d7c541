"""Sends a request as bytes, in plain text or over TLS, and reads what is answered."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache

import h2.config
import h2.connection
import h2.events

from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address


@dataclass(frozen=True)
class Http1:
    """`parts` are written one after the other, each when something was answered to those before it; between
    them the client waits for an interim response or a byte."""

    parts: tuple[bytes, ...]


@dataclass(frozen=True)
class Http2:
    """`data` are the frames of the body. Pseudo headers are among the `headers`."""

    headers: tuple[tuple[str, str], ...]
    data: tuple[bytes, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()


async def send(request: Http1 | Http2, at: Address, *, secure: bool = False) -> int:
    """The status that is answered; 0 if the stream or connection is ended without one."""
    async with asyncio.timeout(PATIENCE_S):
        tls = _tls("h2" if isinstance(request, Http2) else "http/1.1") if secure else None
        async with _connected(at, tls) as streams:
            if isinstance(request, Http2):
                return await _http2(request, *streams)
            return await _http1(request, *streams)


@cache
def _tls(protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


@contextlib.asynccontextmanager
async def _connected(
    at: Address, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        at.host, at.port, ssl=tls, server_hostname="forms.example.com" if tls else None
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def _http1(request: Http1, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    status, first = 0, True
    for part in request.parts:
        if not first:
            status = await _status(reader)
            if not 100 <= status < 200:
                return status
        writer.write(part)
        await writer.drain()
        first = False
    if status == 101:
        await reader.readexactly(1)
        return status
    while 100 <= (status := await _status(reader)) < 200:
        pass
    return status


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    return int(head.split(b" ", 2)[1])


async def _http2(request: Http2, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    configuration = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(configuration)
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, request.headers, end_stream=not (request.data or request.trailers))
    for number, data in enumerate(request.data, start=1):
        last = number == len(request.data) and not request.trailers
        connection.send_data(stream, data, end_stream=last)
    if request.trailers:
        connection.send_headers(stream, request.trailers, end_stream=True)
    status = 0
    while True:
        writer.write(connection.data_to_send())
        await writer.drain()
        part = await reader.read(65536)
        events: Iterable[h2.events.Event] = connection.receive_data(part) if part else ()
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            if isinstance(
                event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated
            ):
                return status
        if not part:
            return status
