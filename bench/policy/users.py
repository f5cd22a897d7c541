"""The users of a Service, as a process of its own: ``python -m bench.policy.users`` and the fields of `Load`,
as JSON; prints what they got, as JSON.
"""

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

_AT_MOST_S: Final = 60.0
_HEADS_END: Final = b"\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """Requests to a gateway for so many seconds. `rate` a second, each when it is due, however long others
    take; or, if 0, as fast as `connections` get their answers one after another. `body` is what they carry,
    and `size` how many bytes of it."""

    port: int
    host: str
    seconds: float
    rate: float = 0.0
    connections: int = 8
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    size: int = 0

    @property
    def request(self) -> bytes:
        """One request as bytes."""
        body = self.body.encode() or b"x" * self.size
        lines = [f"{self.method} /api/things HTTP/1.1", f"host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"content-length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "", ""]).encode() + body


class Users:
    """Sends, and keeps how long each answer took, in milliseconds, and how many were none or not 200."""

    def __init__(self, load: Load) -> None:
        self.took_ms: list[float] = []
        self.failed = 0
        self._load = load
        self._request = load.request
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self) -> None:
        began = time.perf_counter()
        if self._load.rate:
            await self._when_due(began)
        else:
            await asyncio.gather(*(self._one_after_another(began) for _ in range(self._load.connections)))

    async def _when_due(self, began: float) -> None:
        tasks = []
        for number in range(int(self._load.rate * self._load.seconds)):
            due = began + number / self._load.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self._one(due)))
        await asyncio.gather(*tasks)

    async def _one_after_another(self, began: float) -> None:
        while (now := time.perf_counter()) - began < self._load.seconds:
            await self._one(now)

    async def _one(self, due: float) -> None:
        try:
            async with asyncio.timeout(_AT_MOST_S):
                reader, writer = (
                    self._idle.pop()
                    if self._idle
                    else await asyncio.open_connection("127.0.0.1", self._load.port)
                )
                writer.write(self._request)
                head = await reader.readuntil(_HEADS_END)
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
        except (OSError, EOFError, TimeoutError, IndexError):
            self.failed += 1
            return
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self.took_ms.append((time.perf_counter() - due) * 1000)
        self._idle.append((reader, writer))


async def send(load: Load) -> dict[str, Any]:
    """Have a process send it; `took_ms` of every request that was answered, and how many `failed`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.policy.users", json.dumps(asdict(load)), stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    found: dict[str, Any] = json.loads(output)
    return found


if __name__ == "__main__":
    users = Users(Load(**json.loads(sys.argv[1])))
    asyncio.run(users.run())
    print(json.dumps({"took_ms": users.took_ms, "failed": users.failed}))
