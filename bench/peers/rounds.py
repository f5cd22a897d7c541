"""The rounds of one side: connect, change, reconnect, and check each time that every stream got its due."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.peers.resources import (
    VIRTUAL_HOST,
    Change,
    cluster_changed,
    endpoint_changed,
    label_added,
    labels_removed,
)
from bench.peers.settings import CHANGES, Scenario, Setting
from bench.peers.side import Outcome, Side
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import TypeUrl
from xds_server.snapshot.types import ENDPOINT

_QUIET_S: Final = 0.1
_LEARNING_QUIET_S: Final = 0.3
_NONCES_BYTES: Final = 64
"""By how much streams may differ: one may be at a longer nonce."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One scenario in one round. `cpu_us` is by stream and commit; `size` and `responses` too."""

    cpu_us: float
    walls_ms: tuple[float, ...]
    size: float
    responses: float
    refused: int
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Failure:
    """What was not done, and in what."""

    scenario: Scenario
    reason: str


class Rounds:
    """Of one side in one setting."""

    def __init__(self, side: Side, setting: Setting, types: Sequence[TypeUrl]) -> None:
        self.samples: dict[Scenario, list[Sample]] = {scenario: [] for scenario in Scenario}
        self.failure: Failure | None = None
        self._side = side
        self._setting = setting
        self._types = types
        self._turns = dict.fromkeys(CHANGES, 0)
        self._shapes: dict[Scenario, dict[TypeUrl, int] | None] = {}

    async def run(self) -> None:
        """One more round; what goes wrong is `failure`, after which there are no more."""
        scenario = Scenario.FIRST
        try:
            for scenario in Scenario:
                await self._do(scenario)
        except XdsShadowError as error:
            self.failure = Failure(scenario, str(error))

    async def _do(self, scenario: Scenario) -> None:
        everything = dict.fromkeys(self._types, 1)
        # In delta a wildcard's first answer is due even if it is empty; in state of the world nothing is due
        # to who has the version, but of what is named.
        again = self._wildcards() if self._setting.variant == "delta" else {ENDPOINT: 1}
        match scenario:
            case Scenario.FIRST if self._setting.syncs:
                await self._connect(scenario, everything, resume=False)
            case Scenario.FIRST:
                # Who comes back is sent less, so many streams can be had at a bounded cost.
                await self._open(1, everything, resume=False)
                await self._side.close()
                await self._open(self._setting.streams, again, resume=True)
            case Scenario.RECONNECT:
                await self._side.close()
                if self._setting.syncs:
                    await self._connect(scenario, again, resume=True)
                    await self._side.close()
            case _:
                await self._change(scenario)

    async def _connect(self, scenario: Scenario, need: Mapping[TypeUrl, int], *, resume: bool) -> None:
        before = await self._side.cpu_when_idle()
        outcome = await self._open(self._setting.streams, need, resume=resume)
        cpu = await self._side.cpu_when_idle() - before
        if outcome.per_stream is None:
            raise XdsShadowError(f"responses {outcome.responses}: not the same to each stream")
        if scenario is Scenario.FIRST:
            for type_url in self._types:
                found = (outcome.received or {}).get(type_url, 0)
                if found != self._setting.services:
                    raise XdsShadowError(
                        f"{found} resources of {type_url} instead of {self._setting.services}"
                    )
        self._note(scenario, cpu, [outcome])

    async def _open(self, streams: int, need: Mapping[TypeUrl, int], *, resume: bool) -> Outcome:
        at_once = self._setting.at_once
        outcome = await self._side.open(streams, need, resume=resume, at_once=at_once, quiet=_QUIET_S)
        self._check(outcome, None)
        return outcome

    async def _change(self, scenario: Scenario) -> None:
        """A batch of commits of one kind."""
        if self._setting.commits > 1 and scenario not in self._shapes:
            self._shapes[scenario] = await self._shape(scenario)
        shape = self._shapes.get(scenario)
        began = time.monotonic()
        before = await self._side.cpu_when_idle()
        outcomes: list[Outcome] = []
        first = self._turns[scenario]
        while not outcomes or (
            len(outcomes) < self._setting.commits and time.monotonic() - began < self._setting.batch_s
        ):
            change = self._next(scenario)
            need, quiet = (shape, 0.0) if shape else (dict.fromkeys(change.marked, 1), _QUIET_S)
            outcomes.append(await self._side.commit(change, need, quiet=quiet))
            self._check(outcomes[-1], shape)
        self._check(await self._side.settled(_QUIET_S), shape)
        self._note(scenario, await self._side.cpu_when_idle() - before, outcomes)
        await self._undo(scenario, first)

    async def _shape(self, scenario: Scenario) -> dict[TypeUrl, int] | None:
        """How many responses of each type a commit brings on this side; None if not always the same. More
        than is marked may be needed: a changed cluster waits for its assignment, changed or not."""
        change, first = self._next(scenario), self._turns[scenario] - 1
        outcome = await self._side.commit(change, dict.fromkeys(change.marked, 1), quiet=_LEARNING_QUIET_S)
        self._check(outcome, None)
        await self._undo(scenario, first)
        return outcome.per_stream

    async def _undo(self, scenario: Scenario, first: int) -> None:
        """Take away what labels from turn `first` on added; other changes stay."""
        if scenario is not Scenario.LABEL:
            return
        turns = range(first, self._turns[scenario])
        change = labels_removed(self._setting.services, turns, virtual_hosts=self._has_virtual_hosts)
        outcome = await self._side.commit(change, self._wildcards(), quiet=_QUIET_S)
        self._check(outcome, None)

    def _next(self, scenario: Scenario) -> Change:
        turn, services = self._turns[scenario], self._setting.services
        self._turns[scenario] += 1
        match scenario:
            case Scenario.ENDPOINT:
                return endpoint_changed(services, turn)
            case Scenario.CLUSTER:
                return cluster_changed(services, turn)
            case _:
                return label_added(services, turn, virtual_hosts=self._has_virtual_hosts)

    def _wildcards(self) -> dict[TypeUrl, int]:
        return {each: 1 for each in self._types if each != ENDPOINT}

    @property
    def _has_virtual_hosts(self) -> bool:
        return VIRTUAL_HOST in self._types

    @staticmethod
    def _check(outcome: Outcome, shape: Mapping[TypeUrl, int] | None) -> None:
        if outcome.error:
            raise XdsShadowError(outcome.error)
        if shape is not None and outcome.per_stream != shape:
            raise XdsShadowError(f"responses {outcome.responses} instead of {shape} to each stream")
        least, most = outcome.size
        if outcome.per_stream is not None and most - least > _NONCES_BYTES:
            raise XdsShadowError(f"between {least} and {most} bytes to a stream")

    def _note(self, scenario: Scenario, cpu_s: float, outcomes: Sequence[Outcome]) -> None:
        pushes = self._setting.streams * len(outcomes)
        responses = sum(most for outcome in outcomes for _, most in outcome.responses.values())
        self.samples[scenario].append(
            Sample(
                cpu_us=cpu_s * 1e6 / pushes,
                walls_ms=tuple(outcome.wall_s * 1000 for outcome in outcomes),
                size=sum(outcome.size[1] for outcome in outcomes) / len(outcomes),
                responses=responses / len(outcomes),
                refused=max(outcome.refused for outcome in outcomes),
                rss_mib=self._side.rss_mib(),
            )
        )
