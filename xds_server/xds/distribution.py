"""Which streams each new snapshot must reach.

Streams with the same view and the same form of virtual hosts are one group of subscribers. After a commit,
each group is given its snapshot once, and only the streams whose subscriptions changed are woken.
"""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from xds_server.base.ids import StreamId
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.convergence import Convergence
from xds_server.xds.stream import Stream
from xds_server.xds.subscribers import Subscribers
from xds_server.xds.variants import HostsMode

V = TypeVar("V", bound=Hashable)


class Distribution(Generic[V]):
    """Connects a snapshot cache with the streams that it serves; `converged` is passed to `Convergence`."""

    def __init__(self, cache: SnapshotCache[V], converged: Callable[[int, bool], None]) -> None:
        self._cache = cache
        self._convergence = Convergence(converged)
        self._groups: dict[tuple[V, HostsMode], Subscribers[Stream[V]]] = {}
        cache.listen(self._changed)

    def __len__(self) -> int:
        """The number of groups."""
        return len(self._groups)

    def join(self, stream: Stream[V], view: V, hosts: HostsMode) -> None:
        """Serve the view to the stream from now on."""
        stream.view = view
        stream.subscribers = self._group(view, hosts)
        stream.subscribers.join(stream)

    def leave(self, stream: Stream[V], group: Subscribers[Stream[V]]) -> None:
        """Stop serving a stream that has joined the group. A view without streams is dropped from the
        cache."""
        self._convergence.leave(stream.id)
        group.leave(stream)
        if not group:
            self._groups = {key: each for key, each in self._groups.items() if each}
            if stream.view not in {view for view, _ in self._groups}:
                self._cache.forget(stream.view)  # type: ignore[arg-type]  # set together with `subscribers`

    def progressed(self, stream: Stream[V]) -> None:
        """The stream took a request, or has nothing more to send."""
        if stream.subscribers is not None and stream.subscribers.snapshot is not None:
            self._convergence.update(stream.id, stream.machine, stream.subscribers.snapshot)

    def _group(self, view: V, hosts: HostsMode) -> Subscribers[Stream[V]]:
        known = self._groups.get((view, hosts))
        if known is not None:
            return known
        group: Subscribers[Stream[V]] = Subscribers(hosts)
        if (base := self._cache.current(view)) is not None:
            group.serve(base)
        self._groups[view, hosts] = group
        return group

    def _changed(self) -> None:
        """Wake the streams that a new snapshot concerns. If a view cannot be derived, its streams keep their
        last snapshot and all other streams are served.

        Raises:
            ExceptionGroup: the errors of the views that failed. Each is a bug in this program.
        """
        failures = []
        woken: set[StreamId] = set()
        for (view, _), group in self._groups.items():
            try:
                base = self._cache.current(view)
                concerned = group.serve(base) if base is not None else ()
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
                continue
            for stream in concerned:
                stream.wake.set()
            woken.update(stream.id for stream in concerned)
        self._convergence.begin(self._cache.generation, woken, now=time.monotonic())
        if failures:
            raise ExceptionGroup("views could not be derived", failures)
