"""Decodes request bodies in Kubernetes' protobuf encoding, which ``kubectl create deployment`` and similar
commands send. Pure.

Only the messages in `protobuf_fields` are supported. An unknown field with a value is an error, because an
object must not be stored without a part of what its author wrote. The envelope is described in "Kubernetes
API Concepts".
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from xds_server.local.kubeapi.codec import UnreadableError
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.protobuf_fields import MESSAGES

CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"

_MAGIC: Final = b"k8s\x00"
_DEEPEST: Final = 50
_LONGEST_VARINT: Final = 10


def read(data: bytes) -> Doc:
    """The object in an envelope. Raises `UnreadableError`."""
    if not data.startswith(_MAGIC):
        raise UnreadableError("protobuf without the envelope of Kubernetes")
    envelope = dict(_wire(data[len(_MAGIC) :]))
    about = _message("TypeMeta", _part(envelope, 1), 0)
    kind = str(about.get("kind"))
    if kind not in MESSAGES:
        raise UnreadableError(f"a {kind} is not read from protobuf; send JSON")
    return about | _message(kind, _part(envelope, 2), 0)


def _part(message: Mapping[int, int | bytes], number: int) -> bytes:
    found = message.get(number, b"")
    return found if isinstance(found, bytes) else b""


def _message(kind: str, data: bytes, depth: int) -> Doc:
    if depth > _DEEPEST:
        raise UnreadableError("nested too deep")
    doc: Doc = {}
    for number, raw in _wire(data):
        field = MESSAGES[kind].get(number)
        if field is None:
            if _says_something(raw):
                raise UnreadableError(f"field {number} of {kind} is not read from protobuf; send JSON")
        elif field.keyed:
            key, value = _pair(field.kind, raw)
            doc.setdefault(field.name, {})[key] = value
        elif field.many:
            doc.setdefault(field.name, []).append(_value(field.kind, raw, depth))
        else:
            value = _value(field.kind, raw, depth)
            if field.zero or value not in ("", 0, False, None, {}):
                doc[field.name] = value
    return doc


def _says_something(raw: int | bytes) -> bool:
    """Go also writes fields with zero values, so an unknown field may be zero, or a message of zeros."""
    if isinstance(raw, int):
        return raw != 0
    try:
        return any(_says_something(each) for _, each in _wire(raw))
    except UnreadableError:
        return True


def _pair(kind: str, raw: int | bytes) -> tuple[str, Any]:
    parts = dict(_wire(raw)) if isinstance(raw, bytes) else {}
    return _text(parts.get(1, b"")), _value(kind, parts.get(2, b""), 0)


def _value(kind: str, raw: int | bytes, depth: int) -> Any:
    read_scalar = _SCALARS.get(kind)
    if read_scalar:
        return read_scalar(raw)
    if not isinstance(raw, bytes):
        raise UnreadableError(f"a number where a {kind} was expected")
    return _message(kind, raw, depth + 1)


# --- scalars, and messages that are scalars in JSON ----------------------------------------------------


def _text(raw: int | bytes) -> str:
    try:
        return bytes(raw).decode() if isinstance(raw, bytes) else _mismatch("text")
    except UnicodeDecodeError as error:
        raise UnreadableError(str(error)) from error


def _bytes(raw: int | bytes) -> str:
    return base64.b64encode(raw).decode() if isinstance(raw, bytes) else _mismatch("bytes")


def _int(raw: int | bytes) -> int:
    """A varint has negative numbers as 64 bits of two's complement."""
    if isinstance(raw, bytes):
        return int(_mismatch("a number"))
    return raw - (1 << 64) if raw >> 63 else raw


def _flag(raw: int | bytes) -> bool:
    return bool(_int(raw))


def _quantity(raw: int | bytes) -> str:
    return _text(dict(_wire(raw)).get(1, b"")) if isinstance(raw, bytes) else _mismatch("a quantity")


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(_wire(raw)) if isinstance(raw, bytes) else {}
    return _text(parts.get(3, b"")) if parts.get(1) else _int(parts.get(2, 0))


def _mismatch(expected: str) -> str:
    raise UnreadableError(f"a field is not {expected}")


_SCALARS: Final[Mapping[str, Callable[[int | bytes], Any]]] = {
    "text": _text,
    "bytes": _bytes,
    "int": _int,
    "flag": _flag,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
}


# --- the wire format -----------------------------------------------------------------------------------


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The undecoded fields of a message: numbers as integers, everything else as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        size = 0
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case other:
                raise UnreadableError(f"wire type {other} at byte {at}")
        if at + size > len(data):
            raise UnreadableError(f"cut off at byte {at}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  the last byte of a varint has no high bit
            return value, at + index + 1
    raise UnreadableError(f"cut off at byte {at}")
