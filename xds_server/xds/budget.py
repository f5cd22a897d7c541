"""Limits the memory for resource names that clients subscribe to, whether the resources exist or not.

Equal sets of names are one object (`xds.name_sets`). A set counts once for each address and once for the
process, so a fleet with equal subscriptions counts as one stream. Pure.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from xds_server.base.ids import StreamId
from xds_server.base.sizes import MIB
from xds_server.xds.batch import Batch
from xds_server.xds.name_sets import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class NameLimits:
    """In bytes. An Envoy's subscriptions for 10,000 Services take 6 MiB."""

    per_stream: int = 64 * MIB
    per_peer: int = 128 * MIB
    total: int = 256 * MIB


Kept = Names | Batch
"""What streams can share: subscribed names, and removed names in unanswered responses. Both have
`name_bytes`."""


class Held(NamedTuple):
    """What this process keeps for one stream: shared sets, and the bytes of other names."""

    sets: tuple[Kept, ...] = ()
    more: int = 0


class Exceeded(NamedTuple):
    """A stream that must end, and why."""

    stream: StreamId
    reason: str


class _Account:
    """What several streams hold together, in bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._uses: Counter[Kept] = Counter()

    def add(self, held: Held) -> None:
        self.size += held.more
        for names in held.sets:
            if not self._uses[names]:
                self.size += names.name_bytes
            self._uses[names] += 1

    def take(self, held: Held) -> None:
        self.size -= held.more
        for names in held.sets:
            self._uses[names] -= 1
            if not self._uses[names]:
                del self._uses[names]
                self.size -= names.name_bytes

    def __bool__(self) -> bool:
        return bool(self.size or self._uses)


class NameBudget:
    """Counts what every stream holds."""

    def __init__(self, limits: NameLimits) -> None:
        self._limits = limits
        self._streams: dict[StreamId, tuple[str, Held]] = {}
        self._peers: dict[str, _Account] = {}
        self._all = _Account()

    def hold(self, stream: StreamId, peer: str, held: Held) -> list[Exceeded]:
        """Record what the stream holds now. Returns the streams that must end, and stops counting them: the
        stream itself if it or its address exceeds a limit; if all streams together do, the largest streams of
        the address that holds most."""
        if self._streams.get(stream) == (peer, held):
            return []
        self.note(stream, peer, held)
        ends = []
        if (limit := self._limits.per_stream) < _size(held):
            ends.append(self._end(stream, f"the names of one stream take more than {_shown(limit)}"))
        elif (limit := self._limits.per_peer) < self._peers[peer].size:
            ends.append(
                self._end(stream, f"the names of this address's streams take more than {_shown(limit)}")
            )
        while (limit := self._limits.total) < self._all.size and (victim := self._largest()) is not None:
            why = f"the names of all streams take more than {_shown(limit)}, most of them this address's"
            ends.append(self._end(victim, why))
        return ends

    def note(self, stream: StreamId, peer: str, held: Held) -> None:
        """Record what the stream holds now, without enforcing limits."""
        self.leave(stream)
        self._streams[stream] = peer, held
        self._peers.setdefault(peer, _Account()).add(held)
        self._all.add(held)

    def leave(self, stream: StreamId) -> None:
        """The stream holds nothing any more."""
        peer, held = self._streams.pop(stream, ("", Held()))
        self._all.take(held)
        if (account := self._peers.get(peer)) is not None:
            account.take(held)
            if not account:
                del self._peers[peer]

    def _end(self, stream: StreamId, reason: str) -> Exceeded:
        self.leave(stream)
        return Exceeded(stream, reason)

    def _largest(self) -> StreamId | None:
        """The largest stream of the address that holds most. Streams without sets of names are skipped, as
        what they hold ends with the current write."""
        sizes = [
            (self._peers[peer].size, _size(held), stream)
            for stream, (peer, held) in self._streams.items()
            if held.sets
        ]
        return max(sizes)[-1] if sizes else None


def _size(held: Held) -> int:
    return held.more + sum(names.name_bytes for names in held.sets)


def _shown(limit: int) -> str:
    return f"{limit // MIB} MiB"
