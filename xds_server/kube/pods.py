"""Holds changes of endpoints back while Pods of canaries may have changed unseen.

Only Pods tell which endpoints are a canary's, and they have watches of their own. While such a watch is not
open (rejected, broken, or about to resume), an EndpointSlice can list a Pod that was never seen, and the
canary would get live traffic. So changes of the namespace of such a slice are held for a moment, which is
enough for a watch that the server ended in order. If the watch is not back by then, the changes pass together
with `Awaiting`, and only a complete list ends that. While no slice changes, nothing is held and nothing is
awaited.
"""

import asyncio
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from xds_server.core.objects import EndpointSlice, Kind, Ref
from xds_server.core.source import Sink
from xds_server.core.world import Awaiting, Change, Delete, Report, Upsert, namespace_of
from xds_server.kube.query import Query

_POLL_S: Final = 0.02
"""How often that is checked."""


class PodWatch(Protocol):
    """What the gate needs to know of a watch of Pods."""

    @property
    def is_open(self) -> bool:
        """Whether the watch is open."""

    @property
    def caught_up(self) -> bool:
        """Whether the watch is open and has had the time to send what it had missed."""

    def list_again(self) -> None:
        """Start again with a list; the watch is not open."""


@dataclass(slots=True)
class _Namespace:
    """`wanted` are the selectors of canaries, `unknown` the queries whose next list is awaited, `awaited` the
    selectors that no known query covers."""

    wanted: Set[str] = frozenset()
    watches: dict[Query, PodWatch] = field(default_factory=dict)
    unknown: set[Query] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    held: list[Change] | None = None
    deadline: float = 0.0
    timer: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> list[Query]:
        """The queries that count as known but are not followed at the moment."""
        return [
            query
            for query, watch in self.watches.items()
            if query not in self.unknown and not watch.caught_up
        ]

    def moved(self) -> dict[str, bool]:
        """Update `awaited`; return the resulting changes."""
        known = self.watches.keys() - self.unknown
        if any(not query.labels for query in known):
            awaited = set[str]()
        else:
            awaited = {*self.wanted} - {query.labels for query in known}
        moved = {selector: selector in awaited for selector in sorted(awaited ^ self.awaited)}
        self.awaited = awaited
        return moved


class PodGate:
    """A sink in front of the sink. It holds nothing until `synced`, because nothing is served before.

    A watch may take `reopen` seconds to resume and to send what it missed. Then its Pods are awaited.
    """

    def __init__(self, sink: Sink, *, reopen: float) -> None:
        self._reopen = reopen
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._namespaces: dict[str, _Namespace] = {}
        self._holds = False

    def want(self, selectors: Mapping[str, Set[str]]) -> list[Change]:
        """Set the selectors of all canaries, by namespace."""
        changes: list[Change] = []
        for name in sorted(self._namespaces.keys() | selectors.keys()):
            wanted = selectors.get(name, frozenset())
            state = self._of(name)
            if state.wanted != wanted:
                state.wanted = wanted
                changes += self._moved(name)
            self._tidy(name)
        return changes

    def add(self, query: Query, watch: PodWatch) -> None:
        """Note that `query` is followed from now on. `want` returns the resulting changes."""
        state = self._of(query.namespace)
        state.watches[query] = watch
        state.unknown.add(query)

    def remove(self, query: Query) -> list[Change]:
        """Note that `query` is no longer followed."""
        state = self._namespaces[query.namespace]
        del state.watches[query]
        state.unknown.discard(query)
        changes = self._moved(query.namespace)
        self._tidy(query.namespace)
        return changes

    def listed(self, query: Query) -> list[Change]:
        """Note that `query` has a complete list. The returned changes belong to the same batch."""
        self._namespaces[query.namespace].unknown.discard(query)
        return self._moved(query.namespace)

    def knows(self, query: Query) -> bool:
        """Whether `query` has a complete list and has missed nothing since."""
        state = self._namespaces.get(query.namespace)
        return state is not None and query in state.watches.keys() - state.unknown

    def put(self, changes: Iterable[Change]) -> None:
        """See `Sink.put`."""
        passing: list[Change] = []
        of_namespaces: dict[str, list[Change]] = {}
        for change in changes:
            name = _concerned(change)
            if name in self._namespaces:
                of_namespaces.setdefault(name, []).append(change)
            else:
                passing.append(change)
        for name, own in of_namespaces.items():
            state = self._namespaces[name]
            if state.held is not None:
                state.held += own
            elif self._holds and any(map(_moves_endpoints, own)) and state.behind:
                state.held = own
                state.deadline = self._loop.time() + self._reopen
                self._poll_later(name)
            else:
                passing += self._current(name, own)
        self._sink.put(passing)

    def synced(self) -> None:
        """See `Sink.synced`."""
        self._holds = True
        self._sink.synced()

    def close(self) -> None:
        """Pass nothing on from now on."""
        for state in self._namespaces.values():
            if state.timer:
                state.timer.cancel()

    def _of(self, namespace: str) -> _Namespace:
        return self._namespaces.setdefault(namespace, _Namespace())

    def _tidy(self, namespace: str) -> None:
        state = self._namespaces[namespace]
        if not (state.wanted or state.watches or state.held is not None):
            del self._namespaces[namespace]

    def _moved(self, namespace: str) -> list[Change]:
        moved = self._namespaces[namespace].moved()
        return [Awaiting(namespace, selector, waiting) for selector, waiting in moved.items()]

    def _poll_later(self, name: str) -> None:
        self._namespaces[name].timer = self._loop.call_later(_POLL_S, self._poll, name)

    def _poll(self, name: str) -> None:
        """Release what is held if the watches are back or their time is over."""
        state = self._namespaces[name]
        back = any(state.watches[query].is_open for query in state.behind)
        if state.behind and (back or self._loop.time() < state.deadline):
            self._poll_later(name)
            return
        held, state.held, state.timer = state.held or [], None, None
        for query in state.behind:
            state.unknown.add(query)
            state.watches[query].list_again()
        self._sink.put(self._current(name, [*held, *self._moved(name)]))
        self._tidy(name)

    def _current(self, name: str, changes: Iterable[Change]) -> list[Change]:
        """`changes` without `Awaiting` that no longer holds."""
        awaited = self._namespaces[name].awaited
        return [
            Awaiting(name, change.selector, change.selector in awaited)
            if isinstance(change, Awaiting) and change.selector
            else change
            for change in changes
        ]


def _concerned(change: Change) -> str:
    """The namespace of a change."""
    match change:
        case Upsert(obj):
            return obj.namespace or obj.name
        case Delete(ref):
            return namespace_of(ref)
        case Awaiting(namespace):
            return namespace
        case Report():
            return ""


def _moves_endpoints(change: Change) -> bool:
    match change:
        case Upsert(EndpointSlice()) | Delete(Ref(Kind.ENDPOINT_SLICE)):
            return True
        case _:
            return False
