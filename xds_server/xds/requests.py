"""Requests as the machines receive them, and their parsers.

In state of the world, an ACK repeats every name of the subscription, and most requests are ACKs. So the bytes
of the names are compared with those of the previous request and parsed only if they differ. Names that one
stream subscribed to are also known when another stream subscribes to the same. Anything unexpected is left to
protobuf's parser, within the limits of `outline`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakValueDictionary

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from xds_server.base.errors import RequestError, RequestLimitError
from xds_server.base.ids import Nonce, TypeUrl
from xds_server.xds.framing import read_varint, text
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.outline import (
    DELTA,
    LONGEST_NAME,
    SOTW,
    Kind,
    Outline,
    outline,
    with_error_cut,
    without,
)
from xds_server.xds.types import SHORT_NAMES

MAX_REASON: Final = 8_192
"""The characters of a NACK's message that are read: twice what Envoy sends."""

_LENGTH_DELIMITED: Final = 2
_VERSION, _NODE, _NAMES, _TYPE = (
    bytes([number << 3 | _LENGTH_DELIMITED])[0] for number in (1, 2, 3, 4)
)  # fields of DiscoveryRequest (discovery.proto)
_TYPE_PREFIX: Final = b"type.googleapis.com/"
_WORTH_KEEPING: Final = 64
"""Names are remembered if they take at least this many bytes."""

_SERVED: Final = frozenset(type_url.encode() for type_url in SHORT_NAMES)


@dataclass(slots=True, kw_only=True)
class SotwRequest:
    """A DiscoveryRequest. `names` is None if they equal those of the previous request for the type."""

    type_url: TypeUrl
    nonce: Nonce
    version: str = ""
    names: Names | None = NO_NAMES
    error: str | None = None
    node: base_pb2.Node | None = None


@dataclass(slots=True, kw_only=True)
class DeltaRequest:
    """A DeltaDiscoveryRequest. `known_versions` are its ``initial_resource_versions``."""

    type_url: TypeUrl
    nonce: Nonce
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    known_versions: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    node: base_pb2.Node | None = None


@dataclass(frozen=True, slots=True)
class _Region:
    """The encoded names of a request: their length and hash, and the bytes that follow them."""

    length: int
    digest: int
    then: bytes
    names: Names


_REGIONS: Final[WeakValueDictionary[tuple[int, int], Names]] = WeakValueDictionary()
"""Names of all streams, by the length and hash of their encoding. The hash is keyed with a secret of the
process."""


class SotwReader:
    """Parses the requests of one stream."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}

    def read(self, raw: bytes) -> SotwRequest:
        """Parse one request.

        Raises:
            RequestError: `raw` is not a DiscoveryRequest, or exceeds a limit.
        """
        start = _start_of_names(raw)
        if start is None:
            return self._read_whole(raw, None)
        for type_url, region in self._regions.items():
            end = start + region.length
            if raw.startswith(region.then, end) and _hash(raw, start, end) == region.digest:
                message = _without_names(raw, start, end)
                if message is not None and message.type_url == type_url:
                    return _sotw(message, None)
        end = raw.rfind(_TYPE_PREFIX) - 2
        if end <= start or raw[end] != _TYPE:
            return self._read_whole(raw, start)
        names = _REGIONS.get((end - start, _hash(raw, start, end)))
        message = _without_names(raw, start, end) if names else None
        if names is None or message is None:
            return self._read_whole(raw, start)
        if message.type_url in SHORT_NAMES:  # otherwise a client could invent types, with names for each
            self._regions[message.type_url] = _region(raw, start, end, message.type_url, names)
        return _sotw(message, names)

    def _read_whole(self, raw: bytes, start: int | None) -> SotwRequest:
        message = _parse(SOTW, raw, outline(raw, SOTW))
        listed = _texts(message.resource_names)
        before = self._regions.pop(message.type_url, None)
        names = (before.names if before else NO_NAMES).replaced(listed)
        if start is not None and names and message.type_url in SHORT_NAMES:
            wire = discovery_pb2.DiscoveryRequest(resource_names=listed).SerializeToString()
            if len(wire) >= _WORTH_KEEPING and raw.startswith(wire, start):
                region = _region(raw, start, start + len(wire), message.type_url, names)
                self._regions[message.type_url] = region
                _REGIONS[region.length, region.digest] = names
        return _sotw(message, names)


class DeltaReader:
    """Parses the requests of one stream. The versions from an earlier stream are read in the first request
    for a type only, and never for types that are not served."""

    def __init__(self) -> None:
        self._types: set[bytes] = set()

    def read(self, raw: bytes) -> DeltaRequest:
        """Parse one request.

        Raises:
            RequestError: `raw` is not a DeltaDiscoveryRequest, or exceeds a limit.
        """
        found = outline(raw, DELTA)
        first = found.type_url in _SERVED and found.type_url not in self._types
        if first:
            self._types.add(found.type_url)
        elif found.known_versions:
            raw = without(raw, DELTA.known_versions)
        message = _parse(DELTA, raw, found)
        return DeltaRequest(
            type_url=TypeUrl(message.type_url),
            nonce=Nonce(message.response_nonce),
            subscribe=_texts(message.resource_names_subscribe),
            unsubscribe=_texts(message.resource_names_unsubscribe),
            known_versions=_known_versions(message.initial_resource_versions),
            error=message.error_detail.message[:MAX_REASON] if message.HasField("error_detail") else None,
            node=message.node if message.HasField("node") else None,
        )


def _sotw(message: Any, names: Names | None) -> SotwRequest:
    _check_length("version", (message.version_info,))
    return SotwRequest(
        type_url=TypeUrl(message.type_url),
        nonce=Nonce(message.response_nonce),
        version=message.version_info,
        names=names,
        error=message.error_detail.message[:MAX_REASON] if message.HasField("error_detail") else None,
        node=message.node if message.HasField("node") else None,
    )


def _texts(names: Sequence[str]) -> tuple[str, ...]:
    found = tuple(names)
    _check_length("name", found)
    return found


def _known_versions(known_versions: Mapping[str, str]) -> Mapping[str, str]:
    _check_length("name", known_versions)
    _check_length("version", known_versions.values())
    return known_versions


def _check_length(what: str, texts: Iterable[str]) -> None:
    if max(map(len, texts), default=0) > LONGEST_NAME:
        raise RequestLimitError(f"a {what} of more than {LONGEST_NAME:,} characters")


def _parse(kind: Kind, raw: bytes, found: Outline) -> Any:
    try:
        return kind.message.FromString(with_error_cut(raw, kind) if found.long_error else raw)
    except DecodeError as error:
        raise RequestError(f"the request is not a {kind.name}: {error}") from error


def _start_of_names(raw: bytes) -> int | None:
    """The position of the names, if they are where protobuf libraries write them."""
    at = 0
    for tag in (_VERSION, _NODE):
        if at < len(raw) and raw[at] == tag:
            read = read_varint(raw, at + 1)
            if read is None:
                return None
            length, at = read
            at += length
    return at if at < len(raw) and raw[at] == _NAMES else None


def _region(raw: bytes, start: int, end: int, type_url: str, names: Names) -> _Region:
    return _Region(end - start, _hash(raw, start, end), text(4, type_url), names)


def _hash(raw: bytes, start: int, end: int) -> int:
    return hash(memoryview(raw)[start:end])


def _without_names(raw: bytes, start: int, end: int) -> Any:
    """The request without the names between these positions; None if it has further names."""
    rest = raw[:start] + raw[end:]
    message = _parse(SOTW, rest, outline(rest, SOTW))
    return None if message.resource_names else message
