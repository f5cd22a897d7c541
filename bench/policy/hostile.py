"""What a canary that misbehaves does to the users of the stable version, who upload 5 MB each.

Rounds with the shadow and rounds without it take turns in one run, as the machine is shared and its speed
drifts; quantiles are over all rounds of a kind.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.policy.backend import Kind
from bench.policy.stage import HOST, SHADOW, Stage, stage
from bench.policy.users import Load, send
from bench.process import used

UPLOAD: Final = 5_000_000
RATE: Final = 20.0
SIDES: Final[dict[str, dict[str, str]]] = {
    "off": {"paused": "true"},
    "default": {},
    "copied": {"max-body": "8Mi"},
}
"""The annotations: by default nothing of such uploads is sent to the canary."""

_SAMPLE_S: Final = 0.05
_PERCENT: Final = 100


@dataclass
class _Side:
    """What was seen with one of `SIDES`."""

    took_ms: list[float] = field(default_factory=list)
    failed: int = 0
    peak_mib: float = 0.0
    copies: int = 0

    def result(self) -> dict[str, Any]:
        quantiles = statistics.quantiles(self.took_ms, n=_PERCENT, method="inclusive")
        return {
            "requests": len(self.took_ms),
            "failed": self.failed,
            "p50_ms": quantiles[49],
            "p99_ms": quantiles[98],
            "worst_ms": max(self.took_ms),
            "peak_mib": self.peak_mib,
            "copies": self.copies,
        }


async def measure(*, rounds: int, seconds: float, progress: Any) -> dict[str, Any]:
    """Each kind of canary: so many rounds of so many seconds on either side."""
    found = {}
    for kind in Kind:
        progress(f"a canary that is of the kind: {kind}")
        with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
            async with stage(Path(directory), kind) as on:
                found[kind.value] = await _one(on, rounds, seconds)
    return {
        "rounds": rounds,
        "seconds": seconds,
        "load": os.getloadavg()[1],
        "rate": RATE,
        "upload": UPLOAD,
        "kinds": found,
    }


async def _one(on: Stage, rounds: int, seconds: float) -> dict[str, Any]:
    sides = {name: _Side() for name in SIDES}
    load = Load(on.envoy.gateway_port, HOST, seconds, rate=RATE, method="POST", size=UPLOAD)
    await on.annotate(SIDES["off"])
    await send(Load(on.envoy.gateway_port, HOST, min(1.0, seconds), rate=RATE, method="POST", size=UPLOAD))
    for number in range(rounds):
        names = list(SIDES)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            side = sides[name]
            await on.annotate(SIDES[name])
            async with _peak(on.envoy.process.pid, side):
                answers = await send(load)
            side.took_ms += answers["took_ms"]
            side.failed += answers["failed"]
            side.copies += await on.envoy.stat(f"{SHADOW}upstream_rq_total")
    return {name: side.result() for name, side in sides.items()}


@contextlib.asynccontextmanager
async def _peak(pid: int, side: _Side) -> AsyncIterator[None]:
    """The most memory that the process has meanwhile."""

    async def watch() -> None:
        while True:
            side.peak_mib = max(side.peak_mib, used(pid).rss_mib)
            await asyncio.sleep(_SAMPLE_S)

    task = asyncio.create_task(watch(), name="bench/peak")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
