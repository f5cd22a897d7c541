"""Determines which Namespaces are awaited: those that were not seen, while one of their Services or workloads
was.

The labels and annotations of a Namespace decide whether its Services are routed and what its shadows may do.
Each kind has its own watch, so a Service may arrive before its Namespace, or while the watch of Namespaces is
stalled. Until the Namespace was seen, its Services are neither changed nor newly routed
(`core.world.Awaiting`). This module does no I/O.
"""

from collections.abc import Iterable

from xds_server.core.objects import (
    WORKLOADS,
    EndpointSlice,
    Kind,
    Namespace,
    Pod,
    Ref,
    Service,
    Workload,
    ref_of,
)
from xds_server.core.world import Awaiting, Change, Delete, Upsert

_KINDS = (Kind.SERVICE, *WORKLOADS)


class Namespaces:
    """The awaited Namespaces. `note` has to see every change."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._given_up: set[str] = set()
        self._members: dict[str, set[Ref]] = {}
        self._awaited: set[str] = set()

    def note(self, changes: Iterable[Change]) -> list[Change]:
        """Note `changes`; return the resulting changes, which belong to the same batch."""
        touched: dict[str, None] = {}
        for change in changes:
            match change:
                case Upsert(EndpointSlice() | Pod()):  # the most frequent changes
                    pass
                case Upsert(Service() | Workload() as obj):
                    self._members.setdefault(obj.namespace, set()).add(ref_of(obj))
                    touched[obj.namespace] = None
                case Upsert(Namespace(name=name)):
                    self._seen.add(name)
                    touched[name] = None
                case Delete(Ref(Kind.NAMESPACE, _, name)):
                    self._seen.discard(name)
                    touched[name] = None
                case Delete(ref) if ref.kind in _KINDS:
                    self._forget(ref)
                    touched[ref.namespace] = None
        return [moved for name in touched for moved in self._moved(name)]

    def give_up(self, name: str) -> list[Change]:
        """Do not await this Namespace any more; return the resulting changes."""
        self._given_up.add(name)
        return self._moved(name)

    def _forget(self, ref: Ref) -> None:
        members = self._members.get(ref.namespace, set())
        members.discard(ref)
        if not members:
            self._members.pop(ref.namespace, None)

    def _moved(self, name: str) -> list[Change]:
        waiting = name in self._members and name not in self._seen and name not in self._given_up
        if waiting is (name in self._awaited):
            return []
        if waiting:
            self._awaited.add(name)
        else:
            self._awaited.discard(name)
        return [Awaiting(name, "", waiting)]
