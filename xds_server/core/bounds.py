"""What a platform team allows and requires: bounds on annotations, from a Namespace or for the whole
installation.

A shadow that asks for more is rejected. One that says nothing gets the smaller of the default and the bound,
as a LimitRange does it. What is required is added to what a shadow says, whatever that is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from xds_server.base.dns import SUBDOMAIN
from xds_server.base.text import shown
from xds_server.core import quantities, values
from xds_server.core.terms import PRESERVE, FormField, JsonPointer, PathPrefix, SecretKey
from xds_server.core.values import PolicyError

NONE: Final = "none"
"""The entry of a list that allows nothing."""

ENDPOINTS_ALLOWED: Final = "endpoints-from-allowed"
REMOVED: Final = "remove-headers-required"

_SECRET: Final = re.compile(rf"{SUBDOMAIN}\Z")


class NotAllowedError(PolicyError):
    """The annotation is understood, and more than is allowed."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on the annotation `of`: `read` understands it, `limited` gives the value that holds under it
    (`said` is whether a shadow or a default asks for the value) and raises `NotAllowedError`. What `adds` is
    a setting besides the one that it is added to."""

    of: str
    read: Callable[[str], Any]
    limited: Callable[[Any, bool, Any], Any]
    adds: bool = False


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
    if value and said and allowed.isdisjoint({value.name, str(value)}):
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


def _host(value: str, said: bool, allowed: frozenset[str]) -> str:  # noqa: FBT001
    if said and value != PRESERVE and value not in allowed:
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


def _service(value: str | None, said: bool, allowed: frozenset[str]) -> str | None:  # noqa: FBT001
    if value and said and value not in allowed:
        raise NotAllowedError(f"Service {value} is not allowed; allowed are {{bound}}")
    return value


def _with_headers(value: tuple[str, ...], said: bool, required: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001, FBT001
    both = tuple(sorted({*value, *required}))
    _no_more(len(both), values.MAX_HEADERS, "headers")
    return both


def _with_redactions(
    value: tuple[JsonPointer | FormField, ...],
    said: bool,  # noqa: ARG001, FBT001
    required: tuple[JsonPointer | FormField, ...],
) -> tuple[JsonPointer | FormField, ...]:
    both = values.in_order({*value, *required})
    _no_more(len(both), values.MAX_REDACTIONS, "places")
    return both


def _with_paths(
    value: frozenset[PathPrefix],
    said: bool,  # noqa: ARG001, FBT001
    required: frozenset[PathPrefix],
) -> frozenset[PathPrefix]:
    _no_more(len(value | required), values.MAX_PATHS, "paths")
    return value | required


def _no_more(count: int, most: int, what: str) -> None:
    if count > most:
        raise NotAllowedError(f"with {{bound}} it lists {count} {what}, and {most} are the most")


def names(value: str) -> frozenset[str]:
    """A list of what is allowed and is written in small letters."""
    found = frozenset(entry.lower() for entry in values.entries(value))
    if "" in found:
        raise PolicyError("there is an empty entry; write a list separated by commas")
    return found


def secrets(value: str) -> frozenset[str]:
    """Secrets, with all of their keys or one of them. Keys differ in case alone, so they are as written."""
    found = frozenset(values.entries(value)) - {NONE}
    for entry in sorted(found):
        if not (_SECRET.match(entry) or values.SECRET_KEY.match(entry)):
            raise PolicyError(f"{shown(entry)} names no Secret; write a list of NAME and NAME/KEY, or {NONE}")
    return found


def services(value: str) -> frozenset[str]:
    """Names of Services."""
    return frozenset(values.service(entry) for entry in sorted(set(values.entries(value)) - {NONE}))


BOUNDS: Final[Mapping[str, Bound]] = {
    "credential-from-secret-allowed": Bound("credential-from-secret", secrets, _secrets),
    ENDPOINTS_ALLOWED: Bound("endpoints-from", services, _service),
    "exclude-paths-required": Bound("exclude-paths", values.paths, _with_paths, adds=True),
    "host-allowed": Bound("host", names, _host),
    "max-body-max": Bound("max-body", quantities.size, _at_most),
    "max-concurrent-max": Bound("max-concurrent", quantities.concurrent, _at_most),
    "max-rps-max": Bound("max-rps", quantities.rps, _at_most),
    "methods-allowed": Bound("methods", values.methods, _methods),
    "paths-allowed": Bound("paths", values.paths, _paths),
    "percent-max": Bound("percent", quantities.percent, _at_most),
    "redact-required": Bound("redact", values.redactions, _with_redactions, adds=True),
    REMOVED: Bound("remove-headers", values.header_names, _with_headers, adds=True),
    "set-headers-allowed": Bound("set-headers", names, _headers),
    "timeout-max": Bound("timeout", quantities.duration_ms, _at_most),
    "until-max": Bound("until", quantities.time, _at_most),
}
"""By the name of the annotation that sets it."""

BOUNDS_OF: Final[Mapping[str, Mapping[str, Bound]]] = {
    of: {key: bound for key, bound in BOUNDS.items() if bound.of == of}
    for of in {bound.of for bound in BOUNDS.values()}
}
"""By the annotation that they are on."""
