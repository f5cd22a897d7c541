"""Joins access log entries to pairs by request id.

An Envoy logs each attempt at the primary and each mirrored request when it ends, in any order. An entry
waits for its other half for a window, and at most `MOST_WAITING` requests wait: the oldest of the tenant with
most of them make room, so that no tenant's callers or Envoys cost another one its pairs. What is not joined
is counted, and never read as success or failure.

Callers can choose ids: Envoy keeps the id of a caller with an internal address, and the default gateway keeps
everybody's. So nothing is judged before the window of an id ends, and an id that came twice is judged for
nobody. A caller who could put the primary's response to one request beside the canary's response to another
one could decide the verdict.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from math import inf
from typing import Final, NamedTuple

MOST_WAITING: Final = 50_000
"""Requests of all streams that wait. One with both entries takes 1.2 KB."""

_LONGEST_ID: Final = 64
_EVICTED_AT_ONCE: Final = 0.01
"""The part of all requests that make room together, because it takes a look at all streams."""


class Side(StrEnum):
    """Who answered."""

    PRIMARY = "primary"
    CANARY = "canary"
    BASELINE = "baseline"


class Answer(NamedTuple):
    """What one side answered to one request. `code` is the HTTP status, 0 where none came; `grpc` the gRPC
    status, or None where the request was not gRPC; `failed` is a 5xx, a reset, a timeout, or a gRPC status
    that counts as a failure. `latency_s` is the time from the request to the end of the response, `size`
    the bytes of the response's body. `first_s` is the time from the end of the request to the first byte of
    the response. Of a canary, `limit_s` is how long it may take, and `late` whether that was too short."""

    failed: bool
    code: int = 0
    grpc: int | None = None
    latency_s: float = 0.0
    size: int = 0
    content_type: str = ""
    first_s: float = 0.0
    limit_s: float = inf
    late: bool = False


Shadow = tuple[Side, Hashable]
"""Whose response beside the primary's: the side, and what identifies the canary."""


class Ended(StrEnum):
    """How an attempt at the primary ended."""

    ANSWERED = "answered"
    NO_RESPONSE = "no response"
    """The connection failed before a response, so Envoy may have tried again."""

    ABANDONED = "abandoned"
    """The caller did not wait for the end of the response, which says nothing of the primary."""


class Entry(NamedTuple):
    """One attempt at the primary, or one mirrored request. `canary` is empty for the primary. `mirrored` is
    to whom the route of the primary's request mirrors it; `ended` is for the primary only."""

    request: str
    side: Side
    answer: Answer
    canary: Hashable = ""
    group: str = ""
    mirrored: tuple[Shadow, ...] = ()
    ended: Ended = Ended.ANSWERED


class Pair(NamedTuple):
    """One request and what a canary answered beside the primary, and beside the canary's baseline if the
    request was mirrored to it. Only a canary makes pairs."""

    whose: Shadow
    group: str
    primary: Answer
    shadow: Answer
    baseline: Answer | None = None

    @property
    def primary_failed(self) -> bool:
        """Whether the primary failed by what is asked of the canary. The primary's requests have no timeout:
        without one, every request that takes long would count against a canary that is the same program. How
        long the caller takes to read a response counts only where the canary was too late as well."""
        primary, shadow = self.primary, self.shadow
        too_late = primary.first_s >= shadow.limit_s
        return primary.failed or too_late or (shadow.late and primary.latency_s >= shadow.limit_s)


class Lost(StrEnum):
    """Why a request makes no pair with a canary."""

    NOT_SENT = "not_sent"
    """No entry of a mirrored request came: it was not sent, or its entry was lost."""

    NO_PRIMARY = "no_primary"
    AMBIGUOUS = "ambiguous"
    """Its id came twice."""

    ABANDONED = "abandoned"
    """The caller did not wait for the primary's response."""

    NO_ID = "no_id"
    EVICTED = "evicted"


class Unpaired(NamedTuple):
    """One request that made no pair with a canary."""

    lost: Lost
    whose: Shadow


Outcome = Pair | Unpaired


@dataclass(slots=True)
class _Waiting:
    """One request until it is judged. `until` is a time of the clock of `Joiner.add`."""

    until: float
    primary: Entry | None = None
    shadows: dict[Shadow, Entry] = field(default_factory=dict)
    ambiguous: bool = False


_Key = tuple[Hashable, str]
_Requests = OrderedDict[_Key, _Waiting]
_Line = tuple[Hashable, Hashable, float]
"""A stream, a tenant and a window: the requests in it end in the order in which they came."""


