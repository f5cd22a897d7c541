"""Checks the size of a request from its bytes, before protobuf parses it.

An empty submessage takes two bytes on the wire and a hundred as an object. A request of 16 MiB could
therefore become a gigabyte of objects and take seconds. So the fields of a request are walked first, without
their contents. Names are counted, and all other fields together must be small. Only the message of a NACK may
be long, and it is truncated. Bytes that do not look like fields are left to protobuf's parser if there are
few of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.base.errors import RequestLimitError
from xds_server.xds.framing import field, read_varint

MAX_NAMES: Final = 200_000
"""How many names of one type a stream may subscribe to, whether they exist or not, and how many names one
request may have."""

LONGEST_NAME: Final = 2_048
"""The most characters of a name or a version. Names that do not exist are kept and sent back, too."""

MAX_OTHER_BYTES: Final = 256 * 1024
"""The most bytes of a request besides its names. An Envoy's ``node`` takes 60 KiB, and its metadata up to 64
KiB more."""

MAX_ERROR_BYTES: Final = 16 * 1024
"""An ``error_detail`` of more bytes is truncated to that many bytes of its message. Envoy sends at most 4,096
characters."""

_LENGTH_DELIMITED: Final = 2
_WIRE_TYPE: Final = 7
_ONE_BYTE: Final = 0x80
_FRAME_BYTES: Final = 2
"""The tag and length of a short field."""

_WIDEST: Final = 4
_ERROR_MESSAGE: Final = 2  # of google.rpc.Status
_LOOKED_AT: Final = 8
"""How many fields of an ``error_detail`` are searched for its message. Libraries write it second."""


class Kind(NamedTuple):
    """One kind of request, by the tags of its fields. `names` maps the tag of each field with names to its
    most bytes. `known_versions` is the tag of ``initial_resource_versions``; -1 if the kind has none."""

    message: Any
    type_url: int
    error: int
    names: Mapping[int, int]
    known_versions: int

    @property
    def name(self) -> str:
        """The name of the message in the protocol."""
        return str(self.message.DESCRIPTOR.name)


def _kind(message: Any, *names: str, known_versions: str = "") -> Kind:
    fields = message.DESCRIPTOR.fields_by_name
    tags = {name: each.number << 3 | _LENGTH_DELIMITED for name, each in fields.items()}
    most = {tags[name]: _WIDEST * LONGEST_NAME for name in names}
    if known_versions:  # a message with a name and a version
        most[tags[known_versions]] = 2 * _WIDEST * LONGEST_NAME + 4 * _FRAME_BYTES
    return Kind(message, tags["type_url"], tags["error_detail"], most, tags.get(known_versions, -1))


SOTW: Final = _kind(discovery_pb2.DiscoveryRequest, "resource_names")
DELTA: Final = _kind(
    discovery_pb2.DeltaDiscoveryRequest,
    "resource_names_subscribe",
    "resource_names_unsubscribe",
    known_versions="initial_resource_versions",
)


@dataclass(slots=True)
class Outline:
    """What was found in a request: its type, whether it has versions from an earlier stream, whether its
    error must be truncated, and how many bytes it has besides names and that error."""

    type_url: bytes = b""
    known_versions: bool = False
    long_error: bool = False
    other: int = 0


def outline(raw: bytes, kind: Kind) -> Outline:
    """The outline of a request.

    Raises:
        RequestLimitError: the request exceeds a limit.
    """
    found = Outline()
    names, known_versions = kind.names, kind.known_versions
    count = at = 0
    for tag, start, at in _fields(raw):
        if (most := names.get(tag)) is None:
            _look_at_other(found, kind, tag, raw[start:at])
            continue
        count += 1
        if at - start > most:
            raise RequestLimitError(f"a name of more than {LONGEST_NAME:,} characters")
        if count > MAX_NAMES:
            raise RequestLimitError(f"more than {MAX_NAMES:,} names in one request")
        if tag == known_versions:
            found.known_versions = True
    _add_other(found, len(raw) - at)
    return found


def _look_at_other(found: Outline, kind: Kind, tag: int, payload: bytes) -> None:
    if tag == kind.error and len(payload) > MAX_ERROR_BYTES:
        found.long_error = True
        return
    if tag == kind.type_url:
        found.type_url = payload
    _add_other(found, len(payload) + _FRAME_BYTES)


def _add_other(found: Outline, size: int) -> None:
    found.other += size
    if found.other > MAX_OTHER_BYTES:
        raise RequestLimitError(f"more than {MAX_OTHER_BYTES:,} bytes besides the names in one request")


def without(raw: bytes, tag: int) -> bytes:
    """The request without a field."""
    return _mapped(raw, tag, lambda _: b"")


def with_error_cut(raw: bytes, kind: Kind) -> bytes:
    """The request with a long ``error_detail`` truncated to the first bytes of its message."""
    return _mapped(raw, kind.error, lambda payload: field(kind.error >> 3, _cut(payload)))


def _cut(error: bytes) -> bytes:
    if len(error) <= MAX_ERROR_BYTES:
        return error
    for _, (tag, start, end) in zip(range(_LOOKED_AT), _fields(error), strict=False):
        if tag == _ERROR_MESSAGE << 3 | _LENGTH_DELIMITED:
            text = error[start : min(end, start + MAX_ERROR_BYTES)].decode(errors="ignore")
            return field(_ERROR_MESSAGE, text.encode())
    return b""


def _mapped(raw: bytes, tag: int, change: Callable[[bytes], bytes]) -> bytes:
    parts: list[bytes] = []
    before = at = 0
    for each, start, end in _fields(raw):
        if each == tag:
            parts += raw[before:at], change(raw[start:end])
            before = end
        at = end
    return b"".join((*parts, raw[before:]))


def _fields(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """The tag, start and end of each field's payload, up to the first field that is not length-delimited, has
    a large number, or is truncated."""
    at, length = 0, len(raw)
    while at + 1 < length:
        tag, size = raw[at], raw[at + 1]
        start = at + 2
        if size >= _ONE_BYTE:
            read = read_varint(raw, at + 1)
            if read is None:
                return
            size, start = read
        at = start + size
        if tag >= _ONE_BYTE or tag & _WIRE_TYPE != _LENGTH_DELIMITED or at > length:
            return
        yield tag, start, at
