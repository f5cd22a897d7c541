"""Plays many runs of a canary that fails 1 percent of all requests beside 0.1 percent, and of one program on
both sides; prints after how many pairs the first is `Worse`, and how often the second was.

    python -m tests.envoy.verdicts [--runs 20] [--pairs 20000]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from tests.envoy.verdicts.stage import Stage, stage

SAME, WORSE = 0.001, 0.01
_AT_ONCE = 400
"""Requests between two looks at the verdict."""

_MOST = 10_000


async def until_worse(fleet: Stage) -> int:
    """After how many judged pairs the canary is `Worse`; 0 if it is not after `_MOST`."""
    await fleet.shadow(SAME, WORSE)
    sent = 0
    while sent < _MOST:
        await fleet.send_everywhere(_AT_ONCE)
        sent += _AT_ONCE
        found = await fleet.until_judged(sent)
        if found.verdict == "Worse":
            return int(found.total.pairs)
    return 0


async def ever_worse(fleet: Stage, pairs: int, share: float) -> bool:
    """Whether a canary is `Worse` that fails as often as the stable version."""
    await fleet.shadow(share, share)
    for sent in range(_AT_ONCE * 10, pairs + 1, _AT_ONCE * 10):
        await fleet.send_everywhere(_AT_ONCE * 10)
        if (await fleet.until_judged(sent)).verdict == "Worse":
            return True
    return False


async def play(runs: int, pairs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="xds-shadow-verdicts-") as directory:
        async with stage(Path(directory), [SAME, WORSE]) as fleet:
            print(f"Envoys: {', '.join(fleet.doors)}", flush=True)
            began = time.monotonic()
            found = [await until_worse(fleet) for _ in range(runs)]
            print(f"{WORSE:.1%} beside {SAME:.1%}: Worse after {sorted(found)} pairs", flush=True)
            print(f"median {statistics.median(found):g}, {time.monotonic() - began:.0f} s", flush=True)
            for share in (SAME, WORSE):
                false = [await ever_worse(fleet, pairs, share) for _ in range(runs)]
                print(f"{share:.1%} on both sides: Worse in {sum(false)} of {runs} runs of {pairs} pairs")
            print(f"{fleet.sent} requests, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=20_000)
    arguments = parser.parse_args()
    asyncio.run(play(arguments.runs, arguments.pairs))
