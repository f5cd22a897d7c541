"""Joins the bodies of one request: the canary's, and one or two of the stable version's. Pure: time is an
argument.

Bodies are large, so few wait, and only a sample is taken: `RATE` requests a second of one canary, and
`MOST_WAITING_BYTES` in all. The canary that has most bytes makes room. An id is a client's where the gateway
keeps it, so an id with more bodies than there should be is compared for nobody.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core.verdict.body_text import Body, Skipped
from xds_server.core.verdict.joining import Side

RATE: Final = 20.0
"""Requests of one canary in a second, and the burst."""

MOST_WAITING_BYTES: Final = 32 * MIB
WINDOW_S: Final = 12.0
"""How long a body waits for the others. A mirrored request takes 10 s at most, unless `timeout` says more."""

_LONGEST_ID: Final = 64
_ENTRY_BYTES: Final = 1024


class Response(NamedTuple):
    """One response to a mirrored request, to the canary or to its baseline. `size` is that of the body as it
    was sent; `body.data` is empty if that is too large."""

    canary: NamespacedName
    side: Side
    request: str
    group: str
    status: int
    size: int
    body: Body


class Joined(NamedTuple):
    """The responses to one request. `stable` are the stable version's: the first is what the canary's is
    compared with, and the second shows what differs anyhow."""

    canary: Response
    stable: tuple[Response, ...]


class Unjoined(NamedTuple):
    """A request whose bodies are not compared."""

    canary: NamespacedName
    reason: Skipped


@dataclass(slots=True)
class _Waiting:
    until: float
    canary: Response | None = None
    stable: list[Response] = field(default_factory=list)
    size: int = 0
    ambiguous: bool = False


_Key = tuple[Hashable, str]


@dataclass(slots=True)
class _Canary:
    """The requests of one canary that wait, the oldest first."""

    at: float
    tokens: float = RATE
    size: int = 0
    requests: OrderedDict[_Key, _Waiting] = field(default_factory=OrderedDict)


class BodyJoiner:
    """The bodies that wait."""

    def __init__(self, *, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self._most = most_bytes
        self._canaries: dict[NamespacedName, _Canary] = {}
        self.size = 0

    def add(
        self, response: Response, *, source: Hashable, stable: int, now: float
    ) -> Iterator[Joined | Unjoined]:
        """Take a response. `source` is where it came from, within which an id identifies a request; `stable`
        is how many responses of the stable version there are to be."""
        yield from self.expire(now)
        if not response.request or len(response.request) > _LONGEST_ID:
            yield Unjoined(response.canary, Skipped.INCOMPLETE)
            return
        known = self._canaries.setdefault(response.canary, _Canary(now))
        key = source, response.request
        waiting = known.requests.get(key)
        if waiting is None:
            if not _admitted(known, now):
                yield Unjoined(response.canary, Skipped.BUSY)
                return
            waiting = known.requests[key] = _Waiting(now + WINDOW_S)
        _take(waiting, response, stable)
        self._grow(known, waiting, _ENTRY_BYTES + len(response.body.data))
        if waiting.canary and len(waiting.stable) >= stable and not waiting.ambiguous:
            self._forget(known, key)
            yield _judged(response.canary, waiting)
        yield from self._make_room()

    def expire(self, now: float) -> Iterator[Joined | Unjoined]:
        """What has waited for long enough."""
        for name, known in [*self._canaries.items()]:
            while known.requests:
                key, waiting = next(iter(known.requests.items()))
                if waiting.until > now:
                    break
                self._forget(known, key)
                yield _judged(name, waiting)
            if not known.requests and now - known.at > WINDOW_S:
                del self._canaries[name]

    def _make_room(self) -> Iterator[Unjoined]:
        while self.size > self._most:
            name, known = max(self._canaries.items(), key=lambda item: item[1].size)
            self._forget(known, next(iter(known.requests)))
            yield Unjoined(name, Skipped.BUSY)

    def _grow(self, known: _Canary, waiting: _Waiting, size: int) -> None:
        waiting.size += size
        known.size += size
        self.size += size

    def _forget(self, known: _Canary, key: _Key) -> None:
        size = known.requests.pop(key).size
        known.size -= size
        self.size -= size


def _admitted(known: _Canary, now: float) -> bool:
    known.tokens = min(RATE, known.tokens + max(0.0, now - known.at) * RATE)
    known.at = now
    if known.tokens < 1:
        return False
    known.tokens -= 1
    return True


def _take(waiting: _Waiting, response: Response, stable: int) -> None:
    """Keep a response, unless there is one already: then the id stands for several requests."""
    if response.side is Side.CANARY:
        waiting.ambiguous |= waiting.canary is not None
        waiting.canary = response
    elif len(waiting.stable) < stable:
        waiting.stable.append(response)
    else:
        waiting.ambiguous = True


def _judged(canary: NamespacedName, waiting: _Waiting) -> Joined | Unjoined:
    if waiting.ambiguous or waiting.canary is None or not waiting.stable:
        return Unjoined(canary, Skipped.INCOMPLETE)
    return Joined(waiting.canary, tuple(waiting.stable))