class Joiner:
    """The requests of all streams that wait."""

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self._most = most_waiting
        self._lines: dict[_Line, _Requests] = {}
        self._count = 0
        self._of_tenant: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        entry: Entry,
        *,
        stream: Hashable,
        scope: Hashable,
        tenant: Hashable = "",
        window_s: float,
        now: float,
    ) -> Iterator[Outcome]:
        """Take an entry of a stream. `scope` is the Service, within which an id identifies a request, and
        `tenant` whose it is; an entry waits for `window_s`, the same for all entries of a Service. `now` is
        in seconds of any steady clock."""
        if not entry.request or len(entry.request) > _LONGEST_ID:
            yield from (Unpaired(Lost.NO_ID, whose) for whose in _canaries(entry))
            return
        line = stream, tenant, window_s
        requests = self._lines.setdefault(line, OrderedDict())
        key = (scope, entry.request)
        waiting = requests.get(key)
        if waiting is None:
            if self._count >= self._most:
                yield from self._make_room()
                # The line may have lost its last request.
                requests = self._lines.setdefault(line, requests)
            waiting = requests[key] = _Waiting(now + window_s)
            self._count += 1
            self._of_tenant[tenant] += 1
        if (entry.side, entry.canary) in waiting.shadows:
            if entry.side is Side.BASELINE:
                return  # a request may be mirrored to it twice
            waiting.ambiguous = True
            yield from (Unpaired(Lost.AMBIGUOUS, whose) for whose in _canaries(entry))
        else:
            _take(waiting, entry)

    def expire(self, now: float) -> Iterator[Outcome]:
        """Judge the requests whose window has ended."""
        for line in tuple(self._lines):
            yield from self._expire(line, now)

    def close(self, stream: Hashable) -> Iterator[Outcome]:
        """Judge all requests of a stream that has ended."""
        for line in [each for each in self._lines if each[0] == stream]:
            yield from self._expire(line, float("inf"))

    def _expire(self, line: _Line, now: float) -> Iterator[Outcome]:
        requests = self._lines[line]
        while requests:
            key, waiting = next(iter(requests.items()))
            if waiting.until > now:
                return
            self._forget(line, requests, key)
            yield from _judged(waiting)

    def _make_room(self) -> Iterator[Outcome]:
        tenant = max(self._of_tenant, key=self._of_tenant.__getitem__)
        lines = (line for line in self._lines if line[1] == tenant)
        line = max(lines, key=lambda each: len(self._lines[each]))
        requests = self._lines[line]
        for key in [*islice(requests, max(1, int(self._most * _EVICTED_AT_ONCE)))]:
            concerned = _concerned(requests[key])
            self._forget(line, requests, key)
            yield from (Unpaired(Lost.EVICTED, whose) for whose in concerned)

    def _forget(self, line: _Line, requests: _Requests, key: _Key) -> None:
        del requests[key]
        self._count -= 1
        self._of_tenant[line[1]] -= 1
        if not requests:
            del self._lines[line]
        if not self._of_tenant[line[1]]:
            del self._of_tenant[line[1]]


def _take(waiting: _Waiting, entry: Entry) -> None:
    if entry.side is Side.PRIMARY:
        # Only an attempt without a response is followed by another one. Everything else is another request
        # of the same id.
        if waiting.primary and waiting.primary.ended is not Ended.NO_RESPONSE:
            waiting.ambiguous = True
        waiting.primary = entry
    else:
        waiting.shadows[entry.side, entry.canary] = entry


def _canaries(entry: Entry) -> Iterator[Shadow]:
    """The canaries with which an entry could make a pair."""
    if entry.side is Side.PRIMARY:
        return (whose for whose in entry.mirrored if whose[0] is Side.CANARY)
    return iter([(entry.side, entry.canary)] if entry.side is Side.CANARY else ())


def _concerned(waiting: _Waiting) -> dict[Shadow, None]:
    """The same for the entries of a request, in a set with an order."""
    entries = [*([waiting.primary] if waiting.primary else ()), *waiting.shadows.values()]
    return dict.fromkeys(whose for entry in entries for whose in _canaries(entry))


def _judged(waiting: _Waiting) -> Iterator[Outcome]:
    primary = waiting.primary
    for whose in _concerned(waiting):
        shadow = waiting.shadows.get(whose)
        if waiting.ambiguous:
            yield Unpaired(Lost.AMBIGUOUS, whose)
        elif primary is None:
            yield Unpaired(Lost.NO_PRIMARY, whose)
        elif primary.ended is Ended.ABANDONED:
            yield Unpaired(Lost.ABANDONED, whose)
        elif shadow is None:
            yield Unpaired(Lost.NOT_SENT, whose)
        else:
            baseline = waiting.shadows.get((Side.BASELINE, whose[1]))
            answers = primary.answer, shadow.answer, baseline.answer if baseline else None
            yield Pair(whose, primary.group, *answers)
