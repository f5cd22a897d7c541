"""The pipeline without its loop: changes in, the next published state out.

Order of the stages: `World.apply`, resolve, translate (which checks references), publish. A failure in one of
them is a bug of ours; it costs that update and leaves the last good state in place. The next update starts
from the whole world, as the incremental stages may have stopped half-way.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from xds_server.base.ids import NamespacedName
from xds_server.base.latency import Latencies, Latency
from xds_server.model.objects import Ref
from xds_server.model.problems import Problem
from xds_server.model.world import Change, World
from xds_server.shadows.plan import Plan
from xds_server.shadows.policy import NO_FILE, Layer
from xds_server.shadows.resolve import Resolver
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate.incremental import Translator


@dataclass(frozen=True, slots=True)
class Published:
    """One consistent state of everything that is shown and served. `moved` are the targets whose part of
    the plan differs from the state before; `expires` is when it has to be made anew though nothing
    changed, in seconds since 1970."""

    world: World
    plan: Plan
    snapshot: Snapshot
    moved: frozenset[NamespacedName] = frozenset()
    expires: float | None = None

    def problems(self) -> list[Problem]:
        """What is wrong with files, watches and Services, sorted."""
        reported = [problem for problems in self.world.reports.values() for problem in problems]
        return sorted({*reported, *self.plan.problems()})


class Stage(StrEnum):
    """What becomes of a change, in order: it waits for others of its burst and for the step before; the
    stages of `Pipeline.step`; it is handed to whoever serves streams."""

    GATHER = "gather"
    APPLY = "apply"
    RESOLVE = "resolve"
    TRANSLATE = "translate"
    COMMIT = "commit"


class Stages:
    """How long each stage took, failures included."""

    def __init__(self) -> None:
        self._took = {stage: Latencies() for stage in Stage}

    def note(self, stage: Stage, seconds: float) -> None:
        """Once more."""
        self._took[stage].note(seconds)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """What is done within is the stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note(stage, time.perf_counter() - began)

    def view(self) -> Mapping[Stage, Latency]:
        """So far."""
        return {stage: took.view() for stage, took in self._took.items()}


class Pipeline:
    """Owns the incremental stages. `step` may run off the event loop, one call at a time."""

    def __init__(self, *, gateway_port: int, expose_all: bool, installation: Layer = NO_FILE) -> None:
        self._gateway_port = gateway_port
        self._expose_all = expose_all
        self._installation = installation
        self._world = World()
        self.stages = Stages()
        self._failed = False
        self._start_over()

    def step(self, changes: Iterable[Change], *, now: float) -> Published:
        """Take `changes` and return the state that holds at `now`, in seconds since 1970.

        Raises:
            DanglingReferenceError: the new snapshot is not whole. As after any other exception, the changes
                are not lost: the next step includes them.
        """
        with self.stages.timed(Stage.APPLY):
            self._world, changed = self._world.apply(changes)
        if self._failed:
            self._start_over()
            changed = frozenset(_everything(self._world))
        self._failed = True
        with self.stages.timed(Stage.RESOLVE):
            moved = self._resolver.update(self._world, changed, now)
        with self.stages.timed(Stage.TRANSLATE):
            snapshot = self._translator.update(self._resolver.plan, moved)
        self._failed = False
        return Published(self._world, self._resolver.plan, snapshot, moved, self._resolver.expires)

    def _start_over(self) -> None:
        self._resolver = Resolver(expose_all=self._expose_all, installation=self._installation)
        self._translator = Translator(gateway_port=self._gateway_port)


def _everything(world: World) -> Iterable[Ref]:
    for view in world.namespaces.values():
        yield from view.refs()
