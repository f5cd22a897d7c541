"""How many bytes of resource names clients make this process keep, whether such resources exist or not.

Equal sets of names are one object (`xds.name_sets`). So a set counts once for an address and once for the
process, however many streams have it: a fleet that asks for the same costs what one of it does. Pure.
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
    """In bytes. 10,000 Services take an Envoy 6 MiB."""

    per_stream: int = 64 * MIB
    per_peer: int = 128 * MIB
    total: int = 256 * MIB


Kept = Names | Batch
"""What streams may share: names that are asked for, and names that were told to be absent. It has
`name_bytes`."""


class Held(NamedTuple):
    """What one stream makes the process keep: what it may share, and bytes of other names."""

    sets: tuple[Kept, ...] = ()
    more: int = 0


class Exceeded(NamedTuple):
    """A stream that has to end, and why."""

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
    """Knows what every stream holds."""

    def __init__(self, limits: NameLimits) -> None:
        self._limits = limits
        self._streams: dict[StreamId, tuple[str, Held]] = {}
        self._peers: dict[str, _Account] = {}
        self._all = _Account()

    def hold(self, stream: StreamId, peer: str, held: Held) -> list[Exceeded]:
        """The stream of this peer holds that now. Returns those that have to end for it, and counts them no
        more: the stream itself, or, if it is all streams together that hold too much, the largest of the peer
        that holds most."""
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
        """The stream holds that now, and nobody has to end for it."""
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
        """Of those that hold sets; what else streams hold ends by itself."""
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
