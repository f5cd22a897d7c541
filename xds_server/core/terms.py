"""The types of the values of annotations.

`values` reads them from text, and `translate` turns them into Envoy's configuration.
"""

from typing import Final, NamedTuple

MILLION: Final = 1_000_000
"""The denominator of shares, which is the largest that Envoy has."""


PRESERVE: Final = "preserve"
SHADOW_SUFFIX: Final = "shadow-suffix"


class PathPrefix(str):
    """A path prefix. A prefix that ends in ``/`` covers every path that begins with it. Any other covers
    itself and every path that continues it with a ``/``, so ``/api`` does not cover ``/apis``."""

    __slots__ = ()

    def covers(self, other: str) -> bool:
        """Whether this prefix covers every path that `other` covers."""
        if self.endswith("/"):
            return other.startswith(self)
        return other == self or other.startswith(self + "/")


class HeaderCondition(NamedTuple):
    """A header that a request has to have: with any value, or with exactly `value`."""

    name: str
    value: str | None = None


class Rewrite(NamedTuple):
    """Replaces the path prefix `old` by `new`. Of several, the longest prefix that covers the path counts."""

    old: PathPrefix
    new: str


class JsonPointer(NamedTuple):
    """A place in a JSON body: member names and array indices from the root. ``*`` matches any of them."""

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
    """An annotation that is in effect, as written. `origin` is its owner, `called` its name in messages."""

    name: str
    value: str
    origin: str
    called: str = ""
