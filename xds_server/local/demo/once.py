"""``xds-shadow demo --once``: creates a shadow, and verifies each step."""

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

from rich.console import Console

from xds_server.base.errors import XdsShadowError
from xds_server.core.keys import SHADOW_OF
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import Demo, DemoOptions, running
from xds_server.local.demo.stage import CANARY, NAMESPACE, PERCENT, SERVICE
from xds_server.local.demo.story import Story
from xds_server.local.demo.verdict import show_verdicts
from xds_server.server.display import node_table, shadow_table
from xds_server.server.status_client import get_status

_REQUESTS = 500
_SAMPLED_REQUESTS = 2000
_PERCENT = 25
_LABELS = 50
_DEVIATIONS = 4  # a fair sample is outside this range once in 16,000 runs
_ARRIVAL_S = 5.0
_CHANGE_S = 20.0
_SURELY_ALL = 20  # at 25 percent, a run of 20 mirrored requests occurs once in 10^12
# while waiting for a first mirrored request, prefer sending another request to waiting longer
_PROBE_S = 0.005
_UNSEEN_S = 0.1
"""A mirrored request arrives within a few milliseconds. After this time, a request counts as not mirrored."""


async def run_once(options: DemoOptions, console: Console) -> None:
    """Run the demo once.

    Raises:
        XdsShadowError: a part did not start, or an expectation failed.
    """
    story = Story(console)
    story.say("Starting a Kubernetes API, a control plane, two Envoys, a stable and a canary backend …")
    async with running(options) as demo:
        _introduce(story, demo)
        await _before(story, demo)
        if not story.failures:
            await _shadow(story, demo)
    if story.failures:
        raise XdsShadowError("the demo failed: " + "; ".join(story.failures))


async def _shadow(story: Story, demo: Demo) -> None:
    await _label(story, demo)
    await _all_requests(story, demo)
    await _a_quarter(story, demo)
    await _unlabel(story, demo)
    await _repeatedly(story, demo)
    await show_verdicts(story, demo)
    _conclude(story, demo)


def _introduce(story: Story, demo: Demo) -> None:
    for envoy in demo.envoys:
        story.say(f"   {envoy.id:12} gateway on 127.0.0.1:{envoy.gateway_port}")
    story.say(f"   {'stable':12} backend on {demo.stable.address}")
    story.say(f"   {'canary':12} backend on {demo.canary.address}")
    story.say(f"   {'status':12} xds-shadow status --server {demo.control_plane.admin_address}")


async def _before(story: Story, demo: Demo) -> None:
    story.say("\n[bold]1. Requests before the label[/]")
    for envoy in demo.envoys:
        before = demo.clients.answers["stable"]
        names = await demo.clients.send_many(envoy, _REQUESTS)
        answered, mirrored = demo.clients.answers["stable"] - before, _mirrored(demo, names)
        story.check(
            f"{envoy.id}: {_REQUESTS} requests, {answered} responses from the stable version,"
            f" {mirrored} mirrored",
            holds=answered == _REQUESTS and not mirrored,
        )


async def _label(story: Story, demo: Demo) -> None:
    story.say(f"\n[bold]2. kubectl -n {NAMESPACE} label deployment {CANARY} {SHADOW_OF}={SERVICE}[/]")
    began = time.perf_counter()
    await demo.cluster.api.label()

    await _timed(
        story,
        demo,
        partial(_first_mirrored, demo, began),
        "first mirrored request at the canary {ms:.0f} ms after the label",
    )
    status = get_status(demo.control_plane.admin_address)
    story.console.print(shadow_table(status.shadows), node_table(status.nodes))


async def _first_mirrored(demo: Demo, began: float, envoy: Envoy) -> float:
    """Seconds from `began` until the canary receives a mirrored request of a request through `envoy`."""
    while True:
        name = await demo.clients.send(envoy)
        if await _seen(demo, name, within_s=_PROBE_S):
            return time.perf_counter() - began


async def _all_requests(story: Story, demo: Demo) -> None:
    story.say("\n[bold]3. Every request is mirrored; clients see only the stable version[/]")
    for envoy in demo.envoys:
        names = await demo.clients.send_many(envoy, _REQUESTS)
        await _arrived(partial(_all_mirrored, demo, names))
        mirrored = _mirrored(demo, names)
        once = all(demo.canary.seen[name] == 1 for name in names)
        story.check(f"{envoy.id}: {_REQUESTS} requests, {mirrored} mirrored, each exactly once", holds=once)


async def _a_quarter(story: Story, demo: Demo) -> None:
    story.say(f"\n[bold]4. kubectl -n {NAMESPACE} annotate deployment {CANARY} {PERCENT}={_PERCENT}[/]")
    await demo.cluster.api.annotate_percent(str(_PERCENT))

    await _until(story, demo, mirrored=False, run_length=1)
    share = _PERCENT / 100
    expected = _SAMPLED_REQUESTS * share
    bound = _DEVIATIONS * math.sqrt(_SAMPLED_REQUESTS * share * (1 - share))
    for envoy in demo.envoys:
        names = await demo.clients.send_many(envoy, _SAMPLED_REQUESTS)
        await asyncio.sleep(_UNSEEN_S)
        mirrored = _mirrored(demo, names)
        story.check(
            f"{envoy.id}: {_SAMPLED_REQUESTS} requests,"
            f" {mirrored} mirrored ({mirrored / _SAMPLED_REQUESTS:.1%};"
            f" {expected:.0f} ± {bound:.0f} expected)",
            holds=abs(mirrored - expected) <= bound,
        )


