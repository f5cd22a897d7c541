"""Steady load on one gateway: wrk where it is installed, else a loader of our own that counts the same."""

import asyncio
import re
import shutil
import time
from dataclasses import dataclass

import aiohttp

_CONNECTIONS = 8


@dataclass(frozen=True)
class LoadResult:
    """`bad` are answers other than 200 and connections that broke."""

    tool: str
    requests: int
    bad: int
    output: str = ""


async def load(port: int, host: str, *, seconds: int) -> LoadResult:
    """Send requests for `host` through 127.0.0.1:`port` for so many seconds."""
    if wrk := shutil.which("wrk"):
        return await _wrk(wrk, port, host, seconds)
    return await _own(port, host, seconds)


async def _wrk(wrk: str, port: int, host: str, seconds: int) -> LoadResult:
    process = await asyncio.create_subprocess_exec(
        wrk,
        *("-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {host}", f"http://127.0.0.1:{port}/"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        raw, _ = await process.communicate()
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


async def _own(port: int, host: str, seconds: int) -> LoadResult:
    until = time.monotonic() + seconds
    counts = {"requests": 0, "bad": 0}

    async def one_connection(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < until:
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
