"""The streams that are served the same snapshot, indexed by what they subscribe to.

Streams that subscribe to the same names form one group. A change is compared with each group once, however
many streams it has, and wakes only the streams that it concerns.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from xds_server.base.ids import TypeUrl
from xds_server.xds.name_sets import Names
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.variants import HostsMode, SnapshotAdapter

S = TypeVar("S", bound=Hashable)


class Subscribers(Generic[S]):
    """All streams with one view and one mode of virtual hosts. `snapshot` is what they are served; None
    before the first commit."""

    def __init__(self, hosts: HostsMode) -> None:
        self.snapshot: Snapshot | None = None
        self._adapter = SnapshotAdapter(hosts)
        self._members: dict[S, dict[TypeUrl, Names | None]] = {}
        self._groups: dict[TypeUrl, dict[Names | None, set[S]]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def join(self, stream: S) -> None:
        self._members[stream] = {}

    def leave(self, stream: S) -> None:
        for type_url, names in self._members.pop(stream).items():
            self._ungroup(stream, type_url, names)

    def subscribe(self, stream: S, type_url: TypeUrl, names: Names | None) -> None:
        """From now on, changes of these names concern the stream; None for all names of the type."""
        watched = self._members[stream]
        if type_url in watched:
            if watched[type_url] is names:
                return
            self._ungroup(stream, type_url, watched[type_url])
        watched[type_url] = names
        self._groups.setdefault(type_url, {}).setdefault(names, set()).add(stream)

    def _ungroup(self, stream: S, type_url: TypeUrl, names: Names | None) -> None:
        groups = self._groups[type_url]
        groups[names].remove(stream)
        if not groups[names]:
            del groups[names]

    def serve(self, base: Snapshot) -> set[S]:
        """Serve `base` from now on; returns the streams that the change concerns."""
        before, self.snapshot = self.snapshot, self._adapter.of(base)
        if before is None:
            return set(self._members)
        concerned: set[S] = set()
        for type_url, groups in self._groups.items():
            old, new = before.of(type_url), self.snapshot.of(type_url)
            if old is new:
                continue
            changed = new.changes_since(old).names
            for names, streams in groups.items():
                if names is None or names.touched_by(changed):
                    concerned |= streams
            old.drop_caches()
        return concerned
