"""The representations of objects: complete, metadata only, or rows of a table.

The client's Accept header lists what it accepts, in order of preference. Protobuf is not supported; clients
that prefer it accept JSON as well.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec

from xds_server.local.kubeapi import tables
from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.errors import not_acceptable
from xds_server.local.kubeapi.history import Entry
from xds_server.local.kubeapi.resources import Resource
from xds_server.local.kubeapi.store import Page

JSON: Final = "application/json"
_META: Final = "meta.k8s.io"


class View(Protocol):
    """Writes objects of one kind. Created for each response, so it may keep state about what was written."""

    content_type: str

    def one(self, entry: Entry) -> bytes:
        """A single object, or the object in an event."""

    def many(self, resource: Resource, page: Page, token: str) -> bytes:
        """A list; `token` is the continue token, or empty."""

    def nothing(self, resource: Resource, version: int, annotations: Doc | None = None) -> bytes:
        """The object in a bookmark, which has only a version."""


class Whole:
    """Complete objects."""

    content_type = JSON

    def one(self, entry: Entry) -> bytes:
        return entry.json

    def many(self, resource: Resource, page: Page, token: str) -> bytes:
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return _list(head, page, token, (entry.item for entry in page.entries))

    def nothing(self, resource: Resource, version: int, annotations: Doc | None = None) -> bytes:
        return _empty({"kind": resource.kind, "apiVersion": resource.api_version}, version, annotations)


class Metadata:
    """PartialObjectMetadata."""

    def __init__(self) -> None:
        self.content_type = f"{JSON};as=PartialObjectMetadata;g={_META};v=v1"

    def one(self, entry: Entry) -> bytes:
        return msgspec.json.encode(self._head | {"metadata": metadata(entry.doc)})

    def many(self, resource: Resource, page: Page, token: str) -> bytes:  # noqa: ARG002  the kind is lost here
        head = {"kind": "PartialObjectMetadataList", "apiVersion": f"{_META}/v1"}
        items = (msgspec.json.encode({"metadata": metadata(entry.doc)}) for entry in page.entries)
        return _list(head, page, token, items)

    def nothing(self, resource: Resource, version: int, annotations: Doc | None = None) -> bytes:  # noqa: ARG002
        return _empty(self._head, version, annotations)

    _head: Final = {"kind": "PartialObjectMetadata", "apiVersion": f"{_META}/v1"}


class Table:
    """A meta.k8s.io/v1 Table. In a watch, only the first has the column definitions."""

    def __init__(self, include: str, now: Callable[[], datetime]) -> None:
        self.content_type = f"{JSON};as=Table;g={_META};v=v1"
        self._include = include
        self._now = now
        self._headed = False

    def one(self, entry: Entry) -> bytes:
        return self._encoded(self._table(entry.resource, [entry], entry.version))

    def many(self, resource: Resource, page: Page, token: str) -> bytes:
        return self._encoded(self._table(resource, page.entries, page.version, token, page.remaining))

    def nothing(self, resource: Resource, version: int, annotations: Doc | None = None) -> bytes:
        table = self._table(resource, [], version)
        if annotations:
            table["metadata"] = table["metadata"] | {"annotations": annotations}
        return self._encoded(table)

    def _table(
        self,
        resource: Resource,
        entries: Sequence[Entry],
        version: int,
        token: str = "",
        remaining: int | None = None,
    ) -> Doc:
        return tables.table(
            resource,
            [entry.doc for entry in entries],
            now=self._now(),
            include=self._include,
            version=str(version),
            continue_=token,
            remaining=remaining,
        )

    def _encoded(self, table: Doc) -> bytes:
        if self._headed:
            table = table | {"columnDefinitions": []}
        self._headed = True
        return msgspec.json.encode(table)


def negotiate(accept: str, *, include: str, now: Callable[[], datetime]) -> View:
    """The first supported media type of an Accept header. Raises 406."""
    if not accept:
        return Whole()
    for clause in accept.split(","):
        kind, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        if kind not in (JSON, "application/*", "*/*"):
            continue
        match parameters.get("as"), parameters.get("g"), parameters.get("v"):
            case None, _, _:
                return Whole()
            case "Table", "meta.k8s.io", "v1":
                return Table(include, now)
            case "PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1":
                return Metadata()
    raise not_acceptable([JSON, f"{JSON};as=Table;g={_META};v=v1"])


def _list(head: Doc, page: Page, token: str, items: Iterable[bytes]) -> bytes:
    """A list of encoded objects."""
    about: Doc = {"resourceVersion": str(page.version)}
    if token:
        about["continue"] = token
    if page.remaining is not None:
        about["remainingItemCount"] = page.remaining
    return b'%b,"items":[%b]}' % (msgspec.json.encode(head | {"metadata": about})[:-1], b",".join(items))


def _empty(head: Doc, version: int, annotations: Doc | None) -> bytes:
    about: Doc = {"resourceVersion": str(version), "creationTimestamp": None}
    return msgspec.json.encode(
        head | {"metadata": about | ({"annotations": annotations} if annotations else {})}
    )
