"""Resources that are sent together. Streams that are due the same resources share one batch.

Results that are derived from a batch, above all its encoded response, are computed once and kept with it.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property
from itertools import count
from typing import Final

from xds_server.base.ids import TypeUrl
from xds_server.base.recent import remembered
from xds_server.xds.name_sets import size_of
from xds_server.xds.resource import Resource

_serials = count(1)
_MOST_BODIES: Final = 4
_FRAME_BYTES: Final = 8
"""The tag and length of a name."""


class Batch:
    """Resources and the names of removed resources. `serial` numbers the batches of a process in ascending
    order."""

    def __init__(self, resources: tuple[Resource, ...] = (), removed: tuple[str, ...] = ()) -> None:
        self.resources = resources
        self.removed = removed
        self.serial = next(_serials)
        self._references: dict[TypeUrl, frozenset[str]] = {}
        self._bodies: dict[Hashable, bytes] = {}
        self._parts: tuple[Batch, ...] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the resources."""
        return frozenset(resource.name for resource in self.resources)

    @cached_property
    def name_bytes(self) -> int:
        """The memory in bytes that the removed names take."""
        return size_of(self.removed)

    @cached_property
    def size(self) -> int:
        """The most bytes that the batch takes in a response."""
        return sum(resource.size for resource in self.resources) + sum(map(_framed, self.removed))

    def parts(self, most: int, together: Callable[[], Iterable[frozenset[str]]]) -> "tuple[Batch, ...]":
        """Split into batches of at most `most` bytes; the batch itself if it is no larger. Names that
        `together` returns in one set stay in one batch, even if it exceeds the limit."""
        if self.size <= most:
            return (self,)
        if not self._parts:
            self._parts = tuple(self._split(most, together()))
        return self._parts

    def _split(self, most: int, together: Iterable[frozenset[str]]) -> "Iterator[Batch]":
        resources = {resource.name: resource for resource in self.resources}
        part: list[str] = []
        size = 0
        for names in together:
            more = sum(resources[name].size if name in resources else _framed(name) for name in names)
            if part and size + more > most:
                yield _part(part, resources)
                part, size = [], 0
            part += sorted(names)
            size += more
        yield _part(part, resources)

    def refers_to(self, type_url: TypeUrl) -> frozenset[str]:
        """The names of that type that the resources refer to."""
        known = self._references.get(type_url)
        if known is None:
            known = self._references[type_url] = frozenset(
                ref.name for resource in self.resources for ref in resource.refs if ref.type_url == type_url
            )
        return known

    def body(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The bytes for `key`, made at first use. Only the latest few are kept."""
        return remembered(self._bodies, key, make, most=_MOST_BODIES)


def _framed(name: str) -> int:
    return len(name.encode()) + _FRAME_BYTES


def _part(names: list[str], resources: dict[str, Resource]) -> Batch:
    found = tuple(resources[name] for name in names if name in resources)
    return Batch(found, tuple(name for name in names if name not in resources))


NOTHING: Final = Batch()
