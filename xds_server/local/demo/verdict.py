"""The last steps of the demo: the verdict on a canary that is no worse, and on one that is worse."""

import asyncio
import time

from xds_server.local.demo.backend import FAILS_EVERY
from xds_server.local.demo.fleet import Demo
from xds_server.local.demo.stage import BASELINE, CANARY, COMPARE, NAMESPACE
from xds_server.local.demo.story import Story
from xds_server.pb import status_pb2
from xds_server.server.status_client import get_verdicts
from xds_server.server.verdict_display import verdict_view

_TOLERANCE = 0.01
"""A canary that fails in at most 1 percent more of the requests is no worse. The default of 0.1 percent takes
ten times as many requests."""

_REQUESTS = 100
_PAUSE_S = 0.5
_AT_MOST_S = 45.0
_RENAMED = "$.total"


async def show_verdicts(story: Story, demo: Demo) -> None:
    """Ask for the verdict on a canary that answers as the stable version does, and then on one that fails one
    order in `FAILS_EVERY` and renames a field."""
    asked = f"xds-shadow verdict {NAMESPACE}/{CANARY} --tolerance 1%"
    story.say(f"\n[bold]7. A canary that is no worse: {asked}[/]")
    story.say(f"   [dim]kubectl annotate deployment {CANARY} {COMPARE}=bodies {BASELINE}=true[/]")
    await demo.cluster.api.compare_bodies()
    await demo.cluster.api.label()
    await _expect(story, demo, "NoWorse")
    story.say(f"\n[bold]8. A canary that fails one order in {FAILS_EVERY} and renames a field: {asked}[/]")
    demo.canary.faulty = True
    await demo.cluster.api.roll_out_canary(demo.canary.address)
    found = await _expect(story, demo, "Worse")
    fields = {(each.path, each.kind) for each in found.fields if each.differs} if found else set()
    story.check(f"a field is reported: {_RENAMED} is missing", holds=(_RENAMED, "missing") in fields)
    await demo.cluster.api.unlabel()


async def _expect(story: Story, demo: Demo, verdict: str) -> status_pb2.Verdict | None:
    """Send requests until the verdict is final, and print it."""
    began, terms = time.perf_counter(), status_pb2.Terms(tolerance=_TOLERANCE)
    server = demo.control_plane.admin_address
    while True:
        for envoy in demo.envoys:
            await demo.clients.send_many(envoy, _REQUESTS)
        response = await asyncio.to_thread(get_verdicts, server, NAMESPACE, CANARY, "", terms)
        [found] = response.verdicts
        taken = time.perf_counter() - began
        if found.verdict == verdict or taken > _AT_MOST_S:
            break
        await asyncio.sleep(_PAUSE_S)
    story.console.print(verdict_view(found, response.replicas))
    story.check(f"{found.verdict} after {taken:.0f} s", holds=found.verdict == verdict)
    return found
