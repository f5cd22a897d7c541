"""Running kubectl."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import yaml

from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Watching:
    """A kubectl that goes on."""

    process: asyncio.subprocess.Process

    async def line(self) -> list[str]:
        """The next line, as words."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE_S):
            found = (await self.process.stdout.readline()).decode()
        assert found, "kubectl has ended"
        return found.split()


@dataclass(frozen=True)
class Kubectl:
    """Commands of one user, by default in one namespace."""

    binary: str
    environment: Mapping[str, str]
    namespace: str = "default"

    async def __call__(self, *arguments: str, stdin: object = "", **environment: str) -> str:
        """What a command prints that has to succeed; `stdin` may be objects, which are sent as YAML."""
        ran = await self.run(*arguments, stdin=stdin, **environment)
        assert ran.code == 0, f"kubectl {' '.join(arguments)}: {ran.err}"
        return ran.out

    async def fails(self, *arguments: str, stdin: object = "", **environment: str) -> str:
        """What a command complains of that has to fail."""
        ran = await self.run(*arguments, stdin=stdin, **environment)
        assert ran.code != 0, f"kubectl {' '.join(arguments)} did not fail: {ran.out}"
        return ran.err

    async def get(self, *arguments: str) -> Any:
        """An object, or a list."""
        return json.loads(await self("get", *arguments, "-o", "json"))

    async def rows(self, *arguments: str) -> list[list[str]]:
        """What ``kubectl get`` prints, as words, the heading first."""
        return [line.split() for line in (await self("get", *arguments)).splitlines()]

    async def run(self, *arguments: str, stdin: object = "", **environment: str) -> Ran:
        process = await self._start(*arguments, **environment)
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate(_text(stdin).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Ran(process.returncode or 0, out.decode(), err.decode())

    @asynccontextmanager
    async def watching(self, *arguments: str) -> AsyncIterator[Watching]:
        process = await self._start("get", *arguments, "--watch")
        try:
            yield Watching(process)
        finally:
            process.kill()
            await process.communicate()

    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    async def _start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.binary,
            "--namespace",
            self.namespace,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.environment, **environment},
        )


def _text(stdin: object) -> str:
    if isinstance(stdin, str):
        return stdin
    return yaml.safe_dump_all(stdin if isinstance(stdin, list) else [stdin])
