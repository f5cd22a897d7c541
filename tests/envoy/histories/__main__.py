"""``python -m tests.envoy.histories``: many histories by hand, and one again that went wrong."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tests.envoy.histories.changes import CANARIES, CHANGES, STABLE
from tests.envoy.histories.fleet import fleet
from tests.envoy.histories.history import STEPS, History, Report, Settings


def main(
    seeds: Annotated[str, typer.Option(metavar="FIRST-LAST", help="Which histories.")] = "0-199",
    steps: Annotated[str, typer.Option(metavar="N,N,…", help="Only these steps; by default all.")] = "",
    only: Annotated[str, typer.Option(metavar="NAME,NAME,…", help="Only these changes.")] = "",
    without: Annotated[str, typer.Option(metavar="NAME,NAME,…", help="All changes but these.")] = "",
    *,
    within: Annotated[float, typer.Option(help="Seconds after which what is right is late.")] = 2.0,
    shrink: Annotated[
        int, typer.Option(metavar="TRIES", help="Leave out steps as long as one of so many tries fails.")
    ] = 0,
    keep: Annotated[Path | None, typer.Option(help="Leave logs and configurations there.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Do not end at a failure.")] = False,
) -> None:
    """Play histories on real Envoys. Each that fails is shown with its seed; the exit code says how many."""
    first, _, last = seeds.partition("-")
    chosen = [int(step) for step in steps.split(",")] if steps else None
    wanted, unwanted = set(only.split(",")) - {""}, set(without.split(","))
    changes = [c for c in CHANGES if (not wanted or c.__name__ in wanted) and c.__name__ not in unwanted]
    settings = Settings(steps=chosen, within_s=within, changes=changes)
    numbers = list(range(int(first), int(last or first) + 1))
    failed = asyncio.run(_many(numbers, settings, keep=keep, shrink=shrink, keep_going=keep_going))
    raise typer.Exit(min(failed, 100))


async def _many(
    seeds: Sequence[int], settings: Settings, *, keep: Path | None, shrink: int, keep_going: bool
) -> int:
    """A fleet plays one history after another; where one fails, the next gets a new fleet."""
    began, reports = time.monotonic(), list[Report]()
    waiting = list(seeds)
    while waiting:
        failed = await _until_failure(waiting, settings, reports, keep)
        if failed is None:
            break
        print(f"seed {failed.seed} FAILED", *failed.failures, sep="\n  ", flush=True)
        if shrink:
            await _shrink(failed, settings, keep, tries=shrink)
        if not keep_going:
            break
    bad = sum(bool(report.failures) for report in reports)
    steps, changes = sum(r.steps for r in reports), sum(r.changes for r in reports)
    requests, slowest = sum(r.requests for r in reports), max((r.slowest_s for r in reports), default=0)
    print(
        f"{len(reports)} histories, {bad} failed: {steps} steps with {changes} changes, {requests} requests;"
        f" slowest step {slowest:.2f} s; {time.monotonic() - began:.0f} s in all",
        flush=True,
    )
    return bad


async def _until_failure(
    waiting: list[int], settings: Settings, reports: list[Report], keep: Path | None
) -> Report | None:
    """Play those that wait, and take them from the list."""
    with _directory(keep, f"from-{waiting[0]}") as directory:
        async with fleet(directory, (*STABLE, *CANARIES)) as running:
            while waiting:
                seed = waiting.pop(0)
                report = await History(running, seed, settings).play()
                reports.append(report)
                _show(report)
                if report.failures:
                    return report
    return None


def _show(report: Report) -> None:
    counts = f"{report.steps} steps, {report.changes} changes, {report.requests} requests"
    verdict = ", FAILED" if report.failures else ""
    print(f"seed {report.seed}: {counts}, slowest {report.slowest_s:.2f} s{verdict}", flush=True)


async def _shrink(failed: Report, settings: Settings, keep: Path | None, tries: int) -> None:
    """Leave out one step after another, the last first, on a new fleet each time."""
    steps = list(settings.steps if settings.steps is not None else range(STEPS))
    smallest = failed
    for step in reversed(list(steps)):
        fewer = [each for each in steps if each != step]
        found = await _until_failure([failed.seed] * tries, replace(settings, steps=fewer), [], keep)
        if found:
            steps, smallest = fewer, found
    print(f"seed {failed.seed} fails with --steps {','.join(map(str, steps))}", flush=True)
    print("", *smallest.failures, sep="\n  ", flush=True)


@contextlib.contextmanager
def _directory(keep: Path | None, name: str) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="xds-shadow-histories-") as directory:
            yield Path(directory)
    else:
        found = keep / name
        found.mkdir(parents=True, exist_ok=True)
        yield found


if __name__ == "__main__":
    typer.run(main)
