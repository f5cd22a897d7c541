"""What a process has used, as the kernel counts it."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_IDLE_STEP_S: Final = 0.01
_IDLE_SHARE: Final = 0.05
_IDLE_AT_MOST_S: Final = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Used:
    """CPU in seconds; resident memory now and at its peak in MiB."""

    cpu_s: float
    rss_mib: float
    peak_mib: float


def used(pid: int) -> Used:
    """By a running process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    user, system = int(stat[11]), int(stat[12])
    return Used((user + system) / _TICKS, _mib(status["VmRSS"]), _mib(status["VmHWM"]))


def cpu_s(pid: int) -> float:
    """CPU in seconds that a running process has used, all its threads together: what ``utime`` and ``stime``
    are rounded from, by the kernel's number for the clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


async def cpu_when_idle(pid: int) -> float:
    """The same, once the process has nothing left to do."""
    clock = time.monotonic
    before, deadline = cpu_s(pid), clock() + _IDLE_AT_MOST_S
    calm = 0
    while calm < 2 and clock() < deadline:  # noqa: PLR2004 - twice: a collection may pause
        began = clock()
        await asyncio.sleep(_IDLE_STEP_S)
        after = cpu_s(pid)
        calm = calm + 1 if after - before < _IDLE_SHARE * (clock() - began) else 0
        before = after
    return before


def _mib(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split("\n", 1)[0].split()[1]
    return {
        "processors": f"{os.cpu_count()} of {models[0] if models else 'an unknown kind'}",
        "memory": f"{int(memory) / 1024**2:.0f} GiB",
        "kernel": os.uname().release,
    }
