"""A sink that keeps the world, and lets a test wait for a condition instead of for time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from tests.support.waiting import PATIENCE_S
from xds_server.core.conditions import Condition
from xds_server.core.objects import Kind, Object, Ref
from xds_server.core.source import Source
from xds_server.core.world import Change, Delete, World


class Recorder:
    """Follows a source. `changes` is all it ever put; `world_at_sync` what was known when it synced."""

    def __init__(self) -> None:
        self.world = World()
        self.changes: list[Change] = []
        self.syncs = 0
        self.world_at_sync: World | None = None
        self._something_happened = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        self.changes += changes
        self.world, _ = self.world.apply(changes)
        self._something_happened.set()

    def synced(self) -> None:
        self.syncs += 1
        self.world_at_sync = self.world
        self._something_happened.set()

    def get(self, kind: Kind, name: str, namespace: str = "staging") -> Object | None:
        return self.world.get(Ref(kind, "" if kind is Kind.NAMESPACE else namespace, name))

    def labels(self, kind: Kind, name: str, namespace: str = "staging") -> Mapping[str, str]:
        obj = self.get(kind, name, namespace)
        return obj.labels if obj else {}

    def names(self, kind: Kind) -> set[str]:
        """Of all objects of a kind, in every namespace."""
        views = self.world.namespaces.values()
        match kind:
            case Kind.NAMESPACE:
                return {view.namespace.name for view in views if view.namespace}
            case Kind.SERVICE:
                return {name for view in views for name in view.services}
            case Kind.ENDPOINT_SLICE:
                return {name for view in views for name in view.slice_owner}
            case Kind.SECRET:
                return {name for view in views for name in view.secrets}
            case Kind.POD:
                return {name for view in views for name in view.pods}
            case workload:
                found = (each for view in views for each in view.workloads.values())
                return {each.name for each in found if each.kind is workload}

    @property
    def deletions(self) -> list[Ref]:
        return [change.ref for change in self.changes if isinstance(change, Delete)]

    @property
    def problems(self) -> list[Condition]:
        return [problem for problems in self.world.reports.values() for problem in problems]

    @property
    def reasons(self) -> set[str]:
        return {problem.reason for problem in self.problems}

    async def until(self, condition: Callable[[], bool], *, within: float = PATIENCE_S) -> None:
        """Wait until something that the source did makes the condition true."""
        async with asyncio.timeout(within):
            while not condition():
                self._something_happened.clear()
                await self._something_happened.wait()


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[Recorder]:
    """Run a source, synced, and check that it ends cleanly when cancelled."""
    async with started(source) as recorder:
        await recorder.until(lambda: recorder.syncs > 0)
        yield recorder


@asynccontextmanager
async def started(source: Source) -> AsyncIterator[Recorder]:
    """Run a source that need not come to sync."""
    recorder = Recorder()
    before = asyncio.all_tasks()
    task = asyncio.create_task(source.run(recorder))
    task.add_done_callback(lambda _: recorder._something_happened.set())
    try:
        yield recorder
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert {left for left in asyncio.all_tasks() - before if left.get_name().startswith("xds")} == set()
