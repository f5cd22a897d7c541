"""Steady load on one gateway: wrk where it is installed, else a loader of our own that counts the same."""

import asyncio
import re
import shutil
import signal
from dataclasses import dataclass

import aiohttp

from tests.support.waiting import PATIENCE_S

_CONNECTIONS = 8


@dataclass(frozen=True)
class LoadResult:
    """`bad` are answers other than 200 and connections that broke."""

    tool: str
    requests: int
    bad: int
    output: str = ""


async def load(port: int, host: str, *, until: asyncio.Event) -> LoadResult:
    """Send requests for `host` through 127.0.0.1:`port` until the event is set."""
    if wrk := shutil.which("wrk"):
        return await _wrk(wrk, port, host, until)
    return await _own(port, host, until)


async def _wrk(wrk: str, port: int, host: str, until: asyncio.Event) -> LoadResult:
    process = await asyncio.create_subprocess_exec(
        wrk,
        *(
            "-t1",
            f"-c{_CONNECTIONS}",
            "-d1h",
            f"--timeout={PATIENCE_S:g}s",
            "-H",
            f"Host: {host}",
            f"http://127.0.0.1:{port}/",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        reading = asyncio.create_task(process.communicate(), name="wrk's output")
        stop = asyncio.create_task(until.wait(), name="the end of the load")
        await asyncio.wait([reading, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # wrk ends and prints its counts
        raw, _ = await reading
    finally:
        if process.returncode is None:  # cancelled: the test failed meanwhile
            process.kill()
            await process.wait()
    output = raw.decode()
    assert process.returncode == 0, output
    total = re.search(r"(\d+) requests in", output)
    assert total, output
    # wrk prints these lines only where there was something to count.
    errors = re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", output)
    return LoadResult("wrk", int(total[1]), sum(map(int, errors)), output)


async def _own(port: int, host: str, until: asyncio.Event) -> LoadResult:
    counts = {"requests": 0, "bad": 0}

    async def one_connection(session: aiohttp.ClientSession) -> None:
        while not until.is_set():
            counts["requests"] += 1
            try:
                async with session.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as response:
                    await response.read()
                    counts["bad"] += response.status != 200
            except aiohttp.ClientError:
                counts["bad"] += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one_connection(session) for _ in range(_CONNECTIONS)))
    return LoadResult("built-in loader (wrk is not installed)", counts["requests"], counts["bad"])
