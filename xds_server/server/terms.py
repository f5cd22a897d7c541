"""Checks the terms of a verdict that somebody asks for: on the command line, over gRPC or HTTP. Pure."""

from typing import Final

from xds_server.base.errors import UsageError
from xds_server.base.text import shown
from xds_server.core.verdict.judgement import Terms

_LEAST: Final = 1e-9
_MOST: Final = 0.5
_MOST_PAIRS: Final = 1_000_000_000


def terms(alpha: float, tolerance: float, min_pairs: int) -> Terms:
    """The terms with these values.

    Raises:
        UsageError: a value is out of range.
    """
    for name, value in (("alpha", alpha), ("tolerance", tolerance)):
        if not _LEAST <= value <= _MOST:  # also NaN
            raise UsageError(f"{name} {value:g} is not between {_LEAST:g} and {_MOST:g}; 0.1% is 0.001")
    if not 0 <= min_pairs <= _MOST_PAIRS:
        raise UsageError(f"min-pairs {min_pairs} is not between 0 and {_MOST_PAIRS}")
    return Terms(alpha=alpha, tolerance=tolerance, min_pairs=min_pairs)


def share(text: str, name: str) -> float:
    """The value of ``0.1%`` or ``0.001``.

    Raises:
        UsageError: the text has another form. The message begins with `name`.
    """
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"{name} {shown(text)} is not a share such as 0.1% or 0.001") from None
    return value / 100 if percent else value
