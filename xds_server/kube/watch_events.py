"""Decodes list pages and watch events of an API server from raw bytes.

The fast path decodes a page at once. Only a page that fails is decoded item by item, to lose no more than the
invalid ones. `api` does HTTP, `reflector` decides what follows from an event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from xds_server.core.conditions import Condition
from xds_server.core.decode import (
    MSGSPEC_ERRORS,
    DecodeError,
    decode_identity,
    decode_object,
    trim,
    unreadable,
)
from xds_server.core.objects import KINDS, Kind, Object, Ref

T = TypeVar("T")


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None  # Go writes an empty list as null


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Added(msgspec.Struct, Generic[T]):
    type: Literal["ADDED"]
    object: T


class _Annotations(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _Annotated(msgspec.Struct):
    metadata: _Annotations


_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Status(msgspec.Struct, frozen=True):
    """meta/v1 Status: an error of the API server, as a response body or in an ERROR event."""

    code: int = 0
    reason: str = ""
    message: str = ""


class Page(NamedTuple):
    """One page of a list. `token` continues it and is empty on the last page."""

    resource_version: str
    token: str
    objects: list[Object]
    rejected: dict[Ref, Condition]


class Seen(msgspec.Struct, frozen=True):
    """ADDED or MODIFIED."""

    resource_version: str
    obj: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """DELETED. With a selector this also means that an object no longer matches."""

    resource_version: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class Unreadable:
    """ADDED or MODIFIED with an object that cannot be decoded."""

    resource_version: str
    ref: Ref
    problem: Condition


@dataclass(frozen=True, slots=True)
class Bookmark:
    """No other change up to this version. `complete` ends the list part of a streaming list."""

    resource_version: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """ERROR: the server cannot continue this watch."""

    status: Status


WatchEvent = Seen | Gone | Unreadable | Bookmark | Ended


def _decoders(of: Any) -> Mapping[Kind, msgspec.json.Decoder[Any]]:
    """For each kind, of a struct that is generic in the object's class."""
    return {kind: msgspec.json.Decoder(of[cls]) for kind, cls in KINDS.items()}


_PAGES: Final = _decoders(_Page)
_ADDED: Final = _decoders(_Added)
_RAW_PAGE = msgspec.json.Decoder(_Page[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_Event)
_STATUS = msgspec.json.Decoder(Status)
_ANNOTATED = msgspec.json.Decoder(_Annotated)


def decode_page(kind: Kind, body: bytes, origin: str) -> Page:
    """One page of a list. Raises `DecodeError` only if the body is not a list at all."""
    try:
        page: _Page[Any] = _PAGES[kind].decode(body)
    except MSGSPEC_ERRORS:
        return _salvage(kind, body, origin)
    return _page(page.metadata, [trim(obj) for obj in page.items or ()], {})


def _salvage(kind: Kind, body: bytes, origin: str) -> Page:
    """Decode the items one by one. An item without a name makes the page unreadable, because an object that
    is missing from a list counts as deleted."""
    try:
        page = _RAW_PAGE.decode(body)
    except MSGSPEC_ERRORS as error:
        raise DecodeError(unreadable(None, origin, error)) from error
    objects: list[Object] = []
    rejected: dict[Ref, Condition] = {}
    for item in page.items or ():
        try:
            objects.append(decode_object(kind, item, origin))
        except DecodeError as error:
            if error.ref is None:
                raise
            rejected[error.ref] = error.problem
    return _page(page.metadata, objects, rejected)


def _page(meta: _ListMeta, objects: list[Object], rejected: dict[Ref, Condition]) -> Page:
    return Page(meta.resource_version, meta.continue_ or "", objects, rejected)


def decode_event(kind: Kind, line: bytes, origin: str) -> WatchEvent:
    """One line of a watch. Raises `DecodeError` if it is not a watch event."""
    try:
        event = _EVENT.decode(line)
    except MSGSPEC_ERRORS as error:
        raise DecodeError(unreadable(None, origin, error)) from error
    if event.type == "ERROR":
        return Ended(decode_status(bytes(event.object)))
    identity = decode_identity(event.object, origin)
    ref, version = Ref(kind, identity.namespace or "", identity.name), identity.resource_version
    match event.type:
        case "BOOKMARK":
            return Bookmark(version, complete=_completes(event.object))
        case "DELETED":
            return Gone(version, ref)
        case "ADDED" | "MODIFIED":
            try:
                return Seen(version, decode_object(kind, event.object, origin))
            except DecodeError as error:
                return Unreadable(version, ref, error.problem)
        case other:
            raise DecodeError(unreadable(None, origin, f"there is no watch event of type {other!r}"))


def decode_listed(kind: Kind, line: bytes, origin: str) -> WatchEvent:
    """One line of the first part of a streaming list. Nearly every line adds an object, which is decoded in
    one pass and without its version: only the version of the bookmark at the end counts. Raises `DecodeError`
    if the line is no watch event at all."""
    try:
        return Seen("", trim(_ADDED[kind].decode(line).object))
    except MSGSPEC_ERRORS:
        return decode_event(kind, line, origin)


def _completes(bookmark: msgspec.Raw) -> bool:
    try:
        annotations = _ANNOTATED.decode(bookmark).metadata.annotations or {}
    except MSGSPEC_ERRORS:
        return False
    return annotations.get(_INITIAL_EVENTS_END) == "true"


def decode_status(body: bytes) -> Status:
    """The Status of an error; empty if a proxy or load balancer answered."""
    try:
        return _STATUS.decode(body)
    except MSGSPEC_ERRORS:
        return Status()
