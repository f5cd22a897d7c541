"""The rounds of one side: connect, change, reconnect, and check each time that every stream got its due."""

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
from xds_server.xds.types import ENDPOINT

_COMMANDS: Final = 20
_NONCES_BYTES: Final = 64
"""By how much streams may differ: one may be at a longer nonce."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One scenario in one round. `cpu_us` is by stream and commit, without the commands; `client_us`, which
    the client used, `size` and `responses` are so too. `command_us` is what a command alone costs."""

    cpu_us: float
    client_us: float
    command_us: float
    walls_ms: tuple[float, ...]
    size: float
    responses: float
    refused: int
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time that both have used."""

    server_s: float
    clients_s: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(self.server_s - before.server_s, self.clients_s - before.clients_s)


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
        before = await self._cpu()
        outcome = await self._open(self._setting.streams, need, resume=resume)
        cpu = (await self._cpu()).since(before)
        if outcome.per_stream is None:
            raise XdsShadowError(f"responses {outcome.responses}: not the same to each stream")
        if scenario is Scenario.FIRST:
            expected = dict.fromkeys(self._types, self._setting.services)
            if outcome.received != expected:
                raise XdsShadowError(f"resources {outcome.received} instead of {expected}")
        self._note(scenario, cpu, [outcome])

    async def _open(self, streams: int, need: Mapping[TypeUrl, int], *, resume: bool) -> Outcome:
        self._check(await self._side.open(streams, need, resume=resume, at_once=self._setting.at_once), None)
        outcome = await self._side.settled()
        self._check(outcome, None)
        return outcome

    async def _change(self, scenario: Scenario) -> None:
        """A batch of commits of one kind."""
        if self._setting.commits > 1 and scenario not in self._shapes:
            self._shapes[scenario] = await self._shape(scenario)
        shape = self._shapes.get(scenario)
        command_s = await self._command_s()
        first = self._turns[scenario]
        changes = [self._next(scenario) for _ in range(self._setting.commits)]
        for change in changes:
            await self._side.prepare(change)
        before = await self._cpu()
        outcomes: list[Outcome] = []
        for change in changes:
            if shape is None:
                outcomes.append(await self._commit_and_settle(change, dict.fromkeys(change.marked, 1)))
            else:
                outcomes.append(await self._side.commit(change, shape))
                self._check(outcomes[-1], shape)
        if shape is not None:
            self._check(await self._side.settled(), shape)
        self._note(scenario, (await self._cpu()).since(before), outcomes, command_s)
        await self._undo(scenario, first)

    async def _command_s(self) -> float:
        """Seconds of the server's processor time that a command costs it, which is not what is measured."""
        before = await self._side.cpu_when_idle()
        for _ in range(_COMMANDS):
            await self._side.nothing()
        return (await self._side.cpu_when_idle() - before) / _COMMANDS

    async def _shape(self, scenario: Scenario) -> dict[TypeUrl, int] | None:
        """How many responses of each type a commit brings on this side; None if not always the same. More
        than is marked may be needed: a changed cluster waits for its assignment, changed or not."""
        change, first = self._next(scenario), self._turns[scenario] - 1
        await self._side.prepare(change)
        outcome = await self._commit_and_settle(change, dict.fromkeys(change.marked, 1))
        await self._undo(scenario, first)
        return outcome.per_stream

    async def _undo(self, scenario: Scenario, first: int) -> None:
        """Take away what labels from turn `first` on added; other changes stay."""
        if scenario is Scenario.LABEL:
            turns = range(first, self._turns[scenario])
            change = labels_removed(self._setting.services, turns, virtual_hosts=self._has_virtual_hosts)
            await self._side.prepare(change)
            await self._commit_and_settle(change, self._wildcards())

    async def _cpu(self) -> Cpu:
        server_s = await self._side.cpu_when_idle()
        return Cpu(server_s, self._side.clients_cpu())

    async def _commit_and_settle(self, change: Change, need: Mapping[TypeUrl, int]) -> Outcome:
        """A commit, with all that comes of it besides what is needed."""
        self._check(await self._side.commit(change, need), None)
        outcome = await self._side.settled()
        self._check(outcome, None)
        return outcome

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

    def _note(
        self, scenario: Scenario, cpu: Cpu, outcomes: Sequence[Outcome], command_s: float = 0.0
    ) -> None:
        pushes = self._setting.streams * len(outcomes)
        responses = sum(most for outcome in outcomes for _, most in outcome.responses.values())
        self.samples[scenario].append(
            Sample(
                cpu_us=(cpu.server_s - command_s * len(outcomes)) * 1e6 / pushes,
                client_us=cpu.clients_s * 1e6 / pushes,
                command_us=command_s * 1e6,
                walls_ms=tuple(outcome.wall_s * 1000 for outcome in outcomes),
                size=sum(outcome.size[1] for outcome in outcomes) / len(outcomes),
                responses=responses / len(outcomes),
                refused=max(outcome.refused for outcome in outcomes),
                rss_mib=self._side.rss_mib(),
            )
        )