async def _unlabel(story: Story, demo: Demo) -> None:
    story.say(f"\n[bold]5. kubectl -n {NAMESPACE} label deployment {CANARY} {SHADOW_OF}-[/]")
    await demo.cluster.api.annotate_percent("100")
    await _until(story, demo, mirrored=True, run_length=_SURELY_ALL)
    began = time.perf_counter()
    await demo.cluster.api.unlabel()

    async def last_mirrored(envoy: Envoy) -> float:
        while True:
            asked = time.perf_counter()
            if not await _seen(demo, await demo.clients.send(envoy)):
                return asked - began

    await _timed(
        story, demo, last_mirrored, "no more mirrored requests {ms:.0f} ms after the label was removed"
    )
    for envoy in demo.envoys:
        names = await demo.clients.send_many(envoy, _REQUESTS)
        await asyncio.sleep(_UNSEEN_S)
        story.check(
            f"{envoy.id}: {_REQUESTS} requests, {_mirrored(demo, names)} mirrored",
            holds=not _mirrored(demo, names),
        )


def _conclude(story: Story, demo: Demo) -> None:
    clients = demo.clients
    story.say("\n[bold]Responses to clients[/]")
    total = clients.answers.total() + clients.failures.total()
    story.check(
        f"{total} responses: {clients.answers['stable']} from the stable version,"
        f" {clients.answers['canary']} from the canary, {clients.failures.total()} failures",
        holds=clients.answers["stable"] == total,
    )
    story.check(f"requests of clients at the canary: {demo.canary.live}", holds=not demo.canary.live)


async def _repeatedly(story: Story, demo: Demo) -> None:
    story.say(f"\n[bold]6. The label {_LABELS} times: time from setting it to the first mirrored request[/]")
    taken: dict[str, list[float]] = {envoy.id: [] for envoy in demo.envoys}
    try:
        for _ in range(_LABELS):
            async with asyncio.timeout(_CHANGE_S):
                began = time.perf_counter()
                await demo.cluster.api.label()
                seconds = await asyncio.gather(
                    *(_first_mirrored(demo, began, envoy) for envoy in demo.envoys)
                )
            for envoy, each in zip(demo.envoys, seconds, strict=True):
                taken[envoy.id].append(each * 1000)
            await demo.cluster.api.unlabel()
            await _until(story, demo, mirrored=False, run_length=1)
    except TimeoutError:
        story.check(f"a label did not reach every Envoy within {_CHANGE_S:g} s", holds=False)
    for name, ms in taken.items():
        if ms:
            text = f"{name}: median {statistics.median(ms):.0f} ms, worst {max(ms):.0f} ms, {len(ms)} times"
            story.check(text, holds=len(ms) == _LABELS)


async def _until(story: Story, demo: Demo, *, mirrored: bool, run_length: int) -> None:
    """Send requests until a change has reached every Envoy: a run of requests of this length was mirrored, or
    was not."""

    async def reached(envoy: Envoy) -> None:
        run = 0
        while run < run_length:
            run = run + 1 if await _seen(demo, await demo.clients.send(envoy)) is mirrored else 0

    try:
        async with asyncio.timeout(_CHANGE_S):
            await asyncio.gather(*map(reached, demo.envoys))
    except TimeoutError:
        story.check(f"the change did not reach every Envoy within {_CHANGE_S:g} s", holds=False)


async def _timed(story: Story, demo: Demo, measure: Callable[[Envoy], Awaitable[float]], text: str) -> None:
    """Measure on all Envoys at the same time. A measurement that takes longer than `_CHANGE_S` fails."""
    try:
        async with asyncio.timeout(_CHANGE_S):
            seconds = await asyncio.gather(*map(measure, demo.envoys))
    except TimeoutError:
        story.check(f"not within {_CHANGE_S:g} s: {text}", holds=False)
        return
    for envoy, taken in zip(demo.envoys, seconds, strict=True):
        story.check(f"{envoy.id}: {text.format(ms=taken * 1000)}", holds=True)


async def _seen(demo: Demo, name: str, *, within_s: float = _UNSEEN_S) -> bool:
    """Whether the canary received this request, after waiting a moment for it."""
    return await _arrived(lambda: name in demo.canary.seen, within_s=within_s)


async def _arrived(check: Callable[[], bool], *, within_s: float = _ARRIVAL_S) -> bool:
    """Whether `check` becomes true within `within_s` seconds."""
    deadline = time.perf_counter() + within_s
    while not check():
        if time.perf_counter() > deadline:
            return False
        await asyncio.sleep(0.001)
    return True


def _all_mirrored(demo: Demo, names: list[str]) -> bool:
    return _mirrored(demo, names) >= len(names)


def _mirrored(demo: Demo, names: list[str]) -> int:
    return sum(demo.canary.seen[name] for name in names)
