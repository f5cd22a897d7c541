"""Versions of objects, and the recent changes of a kind.

JSON is encoded here, once for each version of an object, however many lists and watches send it.
"""

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from typing import NamedTuple

import msgspec

from xds_server.local.kubeapi.doc import Doc, with_metadata
from xds_server.local.kubeapi.resources import Resource


class Key(NamedTuple):
    """Identifies an object among those of its kind. The namespace is empty for cluster-scoped kinds. Keys
    sort as in lists."""

    namespace: str
    name: str


@cache
def _head(resource: Resource) -> bytes:
    return msgspec.json.encode({"kind": resource.kind, "apiVersion": resource.api_version})[:-1]


class Entry:
    """One object at one version. Immutable, but caches its JSON."""

    __slots__ = ("_item", "doc", "key", "resource", "version")

    def __init__(self, resource: Resource, key: Key, version: int, doc: Doc) -> None:
        self.resource = resource
        self.key = key
        self.version = version
        self.doc = doc
        self._item: bytes | None = None

    @property
    def item(self) -> bytes:
        """The JSON in a list, where the API server omits kind and apiVersion."""
        if self._item is None:
            bare = {name: value for name, value in self.doc.items() if name not in ("kind", "apiVersion")}
            self._item = msgspec.json.encode(bare)
        return self._item

    @property
    def json(self) -> bytes:
        """The JSON in a response and in events."""
        return b"%b,%b" % (_head(self.resource), self.item[1:])


class Step:
    """One change: an object was added (no `before`), modified, or deleted (no `after`)."""

    __slots__ = ("_leaving", "after", "before", "key", "resource", "version")

    def __init__(
        self, resource: Resource, key: Key, version: int, before: Entry | None, after: Entry | None
    ) -> None:
        self.resource = resource
        self.key = key
        self.version = version
        self.before = before
        self.after = after
        self._leaving: Entry | None = None

    @property
    def leaving(self) -> Entry:
        """The object in a DELETED event: its last state at the version of the change. It is the same for a
        deleted object and for one that a watch's selector no longer matches."""
        if self._leaving is None:
            if self.before is None:
                raise ValueError("an object that was not there cannot leave")
            doc = with_metadata(self.before.doc, resourceVersion=str(self.version))
            self._leaving = Entry(self.resource, self.key, self.version, doc)
        return self._leaving


class History:
    """The latest changes of one kind, oldest first; at most `limit`."""

    def __init__(self, limit: int, forgotten: int) -> None:
        self._limit = limit
        self._steps: deque[Step] = deque()
        self.forgotten = forgotten
        """The version of the latest change that was dropped. All later changes are present."""

    def add(self, step: Step) -> None:
        """Add `step`; drop the oldest change if there are too many."""
        self._steps.append(step)
        if len(self._steps) > self._limit:
            self.forgotten = self._steps.popleft().version

    def forget(self, version: int) -> None:
        """Drop all changes up to `version`."""
        self._steps.clear()
        self.forgotten = version

    def newest_first(self, version: int) -> Iterator[Step]:
        """The changes after `version`, which must not be before `forgotten`."""
        return takewhile(lambda step: step.version > version, reversed(self._steps))
