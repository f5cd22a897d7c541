"""Holds the current snapshot and tells the streams when there is a newer one.

Each node has a view, a value that says which variant of the snapshot it is served (its gateway port, for
one). Views are derived once per snapshot and shared by every node that has the same.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from xds_server.snapshot.snapshot import Snapshot

V = TypeVar("V", bound=Hashable)


class SnapshotCache(Generic[V]):
    """Used from one event loop. Nothing is served before the first commit (XDS.md, line 15)."""

    def __init__(self, derive: Callable[[Snapshot, V], Snapshot]) -> None:
        self._derive = derive
        self._base: Snapshot | None = None
        self._views: dict[V, Snapshot] = {}
        self._listeners: set[Callable[[], None]] = set()

    def commit(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the one that is served from now on."""
        self._base = snapshot
        self._views.clear()
        for wake in tuple(self._listeners):
            wake()

    def current(self, view: V) -> Snapshot | None:
        """What nodes with this view are served; None before the first commit."""
        if self._base is None:
            return None
        if view not in self._views:
            self._views[view] = self._derive(self._base, view)
        return self._views[view]

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after every commit; the value returned stops that."""
        self._listeners.add(wake)
        return lambda: self._listeners.discard(wake)
