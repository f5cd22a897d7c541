"""Bodies of responses as text: decompressed, and parsed where they are JSON.

A body comes from a tenant's application, so it may be a decompression bomb, or nested deeply, or a million
values. The work on one body is bounded: `MOST_BYTES` before and after decompression, and `MOST_VALUES`.
"""

import re
import zlib
from enum import StrEnum
from typing import Final, NamedTuple

import brotli
import msgspec

from xds_server.base.sizes import MIB

MOST_BYTES: Final = MIB
MOST_VALUES: Final = 100_000

_JSON: Final = re.compile(r"[\w.+-]+/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)
_LONG_NUMBER: Final = re.compile(rb"(?<![0-9])[0-9]{400}")
"""To read and write an integer takes time by the square of its digits."""

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_IDENTITY: Final = frozenset(("", "identity"))


class Skipped(StrEnum):
    """Why bodies are not compared. Stable: scripts match on these."""

    TOO_LARGE = "too large"
    TOO_MANY_VALUES = "too many values"
    ENCODING = "unknown encoding"
    STATUS = "different status"
    INCOMPLETE = "incomplete"
    BUSY = "busy"


class Body(NamedTuple):
    """The body of a response as the backend sent it, with the headers that describe it."""

    data: bytes
    content_type: str = ""
    encoding: str = ""


class Content(NamedTuple):
    """A decompressed body. `value` is what its JSON means; it counts only if `json` is set."""

    data: bytes
    json: bool = False
    value: object = None


def content_of(body: Body) -> Content | Skipped:
    """Decompress and parse a body. What is corrupt, no JSON, or has a number of hundreds of digits, stays
    bytes."""
    if len(body.data) > MOST_BYTES:
        return Skipped.TOO_LARGE
    encoding = body.encoding.strip().lower()
    if encoding in _IDENTITY:
        data = body.data
    elif encoding in ("gzip", "x-gzip", "deflate", "br"):
        data = _decompressed(body.data, encoding)
    else:
        return Skipped.ENCODING
    if len(data) > MOST_BYTES:
        return Skipped.TOO_LARGE
    if not _JSON.fullmatch(body.content_type.strip()) or _LONG_NUMBER.search(data):
        return Content(data)
    # Each value but the first follows one of these. Strings may contain them, so this is an upper bound.
    if data.count(b",") + data.count(b"[") + data.count(b"{") >= MOST_VALUES:
        return Skipped.TOO_MANY_VALUES
    return _parsed(data)


def _decompressed(data: bytes, encoding: str) -> bytes:
    """The first bytes of the content, at least one more than `MOST_BYTES` if there are more."""
    # Some servers call raw deflate data "deflate", others a zlib stream, as RFC 9110 does.
    raw = encoding == "deflate" and not _is_zlib(data)
    try:
        if encoding == "br":
            brotli_stream = brotli.Decompressor()
            found = brotli_stream.process(data, output_buffer_limit=MOST_BYTES + 1)
            complete = brotli_stream.is_finished()
        else:
            stream = zlib.decompressobj(-zlib.MAX_WBITS if raw else _GZIP_OR_ZLIB)
            found = stream.decompress(data, MOST_BYTES + 1)
            complete = stream.eof
    except (zlib.error, brotli.error):
        return data
    return found if complete or len(found) > MOST_BYTES else data


def _is_zlib(data: bytes) -> bool:
    """Whether the data has the two bytes with which RFC 1950 begins."""
    return len(data) > 1 and data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0


def _parsed(data: bytes) -> Content:
    try:
        return Content(data, json=True, value=msgspec.json.decode(data))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Content(data)
