"""What a policy consists of, as values: which requests are copied, how many of them, what becomes of a copy.

Knows neither the annotations that say so (`policy`) nor the Envoy configuration that does it (`translate`).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from xds_server.base.sizes import MIB

MILLION: Final = 1_000_000
"""Shares are counted out of a million, the finest that Envoy samples."""


PRESERVE: Final = "preserve"
SHADOW_SUFFIX: Final = "shadow-suffix"


class PathPrefix(str):
    """A path prefix. One that ends in ``/`` covers what begins with it; any other covers itself and what
    follows it after a ``/``, so that ``/api`` does not cover ``/apis``."""

    __slots__ = ()

    def covers(self, other: str) -> bool:
        """Whether everything that `other` covers is covered by this one too."""
        if self.endswith("/"):
            return other.startswith(self)
        return other == self or other.startswith(self + "/")


class HeaderCondition(NamedTuple):
    """A header that a request has: any value, or where `value` is given exactly this one."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which requests are copied: by one of `methods` (None: any), under one of `paths` (none: any) and none
    of `exclude_paths`, with all of `headers`."""

    methods: frozenset[str] | None = None
    paths: frozenset[PathPrefix] = frozenset()
    exclude_paths: frozenset[PathPrefix] = frozenset()
    headers: frozenset[HeaderCondition] = frozenset()


EVERYTHING: Final = Selection()


class Rewrite(NamedTuple):
    """The path prefix `old` becomes `new`; of several the longest that covers the path."""

    old: PathPrefix
    new: str


class JsonPointer(NamedTuple):
    """A place in a JSON body: member names and array indices from the root; ``*`` stands for every one."""

    steps: tuple[str, ...]


class FormField(NamedTuple):
    """A field of a form body."""

    name: str


class SecretKey(NamedTuple):
    """One key of a Secret of the canary's own namespace."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.name}/{self.key}"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of a copy. `max_body` is in bytes, `timeout_ms` bounds the whole copy, `max_rps` (None: no
    bound) is per Envoy worker."""

    set_headers: tuple[tuple[str, str], ...] = ()
    remove_headers: tuple[str, ...] = ()
    host: str = PRESERVE
    rewrites: tuple[Rewrite, ...] = ()
    redactions: tuple[JsonPointer | FormField, ...] = ()
    timeout_ms: int = 10_000
    max_concurrent: int = 100
    max_rps: int | None = None
    max_body: int = MIB


UNTREATED: Final = Treatment()


class Setting(NamedTuple):
    """One annotation in effect, as written, and whose it is."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one shadow. `per_million` is 0 to 1,000,000; `until` is in seconds since 1970.
    `settings` are the annotations that it was made of."""

    selection: Selection = EVERYTHING
    treatment: Treatment = UNTREATED
    per_million: int = MILLION
    correlated: bool = False
    credential: SecretKey | None = None
    paused: bool = False
    until: float | None = None
    endpoints_from: str | None = None
    settings: tuple[Setting, ...] = ()

    @property
    def percent(self) -> str:
        """`per_million` as a person writes it: ``25``, ``0.5``."""
        whole, rest = divmod(self.per_million, 10_000)
        return f"{whole}.{rest:04d}".rstrip("0") if rest else str(whole)
