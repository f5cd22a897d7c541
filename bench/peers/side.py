"""One side of the comparison: a server and its own fleet of Envoys, both child processes."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.resources import Change, write
from bench.process import cpu_s, cpu_when_idle, used
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import TypeUrl

_ANSWER_S: Final = 180.0
_LINE_BYTES: Final = 2**20
_QUIET_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one commit or one connecting of all came to. `wall_s` runs to the last acknowledgement; `size` is
    bytes of responses to a stream; least and most of any stream where there are two. `error` says why it is
    no result."""

    wall_s: float
    responses: Mapping[TypeUrl, tuple[int, int]]
    size: tuple[int, int]
    error: str = ""
    refused: int = 0
    received: Mapping[TypeUrl, int] | None = None

    @property
    def per_stream(self) -> dict[TypeUrl, int] | None:
        """Responses by type, if every stream had the same."""
        if any(least != most for least, most in self.responses.values()):
            return None
        return {type_url: least for type_url, (least, _) in self.responses.items() if least}


class Child:
    """A process that takes lines and answers with lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._input, self._output, self._name = process.stdin, process.stdout, name

    async def ask(self, line: str) -> dict[str, Any]:
        """Say a line and hear one."""
        self._input.write(line.encode() + b"\n")
        await self._input.drain()
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """The next line.

        Raises:
            XdsShadowError: there is none.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                line = await self._output.readline()
        except TimeoutError as error:
            raise XdsShadowError(f"{self._name} does not answer") from error
        if not line:
            raise XdsShadowError(f"{self._name} has ended; see its messages above")
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.asynccontextmanager
async def child(command: Sequence[str], name: str) -> AsyncIterator[Child]:
    """A running process, which is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES
    )
    try:
        yield Child(process, name)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Side:
    """Speaks to a server and its clients as one."""

    def __init__(self, server: Child, clients: Child, changes: Path) -> None:
        self._server, self._clients, self._changes = server, clients, changes
        self._began = 0.0

    async def open(self, streams: int, need: Mapping[TypeUrl, int], *, resume: bool, at_once: int) -> Outcome:
        """Connect so many Envoys, and wait until each has what is needed."""
        command = {"do": "open", "streams": streams, "resume": resume, "at_once": at_once, "need": need}
        found = await self._clients.ask(json.dumps(command))
        self._began = found["began"]
        return _outcome(found, self._began)

    async def prepare(self, change: Change) -> None:
        """Let the server read a change, for a `commit`; it takes them in order."""
        write(self._changes, change.records)
        await self._server.ask(f"prepare {self._changes}")

    async def commit(self, change: Change, need: Mapping[TypeUrl, int]) -> Outcome:
        """Put a change that was prepared in place and wait until every Envoy has acknowledged it."""
        command = {
            "do": "expect",
            "need": need,
            "mark": change.mark.decode(),
            "marked": change.marked,
            "subscribe": change.subscribe,
            "unsubscribe": change.unsubscribe,
        }
        await self._clients.ask(json.dumps(command))
        committed = await self._server.ask("commit")
        self._began = committed["committed"]
        return _outcome(await self._clients.hear(), self._began)

    async def nothing(self) -> None:
        """Let the server take a command that asks for nothing."""
        await self._server.ask("nothing")

    async def settled(self) -> Outcome:
        """The last outcome again, with all that came although it was not waited for: once the server has
        nothing left to do and nothing came for a moment."""
        await self.cpu_when_idle()
        found = await self._clients.ask(json.dumps({"do": "settle", "quiet": _QUIET_S}))
        return _outcome(found, self._began)

    async def close(self) -> None:
        """Disconnect all Envoys."""
        await self._clients.ask(json.dumps({"do": "close"}))

    async def cpu_when_idle(self) -> float:
        """Seconds of processor time that the server has used, once it has nothing left to do."""
        return await cpu_when_idle(self._server.pid)

    def clients_cpu(self) -> float:
        """Seconds of processor time that the Envoys have used."""
        return cpu_s(self._clients.pid)

    def rss_mib(self) -> float:
        """Memory of the server now."""
        return used(self._server.pid).rss_mib


def _outcome(found: dict[str, Any], began: float) -> Outcome:
    return Outcome(
        wall_s=found["done"] - began,
        responses={
            TypeUrl(type_url): (least, most) for type_url, (least, most) in found["responses"].items()
        },
        size=tuple(found["size"]),
        error=found["error"],
        refused=found["refused"],
        received=found.get("received"),
    )


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], initial: Path, setup: Mapping[str, Any], name: str
) -> AsyncIterator[Side]:
    """A server that has read its resources, with clients that are not connected yet."""
    async with child([*command, str(initial)], name) as server:
        address = (await server.hear())["serving"]
        clients = [sys.executable, "-m", "bench.peers.envoys", json.dumps({**setup, "server": address})]
        async with child(clients, f"the clients of {name}") as fleet:
            yield Side(server, fleet, initial.with_name(f"{name}.changes"))
