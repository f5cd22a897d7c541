"""Protobuf's length-delimited framing, written by hand.

A repeated submessage is the concatenation of its encoded fields, so a response is joined from pieces that
were serialized once (protobuf.dev, "Encoding", last-one-wins and concatenation). Property tests compare the
results with protobuf's own parser.
"""

from functools import lru_cache

_WIRE_TYPE_LEN = 2
_SEVEN_BITS = 0x7F
_MORE = 0x80
_ONE_BYTE = tuple(bytes((value,)) for value in range(_SEVEN_BITS + 1))
_VARINT_BITS = 35
_HEADS = 8192
"""Heads that are cached. Most payloads have one of few lengths."""


def field(number: int, payload: bytes) -> bytes:
    """`payload` as the length-delimited field `number` (a message, bytes or a string)."""
    return _head(number, len(payload)) + payload


def text(number: int, value: str) -> bytes:
    """A string field; empty bytes for the empty string, because proto3 omits default values."""
    return field(number, value.encode()) if value else b""


@lru_cache(_HEADS)
def _head(number: int, length: int) -> bytes:
    """The tag and the length that precede a payload."""
    return _varint(number << 3 | _WIRE_TYPE_LEN) + _varint(length)


def number(field_number: int, value: int) -> bytes:
    """An unsigned integer field; empty bytes for 0, because proto3 omits default values."""
    return _varint(field_number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    if value <= _SEVEN_BITS:  # nearly always true
        return _ONE_BYTE[value]
    out = bytearray()
    while value > _SEVEN_BITS:
        out.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(raw: bytes, at: int) -> tuple[int, int] | None:
    """The varint at `at` and the position after it; None if there is no varint of at most 32 bits."""
    value = shift = 0
    while at < len(raw) and shift < _VARINT_BITS:
        byte = raw[at]
        at += 1
        value |= (byte & _SEVEN_BITS) << shift
        if byte < _MORE:
            return value, at
        shift += 7
    return None
