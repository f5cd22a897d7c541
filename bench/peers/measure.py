"""Our ADS server and go-control-plane, one after the other in every round, on equal resources and changes.

A side that did not send every stream what was due has failed in that scenario; the reason is in the results.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from bench.peers import go
from bench.peers.resources import HAS_VIRTUAL_HOSTS, VIRTUAL_HOST, cluster_name, initial, write
from bench.peers.rounds import Rounds
from bench.peers.settings import Scenario, Setting
from bench.peers.side import running
from xds_server.xds.types import CLUSTER, ENDPOINT

OURS: Final = "ours"
THEIRS: Final = "go-control-plane"


async def measure(
    settings: Sequence[Setting], *, alone: bool, linear: bool = False, progress: Callable[[str], Any]
) -> dict[str, Any]:
    """All settings; with `alone`, or where Go is missing, our own side only. `linear` gives the other side
    a linear cache for every type instead of what its README suggests.

    `skipped` of the result says why the other side is missing.
    """
    commands = {OURS: [sys.executable, "-m", "bench.peers.ours"]}
    skipped = "not asked for" if alone else ""
    if not alone:
        progress("building the Go program")
        try:
            commands[THEIRS] = [str(await go.build()), *(["--linear"] if linear else [])]
        except go.GoMissingError as error:
            skipped = str(error)
    results = []
    for number, setting in enumerate(settings, 1):
        what = f"{setting.services} Services, {setting.streams} streams, {setting.variant}"
        results.append(
            await _compare(setting, commands, _about(f"{number}/{len(settings)} {what}", progress))
        )
    return {
        "peer": "" if skipped else go.versions(),
        "linear": linear,
        "skipped": skipped,
        "virtual_hosts": HAS_VIRTUAL_HOSTS,
        "settings": results,
    }


def _about(what: str, progress: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: progress(f"{what}: {text}")


async def _compare(
    setting: Setting, commands: dict[str, list[str]], progress: Callable[[str], Any]
) -> dict[str, Any]:
    virtual_hosts = HAS_VIRTUAL_HOSTS and setting.variant == "delta"
    types = [CLUSTER, ENDPOINT, *([VIRTUAL_HOST] if virtual_hosts else [])]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xds-shadow-bench-")))
        resources, names = directory / "resources", directory / "names"
        write(resources, initial(setting.services, virtual_hosts=virtual_hosts))
        names.write_text("\n".join(cluster_name(number) for number in range(setting.services)))
        setup = {"variant": setting.variant, "types": types, "names": str(names)}
        sides = {
            name: Rounds(
                await stack.enter_async_context(running(command, resources, setup, name)), setting, types
            )
            for name, command in commands.items()
        }
        for turn in range(setting.rounds):
            for name, rounds in sides.items():
                if rounds.failure is None:
                    progress(f"round {turn + 1} of {setting.rounds}, {name}")
                    await rounds.run()
    return {
        "services": setting.services,
        "streams": setting.streams,
        "variant": setting.variant,
        "rounds": setting.rounds,
        "connected_in_groups": not setting.syncs,
        "scenarios": {
            scenario.value: {name: _summary(rounds, scenario) for name, rounds in sides.items()}
            for scenario in Scenario
            if setting.syncs or scenario not in (Scenario.FIRST, Scenario.RECONNECT)
        },
    }


def _summary(rounds: Rounds, scenario: Scenario) -> dict[str, Any]:
    """Medians over the rounds; of times, over all commits."""
    samples = rounds.samples[scenario]
    if rounds.failure is not None and (rounds.failure.scenario is scenario or not samples):
        return {"failed": f"{rounds.failure.scenario}: {rounds.failure.reason}"}
    return {
        "cpu_us": statistics.median(sample.cpu_us for sample in samples),
        "client_us": statistics.median(sample.client_us for sample in samples),
        "command_us": statistics.median(sample.command_us for sample in samples),
        "wall_ms": statistics.median(wall for sample in samples for wall in sample.walls_ms),
        "bytes": statistics.median(sample.size for sample in samples),
        "responses": statistics.median(sample.responses for sample in samples),
        "refused": max(sample.refused for sample in samples),
        "rss_mib": statistics.median(sample.rss_mib for sample in samples),
        "commits": sum(len(sample.walls_ms) for sample in samples),
    }
