"""Callers of a gateway: minimal HTTP/1.1, so that they can send many requests."""

import asyncio
import contextlib
from typing import Self

from tests.support.backends import BACKEND
from tests.support.waiting import PATIENCE_S

_AT_MOST_S = PATIENCE_S
_NAME = f"{BACKEND}: ".encode()
_LENGTH = b"content-length: "


class Caller:
    """One connection to one gateway, made anew where it was closed. `asked` counts requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.asked = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hang_up()

    async def ask(self, authority: str) -> tuple[str | None, str]:
        """Which backend answered, None if it was no success; and what came back, for people."""
        self.asked += 1
        try:
            async with asyncio.timeout(_AT_MOST_S):
                return await self._ask(authority)
        except (OSError, EOFError, TimeoutError) as error:
            await self._hang_up()
            return None, f"{type(error).__name__}: {error}"

    async def _ask(self, authority: str) -> tuple[str | None, str]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            await self._hang_up()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(f"GET / HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, _, rest = head.partition(b"\r\n")
        body = await self._reader.readexactly(int(_field(rest, _LENGTH) or 0))
        if b"connection: close" in rest:
            await self._hang_up()
        code = int(status.split()[1])
        name = _field(rest, _NAME).decode() or None
        return (name if code == 200 else None), f"{code} {name or body.decode(errors='replace')}".strip()

    async def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None


def _field(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    return b"" if start < 0 else head[start + len(name) :].partition(b"\r\n")[0]
