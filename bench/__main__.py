"""``python -m bench``: measure, print, and write ``bench/results.json`` and ``docs/performance.md``."""

import asyncio
import importlib.metadata
import json
import platform
import sys
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import label, memory, onelabel, report, scale
from bench.peers import measure as peers
from bench.peers import settings
from bench.policy import cost, hostile
from bench.process import machine
from xds_server.base.errors import XdsShadowError

_HERE = Path(__file__).parent
RESULTS = _HERE / "results.json"
PAGE = _HERE.parent / "docs" / "performance.md"
_INTERRUPTED = 130


class What(StrEnum):
    """What can be measured."""

    ALL = "all"
    SCALE = "scale"
    LABEL = "label"
    MEMORY = "memory"
    HOSTILE = "hostile"
    COST = "cost"
    ADS = "ads"


def main(
    what: Annotated[
        What,
        typer.Argument(
            help="scale: large clusters. label: from a label to a copy. memory: many streams and changes."
            " hostile: canaries that misbehave. cost: what mirroring costs Envoy. ads: beside"
            " go-control-plane."
        ),
    ] = What.ALL,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that the harness works; writes nothing.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All sizes of `ads`, which takes an hour or more.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="In `ads`, our own side only, as where there is no Go.")
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="In `ads`, the other side has a linear cache for every type.")
    ] = False,
) -> None:
    """Measure on this machine, in some minutes. Results of other parts are kept from the last run."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with console.status("") as status:
            sizes = settings.quick() if quick else settings.full() if full else settings.usual()
            results = asyncio.run(
                _measure(what, quick=quick, sizes=sizes, alone=alone, linear=linear, progress=status.update)
            )
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except XdsShadowError as error:
        console.print(f"bench: {error}", style="red")
        raise typer.Exit(1) from None
    report.show(results, console)
    if not quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        PAGE.write_text(report.page(results))
        console.print(f"written: {RESULTS}, {PAGE}")


async def _measure(
    what: What, *, quick: bool, sizes: list[settings.Setting], alone: bool, linear: bool, progress: Any
) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not quick else {}
    results |= {
        "date": datetime.now(UTC).date().isoformat(),
        "version": importlib.metadata.version("xds-shadow"),
        "python": platform.python_version(),
        "machine": machine(),
    }
    if what in (What.ALL, What.SCALE):
        results["scale"] = await scale.measure(quick=quick, progress=progress)
        results["scale"]["one_label"] = await _labels(quick=quick, progress=progress)
    if what in (What.ALL, What.MEMORY):
        progress("a thousand streams, and a hundred thousand changes")
        with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
            results["memory"] = await memory.measure(
                scale.Size(40, 200) if quick else scale.Size(2_000, 10_000),
                Path(directory),
                streams=10 if quick else 1_000,
                changes=1_000 if quick else 100_000,
                rate=500 if quick else 1_000,
            )
    if what in (What.ALL, What.LABEL):
        results["label"] = await label.measure(times=3 if quick else 50, progress=progress)
    if what in (What.ALL, What.HOSTILE):
        results.setdefault("policy", {})["hostile"] = await hostile.measure(
            rounds=1 if quick else 6, seconds=0.3 if quick else 4.0, progress=progress
        )
    if what in (What.ALL, What.COST):
        results.setdefault("policy", {})["cost"] = await cost.measure(
            rounds=1 if quick else 11, seconds=0.3 if quick else 1.0, progress=progress
        )
    if what in (What.ALL, What.ADS):
        results["ads"] = await peers.measure(sizes, alone=alone, linear=linear, progress=progress)
    return results


async def _labels(*, quick: bool, progress: Any) -> list[dict[str, Any]]:
    sizes = [scale.Size(20, 100), scale.Size(40, 200) if quick else scale.Size(2_000, 10_000)]
    found = []
    for size in sizes:
        progress(f"one label among {size.services} Services")
        with tempfile.TemporaryDirectory(prefix="xds-shadow-bench-") as directory:
            found.append(await onelabel.measure(size, Path(directory), times=3 if quick else 30))
    return found


if __name__ == "__main__":
    typer.run(main)
