"""``python -m bench``: measure, print, and write ``bench/results.json`` and ``docs/performance.md``."""

import asyncio
import importlib.metadata
import json
import platform
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import label, report, scale
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


def main(
    what: Annotated[
        What, typer.Argument(help="scale: large clusters. label: from a label to a copy.")
    ] = What.ALL,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that the harness works; writes nothing.")
    ] = False,
) -> None:
    """Measure on this machine, in about two minutes. Results of other parts are kept from the last run."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with console.status("") as status:
            results = asyncio.run(_measure(what, quick=quick, progress=status.update))
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


async def _measure(what: What, *, quick: bool, progress: Any) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not quick else {}
    results |= {
        "date": datetime.now(UTC).date().isoformat(),
        "version": importlib.metadata.version("xds-shadow"),
        "python": platform.python_version(),
        "machine": machine(),
    }
    if what in (What.ALL, What.SCALE):
        results["scale"] = await scale.measure(quick=quick, progress=progress)
    if what in (What.ALL, What.LABEL):
        results["label"] = await label.measure(times=3 if quick else 50, progress=progress)
    return results


if __name__ == "__main__":
    typer.run(main)
