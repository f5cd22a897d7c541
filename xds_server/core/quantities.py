"""Reads values of annotations that are numbers: shares, durations, sizes, counts, times."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

from xds_server.base.sizes import MIB
from xds_server.base.text import shown
from xds_server.core.terms import MILLION
from xds_server.core.values import PolicyError

MIN_TIMEOUT_MS: Final = 10
MAX_TIMEOUT_S: Final = 600
MAX_BODY: Final = 64 * MIB
MAX_CONCURRENT: Final = 10_000
MAX_RPS: Final = 1_000_000

_PERCENT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,10})?\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,9}\Z")
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m)\Z")
_SIZE: Final = re.compile(r"([0-9]{1,12})(Ki|Mi|k|M)?\Z")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)


def percent(value: str) -> int:
    """0 to 100 as millionths."""
    wanted = f"{shown(value)} is not a percentage; write a number from 0 to 100 such as 25 or 0.5"
    if not _PERCENT.match(value):
        raise PolicyError(wanted)
    per_million = Decimal(value) * (MILLION // 100)
    if per_million > MILLION:
        raise PolicyError(wanted)
    if per_million != per_million.to_integral_value():
        raise PolicyError(
            f"{shown(value)} is finer than 0.0001, the smallest percentage that Envoy can sample"
        )
    return int(per_million)


def duration_ms(value: str) -> int:
    match = _DURATION.match(value)
    wanted = f"{shown(value)} is not a duration from 10ms to {MAX_TIMEOUT_S // 60}m; write 500ms, 10s or 1m"
    if not match:
        raise PolicyError(wanted)
    millis = Decimal(match.group(1)) * {"ms": 1, "s": 1000, "m": 60_000}[match.group(2)]
    if millis != millis.to_integral_value() or not MIN_TIMEOUT_MS <= millis <= MAX_TIMEOUT_S * 1000:
        raise PolicyError(wanted)
    return int(millis)


def size(value: str, most: int = MAX_BODY, least: int = 1) -> int:
    """Bytes."""
    match = _SIZE.match(value)
    factors = {None: 1, "Ki": 1024, "Mi": MIB, "k": 1000, "M": 1_000_000}
    found = int(match.group(1)) * factors[match.group(2)] if match else 0
    if not least <= found <= most:
        raise PolicyError(
            f"{shown(value)} is not a size from {_size(least)} to {_size(most)}; write 512Ki, 1Mi or a number"
            " of bytes"
        )
    return found


def _size(size: int) -> str:
    if size >= MIB:
        return f"{size // MIB}Mi"
    return f"{size // 1024}Ki" if size >= 1024 else str(size)  # noqa: PLR2004 - a Ki


def concurrent(value: str) -> int:
    return number(value, MAX_CONCURRENT)


def rps(value: str) -> int:
    return number(value, MAX_RPS)


def number(value: str, most: int) -> int:
    if not _NUMBER.match(value) or not 1 <= int(value) <= most:
        raise PolicyError(f"{shown(value)} is not a number from 1 to {most}")
    return int(value)


def time(value: str) -> float:
    """RFC 3339, as seconds since 1970."""
    wanted = (
        f"{shown(value)} is not a time; write it like 2030-01-31T18:00:00Z, with Z or an offset (RFC 3339)"
    )
    if not _TIME.match(value):
        raise PolicyError(wanted)
    try:
        return datetime.fromisoformat(value.upper()).timestamp()
    except ValueError:  # the 30th of February
        raise PolicyError(wanted) from None
