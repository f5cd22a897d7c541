"""Many Envoys in one process, each with a connection of its own: ``python -m bench.peers.envoys SETUP``.

SETUP is JSON: ``server``, ``variant``, ``types``, ``names`` (a file with a cluster's name on each line).
Commands are lines of JSON on standard input; each is answered by one on standard output.

- ``{"do": "open", "streams": N, "resume": B, "at_once": N, "need": {}}`` connects all, at most `at_once` at a
  time, and waits until each has what is due.
- ``{"do": "expect", "need": {}, "mark": "", "marked": [], "subscribe": [], "unsubscribe": []}`` is answered
  when all is ready for a commit, and again when every stream has acknowledged what is due.
- ``{"do": "settle", "quiet": S}`` gives the last answer once more, when nothing has come for so many seconds:
  what is more than due is counted too.
- ``{"do": "close"}`` ends all.

Moments are of the machine's monotonic clock, in seconds.
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import grpc

from bench.peers.envoy import Envoy, Expected
from bench.peers.requests import DeltaRequests, SotwRequests

_SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Else all channels of a process share one connection.
    ("grpc.use_local_subchannel_pool", 1),
)
_DEADLINE_S: Final = 120.0
_BACKOFF_S: Final = 0.2


class Envoys:
    """The fleet. The first of it keeps its responses, to know what to come back with."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._server: str = setup["server"]
        self._types = [each.encode() for each in setup["types"]]
        kind = {"sotw": SotwRequests, "delta": DeltaRequests}[setup["variant"]]
        self._requests = kind(self._types[1], Path(setup["names"]).read_text().split())
        self._envoys: list[Envoy] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[grpc.aio.Channel] = []
        self._kept: list[bytes] = []
        self._missing = 0
        self._last = 0.0
        self._refused = 0
        self._error = ""
        self._all_there = asyncio.Event()

    async def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Connect the fleet."""
        self._learned()
        self._refused, resume, streams = 0, command["resume"], command["streams"]
        expected = Expected({each.encode(): number for each, number in command["need"].items()})
        began = self._last = time.monotonic()
        for first in range(0, streams, command["at_once"]):
            group = range(first, min(streams, first + command["at_once"]))
            self._await(len(group))
            for number in group:
                envoy = Envoy(self._requests, self._types)
                envoy.expect(expected)
                self._envoys.append(envoy)
                running = self._run(envoy, keeps=number == 0, resume=resume)
                self._tasks.append(asyncio.create_task(running, name=f"bench/envoy-{number}"))
            await self._until_there(0.0)
        return self._outcome() | {"began": began}

    def expect(self, command: dict[str, Any]) -> None:
        """Make ready for a commit."""
        subscribe, unsubscribe = command["subscribe"], command["unsubscribe"]
        if subscribe or unsubscribe:
            self._requests.rename(subscribe, unsubscribe)
        expected = Expected(
            {each.encode(): number for each, number in command["need"].items()},
            command["mark"].encode(),
            [each.encode() for each in command["marked"]],
            renames=bool(subscribe or unsubscribe),
        )
        for envoy in self._envoys:
            envoy.expect(expected)
        self._refused = 0
        self._await(len(self._envoys))

    async def arrived(self) -> dict[str, Any]:
        """When what is due is with all."""
        await self._until_there(0.0)
        return self._outcome()

    async def settled(self, quiet: float) -> dict[str, Any]:
        """The same once more; `received` says how many resources of each type the first got meanwhile."""
        await self._until_there(quiet)
        return self._outcome() | {"received": self._learned()}

    async def close(self) -> None:
        """End all streams and connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))
        self._envoys, self._tasks, self._channels = [], [], []

    def _await(self, streams: int) -> None:
        self._missing, self._error = streams, ""
        self._all_there.clear()

    async def _until_there(self, quiet: float) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._all_there.wait()
                await self._until_quiet(quiet)
        except TimeoutError:
            self._error = f"{self._missing} of {len(self._envoys)} streams did not get what was due"

    async def _until_quiet(self, seconds: float) -> None:
        left = seconds
        while not self._error and left > 0:
            await asyncio.sleep(left)
            left = self._last + seconds - time.monotonic()

    def _outcome(self) -> dict[str, Any]:
        tallies = [envoy.tally for envoy in self._envoys]
        sizes = [tally.size for tally in tallies]
        counts = {each: [tally.responses[each] for tally in tallies] for each in self._types}
        return {
            "done": self._last,
            "error": self._error,
            "size": [min(sizes), max(sizes)],
            "responses": {each.decode(): [min(found), max(found)] for each, found in counts.items()},
            "refused": self._refused,
        }

    def _learned(self) -> dict[str, int]:
        """Read what the first stream kept; the number of resources by type."""
        received: dict[str, int] = {}
        for raw in self._kept:
            type_url, number = self._requests.learn(raw)
            received[type_url.decode()] = received.get(type_url.decode(), 0) + number
        self._kept.clear()
        return received

    async def _run(self, envoy: Envoy, *, keeps: bool, resume: bool) -> None:
        channel = grpc.aio.insecure_channel(self._server, options=_OPTIONS)
        self._channels.append(channel)
        method: Any = channel.stream_stream(_SERVICE + self._requests.method)
        while True:
            try:
                await self._converse(method(), envoy, keeps=keeps, resume=resume)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self._fail(f"{error.code().name}: {error.details()}")
                    return
            except ValueError as error:
                self._fail(str(error))
                return
            # Too many at once, for that server: come back, as Envoys do.
            self._refused += 1
            await asyncio.sleep(_BACKOFF_S)

    async def _converse(self, call: Any, envoy: Envoy, *, keeps: bool, resume: bool) -> None:
        for request in envoy.opening(resume=resume):
            await call.write(request)
        while (raw := await call.read()) is not grpc.aio.EOF:
            for request in envoy.answers(raw):
                await call.write(request)
            self._last = time.monotonic()
            if keeps:
                self._kept.append(raw)
            if envoy.newly_satisfied():
                self._missing -= 1
                if not self._missing:
                    self._all_there.set()
        raise ValueError("the server ended a stream")

    def _fail(self, error: str) -> None:
        self._error = error
        self._all_there.set()


async def serve(setup: dict[str, Any]) -> None:
    """Obey until standard input ends."""
    envoys = Envoys(setup)
    gc.disable()
    commands = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        command = json.loads(line)
        match command["do"]:
            case "open":
                say(await envoys.open(command))
            case "expect":
                envoys.expect(command)
                say({"ready": True})
                say(await envoys.arrived())
            case "settle":
                say(await envoys.settled(command["quiet"]))
            case "close":
                await envoys.close()
                gc.collect()
                say({"closed": True})


def say(fact: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
