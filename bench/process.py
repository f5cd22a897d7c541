"""What a process has used, as the kernel counts it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

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
