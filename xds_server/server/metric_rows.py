"""The two kinds of rows in the table of metrics."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from xds_server.base.latency import BOUNDS_S, Latency
from xds_server.server.facts import Facts

Label = str | tuple[str, ...]
"""The name of a label, or "" if there is none; several names as a tuple. So are their values."""


class Row(NamedTuple):
    """A counter if the name ends in ``_total``, otherwise a gauge. `read` returns the value for each value of
    the label, or for "" if there is no label."""

    name: str
    help: str
    label: Label
    read: Callable[[Facts], Mapping[str, float] | Mapping[tuple[str, ...], float]]


class Buckets(NamedTuple):
    """Durations as in `Latency`, without their sum."""

    counts: tuple[int, ...]
    total_s: None = None


class Histogram(NamedTuple):
    """A histogram, whose buckets have the upper bounds `bounds`, in seconds."""

    name: str
    help: str
    label: Label
    read: Callable[[Facts], Mapping[str, Latency] | Mapping[tuple[str, ...], Buckets]]
    bounds: tuple[float, ...] = BOUNDS_S
