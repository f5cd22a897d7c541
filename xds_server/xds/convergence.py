"""Determines when the fleet has converged on a commit: every stream that the commit concerns has answered all
responses for it, or has closed.

When a stream has been sent everything of a commit, the number of its last response is recorded. The stream
has converged on that commit, and all before it, once that response is answered. A NACK is an answer; `fleet`
counts NACKs. A stream that does not answer for `PATIENCE_S` is no longer waited for, which also bounds the
memory. Pure: time is an argument.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Protocol

from xds_server.base.ids import StreamId
from xds_server.xds.snapshot import Snapshot

PATIENCE_S: Final = 60.0
"""Far longer than the 15 s for which an Envoy warms at most."""


class Progress(Protocol):
    """The part of a stream's machine that is used here; see `StreamMachine`."""

    @property
    def sent(self) -> int: ...
    @property
    def oldest_unanswered(self) -> int: ...
    def has_sent_all(self, snapshot: Snapshot, /) -> bool: ...


@dataclass(slots=True)
class _Commit:
    """A commit that some stream has not answered. `streams` counts the streams that are behind since this
    commit."""

    at: float
    streams: int = 0
    concerned: bool = False


@dataclass(slots=True)
class _Mark:
    """The stream had been sent everything of the commit `generation` when its response number `sent` went
    out. `next` is the first later commit that concerns the stream."""

    generation: int
    sent: int
    next: int | None = None


@dataclass(slots=True)
class _Behind:
    """A stream that is behind: the first and the last unanswered commit that concern it."""

    since: int
    latest: int
    marks: deque[_Mark] = field(default_factory=deque)


class Convergence:
    """Follows the streams of one server. `notify` is called with the number of every commit, in order, once
    all streams have converged on it, and with whether the commit concerned any stream."""

    def __init__(self, notify: Callable[[int, bool], None]) -> None:
        self._notify = notify
        self._latest = 0
        self._commits: dict[int, _Commit] = {}  # in ascending order
        self._behind: dict[StreamId, _Behind] = {}

    def begin(self, generation: int, concerned: Iterable[StreamId], *, now: float) -> None:
        """A snapshot was committed that concerns these streams. Numbers ascend; `now` is in seconds."""
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
        """The stream has nothing more of `served` to send, or has handled a request."""
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
        if reached and reached.generation >= behind.since:  # otherwise it is no longer waited for
            self._move(stream, behind, reached.next)
            self._close()

    def leave(self, stream: StreamId) -> None:
        """The stream has closed, or is no longer waited for."""
        behind = self._behind.pop(stream, None)
        if behind is not None:
            self._commits[behind.since].streams -= 1
            self._close()

    def _move(self, stream: StreamId, behind: _Behind, since: int | None) -> None:
        """The stream is behind since another commit from now on, or has converged."""
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
            self._notify(generation, commit.concerned)
