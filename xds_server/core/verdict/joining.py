"""Joins access log entries to pairs by request id.

An Envoy logs each attempt at the primary and each mirrored request when it ends, in any order. Who waits
for its other half waits for a window at most, and at most `MOST_WAITING` requests wait: the oldest of the
stream with most of them makes room. What is not joined is counted, and never read as success or failure.

An id is believed only as far as it identifies. Where a gateway replaces what clients send, ids are unique,
and a pair is judged as soon as it is complete. Where clients choose ids, nothing is judged before the
window of an id ends, and an id that came twice is judged for nobody.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

MOST_WAITING: Final = 50_000
"""Requests of all streams that wait. An entry takes some 220 bytes."""

_LONGEST_ID: Final = 64


class Side(StrEnum):
    """Who answered."""

    PRIMARY = "primary"
    CANARY = "canary"
    BASELINE = "baseline"


class Answer(NamedTuple):
    """What one side answered to one request. `code` is the HTTP status, 0 where none came; `grpc` the gRPC
    status, or None where the request was not gRPC; `failed` is a 5xx, a reset, a timeout, or a gRPC status
    that counts as a failure. `latency_s` is the time from the request to the end of the response, `size`
    the bytes of the response's body."""

    failed: bool
    code: int = 0
    grpc: int | None = None
    latency_s: float = 0.0
    size: int = 0
    content_type: str = ""


Shadow = tuple[Side, str]
"""Whose response beside the primary's: the side, and the name of the canary."""


class Entry(NamedTuple):
    """One attempt at the primary, or one mirrored request. `canary` is empty for the primary. `mirrored` is
    to whom the route of the primary's request mirrors it; `attempt` counts from 1."""

    request: str
    side: Side
    answer: Answer
    canary: str = ""
    group: str = ""
    mirrored: tuple[Shadow, ...] = ()
    attempt: int = 1


class Pair(NamedTuple):
    """One request and what a canary answered beside the primary, and beside the canary's baseline if the
    request was mirrored to it. Only a canary makes pairs."""

    whose: Shadow
    group: str
    primary: Answer
    shadow: Answer
    baseline: Answer | None = None


class Lost(StrEnum):
    """Why a request makes no pair with a canary."""

    NOT_SENT = "not_sent"
    """No entry of a mirrored request came: it was not sent, or its entry was lost."""

    NO_PRIMARY = "no_primary"
    AMBIGUOUS = "ambiguous"
    """Its id came twice."""

    NO_ID = "no_id"
    EVICTED = "evicted"


class Unpaired(NamedTuple):
    """One request that made no pair with a canary, or with any where `whose` is None."""

    lost: Lost
    whose: Shadow | None = None


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


class Joiner:
    """The requests of all streams that wait."""

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self._most = most_waiting
        self._streams: dict[Hashable, _Requests] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        entry: Entry,
        *,
        stream: Hashable,
        scope: Hashable,
        window_s: float,
        unique: bool,
        now: float,
    ) -> Iterator[Outcome]:
        """Take an entry of a stream. `scope` is the Service, within which an id identifies a request; an
        entry waits for `window_s`; `unique` says that no client chose the id. `now` is in seconds of any
        steady clock."""
        yield from self.expire(now, stream)
        if not entry.request or len(entry.request) > _LONGEST_ID:
            yield Unpaired(Lost.NO_ID)
            return
        requests = self._streams.setdefault(stream, OrderedDict())
        key = (scope, entry.request)
        waiting = requests.get(key)
        if waiting is None:
            yield from self._make_room()
            # The stream may have lost its last request to make room.
            requests = self._streams.setdefault(stream, requests)
            waiting = requests[key] = _Waiting(now + window_s)
            self._count += 1
        _take(waiting, entry)
        if unique and _complete(waiting):
            self._forget(stream, requests, key)
            yield from _judged(waiting)

    def expire(self, now: float, stream: Hashable) -> Iterator[Outcome]:
        """Judge the requests of a stream whose window has ended."""
        requests = self._streams.get(stream, OrderedDict())
        while requests:
            key, waiting = next(iter(requests.items()))
            if waiting.until > now:
                return
            self._forget(stream, requests, key)
            yield from _judged(waiting)

    def close(self, stream: Hashable) -> Iterator[Outcome]:
        """Judge all requests of a stream that has ended."""
        yield from self.expire(float("inf"), stream)

    def _make_room(self) -> Iterator[Outcome]:
        while self._count >= self._most:
            stream, requests = max(self._streams.items(), key=lambda item: len(item[1]))
            self._forget(stream, requests, next(iter(requests)))
            yield Unpaired(Lost.EVICTED)

    def _forget(self, stream: Hashable, requests: _Requests, key: _Key) -> None:
        del requests[key]
        self._count -= 1
        if not requests:
            del self._streams[stream]


def _take(waiting: _Waiting, entry: Entry) -> None:
    if entry.side is Side.PRIMARY:
        # Envoy counts attempts; the same count twice is another request of the same id.
        if waiting.primary and entry.attempt == waiting.primary.attempt:
            waiting.ambiguous = True
        if not waiting.primary or entry.attempt > waiting.primary.attempt:
            waiting.primary = entry
        return
    key = (entry.side, entry.canary)
    waiting.ambiguous |= key in waiting.shadows
    waiting.shadows[key] = entry


def _complete(waiting: _Waiting) -> bool:
    """Whether nothing more can come. An attempt that failed may be followed by another."""
    primary = waiting.primary
    return primary is not None and not primary.answer.failed and waiting.shadows.keys() >= {*primary.mirrored}


def _judged(waiting: _Waiting) -> Iterator[Outcome]:
    primary = waiting.primary
    canaries = {whose: each for whose, each in waiting.shadows.items() if whose[0] is Side.CANARY}
    if waiting.ambiguous:
        yield Unpaired(Lost.AMBIGUOUS)
    elif primary is None:
        for whose in canaries:
            yield Unpaired(Lost.NO_PRIMARY, whose)
    else:
        for whose, shadow in canaries.items():
            baseline = waiting.shadows.get((Side.BASELINE, whose[1]))
            yield Pair(
                whose, primary.group, primary.answer, shadow.answer, baseline.answer if baseline else None
            )
        for whose in primary.mirrored:
            if whose[0] is Side.CANARY and whose not in canaries:
                yield Unpaired(Lost.NOT_SENT, whose)
