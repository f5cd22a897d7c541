"""Holds the current snapshot and notifies its listeners of a new one.

Each node has a view: a value that says which part and variant of the snapshot it is served. A view is derived
once for each snapshot and shared by all nodes that have it.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from xds_server.xds.snapshot import Snapshot

V = TypeVar("V", bound=Hashable)
V_contra = TypeVar("V_contra", bound=Hashable, contravariant=True)


@dataclass(frozen=True, slots=True)
class Derived:
    """A view, and the snapshot that it was derived from."""

    base: Snapshot
    snapshot: Snapshot


class Derive(Protocol[V_contra]):
    """Derives a view of a snapshot. `before` is the previous result for the same view, to start from."""

    def __call__(self, base: Snapshot, view: V_contra, before: Derived | None, /) -> Snapshot: ...


class SnapshotCache(Generic[V]):
    """Used from one event loop. Nothing is served before the first commit (rule 15)."""

    def __init__(self, derive: Derive[V]) -> None:
        self._derive = derive
        self._base: Snapshot | None = None
        self._views: dict[V, Derived] = {}
        self._listeners: set[Callable[[], None]] = set()
        self.generation = 0

    def commit(self, snapshot: Snapshot) -> None:
        """Serve `snapshot` from now on. Commits are numbered from 1."""
        self._base = snapshot
        self.generation += 1
        for notify in tuple(self._listeners):
            notify()

    def current(self, view: V) -> Snapshot | None:
        """The snapshot for nodes with this view; None before the first commit."""
        if self._base is None:
            return None
        known = self._views.get(view)
        if known is None or known.base is not self._base:
            known = self._views[view] = Derived(self._base, self._derive(self._base, view, known))
        return known.snapshot

    def forget(self, view: V) -> None:
        """Drop a view that no node has."""
        self._views.pop(view, None)

    def listen(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call `notify` after every commit, until the returned function is called."""
        self._listeners.add(notify)
        return lambda: self._listeners.discard(notify)
