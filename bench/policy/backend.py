"""A backend as a process of its own, good or bad: ``python -m bench.policy.backend KIND PORT_FILE``.

It speaks just enough HTTP/1.1 to be cheap. A bad one is as nice as can be: what is measured is what it does
to an Envoy, not what it takes from it by running on the same machine.
"""

import asyncio
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Final

_HEADS_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_GIB: Final = 1 << 30
_FLOOD: Final = f"HTTP/1.1 200 OK\r\ncontent-length: {_GIB}\r\n\r\n".encode()
_HINT: Final = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
_CHUNK: Final = b"z" * (1 << 18)
_HINTS_EVERY_S: Final = 0.01
_NICEST: Final = 19


class Kind(StrEnum):
    """How a backend behaves."""

    GOOD = "good"
    STALLS = "stalls"
    FLOODS = "floods"
    RESETS = "resets"
    HINTS = "hints"
    HINTS_FAST = "hints-fast"
    CLOSES = "closes"


class Backend(asyncio.Protocol):
    """One connection. Requests come one after another, with a length or without a body."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._head = b""
        self._left: int | None = None
        self._length = 0
        self._to_write = 0
        self._may_write = True
        self._transport: asyncio.Transport
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._gone = True

    def data_received(self, data: bytes) -> None:
        if self._left is None:
            self._head += data
            end = self._head.find(_HEADS_END)
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + len(_HEADS_END) :]
            self._head = b""
            self._length = self._left = _length(head)
            if self._begun():
                return
        self._left -= len(data)
        if self._kind is Kind.CLOSES and self._left * 2 < self._length:
            self._transport.close()
        elif self._left <= 0:
            self._left = None
            self._ended()

    def _begun(self) -> bool:
        """A request's head is there; returns whether that was all."""
        match self._kind:
            case Kind.STALLS:
                self._transport.pause_reading()
            case Kind.RESETS:
                self._transport.abort()
            case Kind.HINTS | Kind.HINTS_FAST:
                self._hint()
                return False
            case _:
                return False
        return True

    def _ended(self) -> None:
        """A request is there with its body."""
        match self._kind:
            case Kind.GOOD:
                self._transport.write(_OK)
            case Kind.FLOODS:
                self._transport.write(_FLOOD)
                self._to_write = _GIB
                self._flood()

    def _hint(self) -> None:
        if self._gone:
            return
        loop = asyncio.get_running_loop()
        if self._kind is Kind.HINTS:
            self._transport.write(_HINT)
            loop.call_later(_HINTS_EVERY_S, self._hint)
        else:
            if self._may_write:
                self._transport.write(_HINT * 100)
            loop.call_soon(self._hint)

    def _flood(self) -> None:
        while self._may_write and self._to_write > 0 and not self._gone:
            self._transport.write(_CHUNK)
            self._to_write -= len(_CHUNK)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._flood()


def _length(head: bytes) -> int:
    at = head.find(_LENGTH)
    return int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def main(kind: Kind, port_file: Path) -> None:
    """Serve until the process is ended; the port is in the file as soon as it is served."""
    if kind is not Kind.GOOD:
        os.nice(_NICEST)
    server = await asyncio.get_running_loop().create_server(lambda: Backend(kind), "127.0.0.1", 0)
    part = port_file.with_suffix(".part")
    part.write_text(str(server.sockets[0].getsockname()[1]))
    part.replace(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Kind(sys.argv[1]), Path(sys.argv[2])))
