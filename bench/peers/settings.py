"""Which sizes are compared, and how often."""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Final

_MANY_BYTES: Final = 1_000_000
"""Services times streams from which on a full first sync of all moves too many gigabytes."""

_MANY: Final = 100_000
"""The same, from which on few changes are enough."""

_COMMITS_OF_ONE: Final = 24


class Scenario(StrEnum):
    """What happens: all connect for the first time; one endpoint, one cluster changes; one label is put on a
    canary; all come back. The values are what people read."""

    FIRST = "first sync"
    ENDPOINT = "endpoint"
    CLUSTER = "cluster"
    LABEL = "label"
    RECONNECT = "reconnect"


CHANGES: Final = (Scenario.ENDPOINT, Scenario.CLUSTER, Scenario.LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One size in one variant. A round makes `commits` changes of each kind; `at_once` streams connect at a
    time. Without `syncs` connecting is not measured."""

    services: int
    streams: int
    variant: str
    rounds: int = 5
    commits: int = 6
    at_once: int = 1000
    syncs: bool = True


def quick() -> list[Setting]:
    """To see that the harness works."""
    return [
        Setting(services=20, streams=4, variant=variant, rounds=2, commits=2) for variant in ("delta", "sotw")
    ]


def usual() -> list[Setting]:
    """What fits into some minutes."""
    sizes = [(10, 1), (10, 100), (1_000, 1), (1_000, 100), (1_000, 500)]
    found = [_setting(*size, variant) for size, variant in product(sizes, ("delta", "sotw"))]
    others = [(100, 1, "delta"), (10_000, 1, "delta"), (10_000, 1, "sotw"), (10_000, 1_000, "delta")]
    return [*found, *(_setting(*size) for size in others)]


def full() -> list[Setting]:
    """Everything; an hour at least."""
    sizes = sorted([*product((10, 1_000, 10_000), (1, 100, 1_000)), (100, 1), (1_000, 500)])
    return [_setting(*size, variant) for size, variant in product(sizes, ("delta", "sotw"))]


def _setting(services: int, streams: int, variant: str) -> Setting:
    """More commits where one is cheap, so that it can be told from nothing; connecting in groups bounds what
    is under way at once."""
    size = Setting(services=services, streams=streams, variant=variant)
    work = services * streams
    if work > _MANY_BYTES:
        return replace(size, rounds=1, commits=1, at_once=20, syncs=False)
    if work > _MANY:
        return replace(size, commits=2)
    if streams == 1:
        return replace(size, commits=_COMMITS_OF_ONE)
    return size
