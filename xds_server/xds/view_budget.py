"""Limits how many views clients may make this process keep. Each view has a snapshot of its own, into which
every change is merged; a fleet has few views. Pure."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import StreamId

V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLimits:
    """The most different views: of the streams of one address, and of all streams."""

    per_peer: int = 50
    total: int = 1000


class ViewBudget(Generic[V]):
    """Counts the view of every stream."""

    def __init__(self, limits: ViewLimits) -> None:
        self._limits = limits
        self._streams: dict[StreamId, tuple[str, V]] = {}
        self._of_peers: dict[str, Counter[V]] = {}
        self._all: Counter[V] = Counter()

    def join(self, stream: StreamId, peer: str, view: V) -> None:
        """The stream of this peer has this view until it leaves.

        Raises:
            RequestLimitError: there would be too many views.
        """
        of_peer = self._of_peers.get(peer, Counter())
        if view not in of_peer and len(of_peer) >= self._limits.per_peer:
            raise RequestLimitError(
                f"node.metadata of this address's streams asks for more than {self._limits.per_peer} views"
            )
        if view not in self._all and len(self._all) >= self._limits.total:
            raise RequestLimitError(
                f"node.metadata of all streams asks for more than {self._limits.total:,} views"
            )
        self._streams[stream] = peer, view
        self._of_peers.setdefault(peer, Counter())[view] += 1
        self._all[view] += 1

    def leave(self, stream: StreamId) -> None:
        """The stream has no view any more."""
        if (left := self._streams.pop(stream, None)) is None:
            return
        peer, view = left
        for views in (self._of_peers[peer], self._all):
            views[view] -= 1
            if not views[view]:
                del views[view]
        if not self._of_peers[peer]:
            del self._of_peers[peer]
