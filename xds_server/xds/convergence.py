"""When a fleet has what was committed: when every stream that a commit concerns has answered all that it was
sent for it, or is gone.

A stream has a commit, and all before it, once it has answered what it had been sent when it had caught up
with it; what it is sent later is for later commits. A refusal is an answer: whoever refuses is not waited
for, and is counted elsewhere. Nor is a stream that has not answered for `PATIENCE_S`, so that a client that
never answers costs a bounded memory. Pure: time is an argument.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Protocol

from xds_server.base.ids import StreamId
from xds_server.xds.snapshot import Snapshot

PATIENCE_S: Final = 60.0
"""Far longer than an Envoy warms, which is 15 s."""


class Progress(Protocol):
    """What is asked of a stream's machine; see there."""

    @property
    def sent(self) -> int: ...
    @property
    def oldest_unanswered(self) -> int: ...
    def has_sent_all(self, snapshot: Snapshot, /) -> bool: ...


@dataclass(slots=True)
class _Commit:
    """One that somebody has not answered. `streams` are behind since this very one."""

    at: float
    streams: int = 0
    concerned: bool = False


@dataclass(slots=True)
class _Mark:
    """A stream had caught up with the commit `generation` when it had been sent so many responses. `next` is
    the first commit after it that concerns the stream."""

    generation: int
    sent: int
    next: int | None = None


@dataclass(slots=True)
class _Behind:
    """A stream: the first and the last commit that concern it and that it has not answered."""

    since: int
    latest: int
    marks: deque[_Mark] = field(default_factory=deque)


class Convergence:
    """Of the streams of one server. `tell` is called with the number of every commit, in order, once all
    streams have it, and with whether it concerned any."""

    def __init__(self, tell: Callable[[int, bool], None]) -> None:
        self._tell = tell
        self._latest = 0
        self._commits: dict[int, _Commit] = {}  # in order
        self._behind: dict[StreamId, _Behind] = {}

    def begin(self, generation: int, concerned: Iterable[StreamId], *, now: float) -> None:
        """Something was committed; numbers grow. `now` is seconds."""
        self._latest = generation
        commit = self._commits[generation] = _Commit(now)
        for stream in concerned:
            commit.concerned = True
            behind = self._behind.get(stream)
            if behind is None:
                self._behind[stream] = _Behind(generation, generation)
                commit.streams += 1
                continue
            behind.latest = generation
            if behind.marks and behind.marks[-1].next is None:
                behind.marks[-1].next = generation
        self._give_up(now)
        self._close()

    def update(self, stream: StreamId, machine: Progress, served: Snapshot) -> None:
        """The stream has been asked for its next response of `served`, or has taken a request."""
        behind = self._behind.get(stream)
        if behind is None:
            return
        if machine.has_sent_all(served):
            if behind.marks and behind.marks[-1].sent == machine.sent:
                behind.marks.pop()
            behind.marks.append(_Mark(self._latest, machine.sent))
        reached = None
        unanswered = machine.oldest_unanswered
        while behind.marks and behind.marks[0].sent < unanswered:
            reached = behind.marks.popleft()
        if reached and reached.generation >= behind.since:  # else it had been given up
            self._move(stream, behind, reached.next)
            self._close()

    def leave(self, stream: StreamId) -> None:
        """The stream is gone, or is no longer waited for."""
        behind = self._behind.pop(stream, None)
        if behind is not None:
            self._commits[behind.since].streams -= 1
            self._close()

    def _move(self, stream: StreamId, behind: _Behind, since: int | None) -> None:
        """From now on the stream is behind since that commit, or not at all."""
        self._commits[behind.since].streams -= 1
        if since is None:
            del self._behind[stream]
        else:
            behind.since = since
            self._commits[since].streams += 1

    def _give_up(self, now: float) -> None:
        for generation in [*takewhile(lambda each: now - self._commits[each].at > PATIENCE_S, self._commits)]:
            later = next((each for each in self._commits if each > generation), None)
            for stream, behind in list(self._behind.items()):
                if behind.since == generation:
                    self._move(stream, behind, later if behind.latest > generation else None)

    def _close(self) -> None:
        while self._commits:
            generation, commit = next(iter(self._commits.items()))
            if commit.streams:
                return
            del self._commits[generation]
            self._tell(generation, commit.concerned)
