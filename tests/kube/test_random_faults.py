"""Random histories of changes and faults, on the embedded API: whenever all is whole again, the source's
world is the server's, and lists were repeated only where a place was lost.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.kube.cluster import WATCHED, Cluster, cluster, deployment, endpoint_slice, service
from tests.kube.proxy import ERROR_EVENT, Cut, Proxy, Reject, proxy
from tests.kube.test_faults import agrees, source, watched
from tests.support.embedded import embedded
from tests.support.recorder import Recorder, running

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from(sorted(WATCHED))


class Faults(RuleBasedStateMachine):
    """Objects come, change and go; connections are cut, requests rejected, places lost, tokens changed."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._lost = dict.fromkeys(WATCHED, 0)
        self._there: set[tuple[str, str]] = set()
        self._count = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    @initialize()
    def start(self) -> None:
        self.run(self._start())

    async def _start(self) -> None:
        enter = self._stack.enter_async_context
        api = await enter(embedded())
        self.server: Cluster = await enter(cluster(api.connect))
        self.faults: Proxy = await enter(proxy(api.connect))
        self.recorder: Recorder = await enter(running(source(self.server, self.faults)))
        await watched(self.faults, "services", "endpointslices", "deployments", "namespaces")

    @rule(name=NAMES, plural=st.sampled_from(["services", "endpointslices", "deployments", "pods"]))
    def create(self, name: str, plural: str) -> None:
        if (plural, name) in self._there:
            return
        self._there.add((plural, name))
        match plural:
            case "services":
                work = self.server.create(plural, service(name))
            case "endpointslices":
                work = self.server.create(plural, endpoint_slice(name, name, "10.0.0.1"))
            case "deployments":
                work = self.server.create(plural, deployment(name, shadow_of="a"))
            case _:
                work = self.server.create_ready_pod(name, {"app": name})
        self.run(work)

    @precondition(lambda self: self._there)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        plural, name = data.draw(st.sampled_from(sorted(self._there)))
        self._count += 1
        self.run(self.server.label(plural, name, n=str(self._count)))

    @precondition(lambda self: self._there)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        plural, name = data.draw(st.sampled_from(sorted(self._there)))
        self._there.discard((plural, name))
        self.run(self.server.delete(plural, name))

    @precondition(lambda self: any(plural == "deployments" for plural, _ in self._there))
    @rule(data=st.data(), shadow_of=st.sampled_from([None, "a", "b"]))
    def mark(self, data: st.DataObject, shadow_of: str | None) -> None:
        names = sorted(name for plural, name in self._there if plural == "deployments")
        self.run(self.server.mark(data.draw(st.sampled_from(names)), shadow_of))

    @rule(plural=KINDS)
    def cut(self, plural: str) -> None:
        self.run(self._turns(lambda: self.faults.cut(plural)))

    @rule(plural=KINDS, after=st.integers(0, 600), in_chunk=st.booleans())
    def cut_the_next_watch(self, plural: str, after: int, in_chunk: bool) -> None:
        self.faults.add("watch", plural, Cut(after, in_chunk=in_chunk))

    @rule(plural=KINDS, status=st.sampled_from([401, 403, 404, 429, 500, 503]))
    def reject(self, plural: str, status: int) -> None:
        self.faults.add("watch", plural, Reject(status, retry_after=0))

    @rule(plural=KINDS)
    def lose_the_place(self, plural: str) -> None:
        self._lost[plural] += 1
        self.faults.add("watch", plural, Reject(410))

    @rule(plural=KINDS)
    def say_that_the_place_is_lost(self, plural: str) -> None:
        self._lost[plural] += 1
        self.run(self._turns(lambda: self.faults.inject(plural, ERROR_EVENT)))

    @rule()
    def change_the_token(self) -> None:
        self._count += 1
        self.faults.credential = f"token {self._count}"

    @rule()
    def go_away(self) -> None:
        self.faults.down = True
        self.run(self._turns(self.faults.cut))

    @rule()
    def settle(self) -> None:
        """All is whole again."""
        self.run(self._settle())

    async def _turns(self, act: Any) -> None:
        """Do it, and let the source notice, or not yet: both are of interest."""
        act()
        for _ in range(20):
            await asyncio.sleep(0)

    async def _settle(self) -> None:
        self.faults.down = False
        self.faults.faults.clear()
        await agrees(self.server, self.recorder)
        for plural in WATCHED - {"pods"}:  # Pods are listed once for each canary that comes
            assert self.faults.lists(plural) <= 1 + self._lost[plural]

    def teardown(self) -> None:
        try:
            if hasattr(self, "recorder"):
                self.run(self._settle())
        finally:
            self.run(self._stack.aclose())
            self._runner.close()


TestRandomFaults = Faults.TestCase
TestRandomFaults.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
