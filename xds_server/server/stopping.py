"""Follows shadows that were stopped until no Envoy mirrors requests to them.

An Envoy has stopped when it has acknowledged routes without the mirror. One whose stream ends before that
may go on with what it has: it has stopped when it has connected again and acknowledged its routes. If it does
not connect again within `PATIENCE_S`, it is gone or cannot be reached. Which of the two it is cannot be known
here, so it is named. Pure: time is an argument.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName, NodeId, StreamId
from xds_server.base.text import listed
from xds_server.core.plan import ShadowStatus
from xds_server.server.watched import Watched
from xds_server.xds.routing_state import may_route_to, unknown
from xds_server.xds.servicer import Client

PATIENCE_S: Final = 60.0
"""An Envoy of ours connects again within 5 s, an Envoy with another bootstrap within 30 s."""

LATE_S: Final = 10.0
"""From then on a shadow that has not stopped yet is reported."""


class Stopped(NamedTuple):
    """A shadow to which no connected Envoy mirrors any more. The Envoys `lost` disconnected before they
    acknowledged that."""

    canary: NamespacedName
    service: str
    lost: tuple[NodeId, ...] = ()


@dataclass(slots=True, kw_only=True)
class Stopping:
    """A shadow that was stopped at `since`. `before` is its state at that time. `streams` are those of the
    Envoys that may still mirror; `gone` are the Envoys whose stream has ended, and when. `envoys` is how many
    mirrored."""

    watched: Watched
    before: ShadowStatus
    since: float
    streams: dict[StreamId, NodeId]
    gone: dict[NodeId, float] = field(default_factory=dict)
    envoys: int
    late: bool = False

    def message(self, now: float) -> str:
        """What is still awaited."""
        waiting, gone = sorted({*self.streams.values()}), sorted(self.gone)
        parts = []
        if waiting:
            parts.append(f"{_named(waiting, 'has', 'have')} not acknowledged it for {now - self.since:.0f} s")
        if gone:
            parts.append(f"{_named(gone, 'has', 'have')} disconnected without acknowledging it")
        stopped = self.envoys - len({*waiting, *gone})
        what = f"Mirroring has stopped at {stopped} of {self.envoys} Envoys"
        return f"{what}; {', and '.join(parts)}."


def lost_envoys(nodes: Sequence[NodeId]) -> str:
    """What is to be said of Envoys that disconnected and did not connect again."""
    who = _named(sorted(nodes), "has", "have")
    return f"{who} disconnected before; an Envoy that still runs goes on until it connects again."


def _named(nodes: list[NodeId], one: str, several: str) -> str:
    return f"{listed(nodes, len(nodes), 'Envoy')} {one if len(nodes) == 1 else several}"


class Stops:
    """The shadows that are stopping. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._stopping: dict[NamespacedName, Stopping] = {}

    def __bool__(self) -> bool:
        return bool(self._stopping)

    def get(self, canary: NamespacedName) -> Stopping | None:
        """The shadow, if it is stopping."""
        return self._stopping.get(canary)

    def all(self) -> list[tuple[NamespacedName, Stopping]]:
        """All of them, by canary."""
        return sorted(self._stopping.items())

    def begin(self, watched: Watched, before: ShadowStatus, clients: Iterable[Client], *, now: float) -> None:
        """A shadow was stopped. If no client may mirror to it, nothing is awaited."""
        streams = {each.stream: each.node for each in clients if _may_mirror(each, watched)}
        if streams:
            self._stopping[watched.canary] = Stopping(
                watched=watched,
                before=before,
                since=now,
                streams=streams,
                envoys=len({*streams.values()}),
            )

    def cancel(self, canary: NamespacedName) -> None:
        """Requests are mirrored to it again."""
        self._stopping.pop(canary, None)

    def answered(self, client: Client) -> list[Stopped]:
        """A client has acknowledged or rejected a response. Returns the shadows that have stopped."""
        for each in self._stopping.values():
            if _may_mirror(client, each.watched):
                continue
            each.streams.pop(client.stream, None)
            if client.node in each.gone and not _unknown(client, each.watched):
                del each.gone[client.node]
        return self._finished()

    def closed(self, stream: StreamId, *, now: float) -> None:
        """A stream has ended."""
        for each in self._stopping.values():
            node = each.streams.pop(stream, None)
            if node is not None:
                each.gone.setdefault(node, now)

    def wait(self, now: float) -> tuple[list[Stopped], list[Stopping]]:
        """The shadows whose remaining Envoys have not connected again for too long, so that nothing more is
        awaited; and those that are late, each once."""
        found = [
            Stopped(canary, each.watched.service, tuple(sorted(each.gone)))
            for canary, each in self._stopping.items()
            if not each.streams and all(now - at > PATIENCE_S for at in each.gone.values())
        ]
        for stopped in found:
            del self._stopping[stopped.canary]
        late = [each for each in self._stopping.values() if not each.late and now - each.since > LATE_S]
        for each in late:
            each.late = True
        return found, late

    def _finished(self) -> list[Stopped]:
        done = [
            Stopped(canary, each.watched.service)
            for canary, each in self._stopping.items()
            if not each.streams and not each.gone
        ]
        for stopped in done:
            del self._stopping[stopped.canary]
        return done


def _may_mirror(client: Client, watched: Watched) -> bool:
    return any(may_route_to(client.subscriptions, port.hosts, port.mirrored) for port in watched.ports)


def _unknown(client: Client, watched: Watched) -> bool:
    return any(unknown(client.subscriptions, port.hosts) for port in watched.ports)
