"""What a platform team allows: bounds on annotations, from a Namespace or for the whole installation.

A shadow that asks for more is refused. One that says nothing gets the smaller of the default and the bound,
as a LimitRange does it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from xds_server.shadows import values
from xds_server.shadows.terms import PRESERVE, PathPrefix, SecretKey
from xds_server.shadows.values import PolicyError


class NotAllowedError(PolicyError):
    """The annotation is understood, and more than is allowed."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on the annotation `of`: `read` understands it, `limited` gives the value that holds under it
    (`said` is whether a shadow or a default asks for the value) and raises `NotAllowedError`."""

    of: str
    read: Callable[[str], Any]
    limited: Callable[[Any, bool, Any], Any]


def _at_most(value: Any, said: bool, most: Any) -> Any:  # noqa: FBT001 - the shape of `Bound.limited`
    if value is not None and value <= most:
        return value
    if said:
        raise NotAllowedError("more than is allowed: {bound}")
    return most


def _methods(value: frozenset[str] | None, said: bool, allowed: frozenset[str]) -> frozenset[str]:  # noqa: FBT001
    if value is None:
        return allowed
    if said and value - allowed:
        raise NotAllowedError(f"{', '.join(sorted(value - allowed))} is not allowed; allowed are {{bound}}")
    return value & allowed or _nothing()


def _paths(
    value: frozenset[PathPrefix],
    said: bool,  # noqa: FBT001
    allowed: frozenset[PathPrefix],
) -> frozenset[PathPrefix]:
    if not value:
        return allowed
    outside = sorted(path for path in value if not any(each.covers(path) for each in allowed))
    if said and outside:
        raise NotAllowedError(f"{outside[0]} is not under what is allowed: {{bound}}")
    narrower = {each for each in allowed if any(path.covers(each) for path in value)}
    return frozenset(value.difference(outside) | narrower) or _nothing()


def _nothing() -> Any:
    raise NotAllowedError("with {bound} nothing is left that is allowed")


def _headers(value: tuple[tuple[str, str], ...], said: bool, allowed: frozenset[str]) -> Any:  # noqa: FBT001
    for name, _ in value:
        if said and name not in allowed:
            raise NotAllowedError(f"the header {name} is not allowed; allowed are {{bound}}")
    return value


def _secrets(value: SecretKey | None, said: bool, allowed: frozenset[str]) -> SecretKey | None:  # noqa: FBT001
    if value and said and allowed.isdisjoint({value.name, str(value).lower()}):
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


def _host(value: str, said: bool, allowed: frozenset[str]) -> str:  # noqa: FBT001
    if said and value != PRESERVE and value not in allowed:
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


BOUNDS: Final[Mapping[str, Bound]] = {
    "credential-from-secret-allowed": Bound("credential-from-secret", values.names, _secrets),
    "host-allowed": Bound("host", values.names, _host),
    "max-body-max": Bound("max-body", values.size, _at_most),
    "max-concurrent-max": Bound("max-concurrent", values.concurrent, _at_most),
    "max-rps-max": Bound("max-rps", values.rps, _at_most),
    "methods-allowed": Bound("methods", values.methods, _methods),
    "paths-allowed": Bound("paths", values.paths, _paths),
    "percent-max": Bound("percent", values.percent, _at_most),
    "set-headers-allowed": Bound("set-headers", values.names, _headers),
    "timeout-max": Bound("timeout", values.duration_ms, _at_most),
}
"""By the name of the annotation that sets it."""
