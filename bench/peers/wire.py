"""Protobuf's wire format, as little of it as a cheap client needs. The load must cost less than the servers
that it loads, so a response's resources are never looked at: what is to be answered stands before or behind
them.

Own code, not the server's: a harness must not share what it measures.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_LENGTH_DELIMITED: Final = 2
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80

VERSION: Final = 1
_RESOURCES: Final = 2
_TYPE_URL: Final = 4
_NONCE: Final = 5
"""Fields of DiscoveryResponse and, by the same numbers, of DeltaDiscoveryResponse (discovery.proto)."""

_HEAD: Final = {VERSION, _TYPE_URL, _NONCE}
_TAIL_BYTES: Final = 4096


class Head(NamedTuple):
    """What an acknowledgement repeats of a response. `version` is that of the whole type."""

    type_url: bytes
    version: bytes
    nonce: bytes


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > _SEVEN_BITS:
        out.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(payload)) + payload


def head_of(raw: bytes, types: Sequence[bytes]) -> Head:
    """The head of a response of either variant.

    Raises:
        ValueError: it is no response, or of none of these types.
    """
    found: dict[int, bytes] = {}
    for number, start, end in _fields(raw, 0):
        if number == _RESOURCES:
            found |= _tail(raw, types) if not found.keys() >= _HEAD else {}
            found |= _all_but_resources(raw, end) if not found.keys() >= _HEAD else {}
            break
        found[number] = raw[start:end]
    head = Head(found.get(_TYPE_URL, b""), found.get(VERSION, b""), found.get(_NONCE, b""))
    if head.type_url not in types:
        raise ValueError(f"a response of type {head.type_url!r}")
    return head


def _tail(raw: bytes, types: Sequence[bytes]) -> dict[int, bytes]:
    """The fields behind the resources, found from the end; nothing if they are not where servers write
    them. A chance match inside a resource does not end where the response does."""
    for type_url in types:
        at = raw.rfind(field(_TYPE_URL, type_url), max(0, len(raw) - _TAIL_BYTES))
        if at < 0:
            continue
        try:
            return {number: raw[start:end] for number, start, end in _fields(raw, at)}
        except ValueError:
            continue
    return {}


def _all_but_resources(raw: bytes, at: int) -> dict[int, bytes]:
    return {number: raw[start:end] for number, start, end in _fields(raw, at) if number != _RESOURCES}


def _fields(raw: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the length-delimited fields from `at`; both messages have no other kind.

    Raises:
        ValueError: there is something else.
    """
    size = len(raw)
    while at < size:
        tag, at = read_varint(raw, at)
        length, start = read_varint(raw, at)
        at = start + length
        if tag & 7 != _LENGTH_DELIMITED or at > size:
            raise ValueError("not length-delimited fields alone")
        yield tag >> 3, start, at


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends.

    Raises:
        ValueError: it has no end.
    """
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        value |= (byte & _SEVEN_BITS) << shift
        if byte < _MORE:
            return value, at
        shift += 7
    raise ValueError("a number has no end")
