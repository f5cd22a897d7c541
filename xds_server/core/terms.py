"""The types of the values of annotations.

They know neither how a text becomes one (`values`) nor what Envoy is sent for one (`translate`).
"""

from typing import Final, NamedTuple

MILLION: Final = 1_000_000
"""The denominator of shares, the finest that Envoy samples."""


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


class Setting(NamedTuple):
    """One annotation in effect, as written, and whose it is."""

    name: str
    value: str
    origin: str
