"""Applies the bounds that a Namespace or the policy file sets on annotations.

Bounds work like a LimitRange. A shadow that asks for more than a bound is rejected. A shadow without the
annotation gets the smaller of the default and the bound. The values that a bound requires are added to a
shadow's own.
"""

import re
from typing import Any, Final

from xds_server.base.dns import SUBDOMAIN
from xds_server.base.text import shown
from xds_server.core import values
from xds_server.core.terms import PRESERVE, FormField, JsonPointer, PathPrefix, SecretKey
from xds_server.core.values import PolicyError

NONE: Final = "none"
"""The entry of a list that allows nothing."""

_SECRET: Final = re.compile(rf"{SUBDOMAIN}\Z")


class NotAllowedError(PolicyError):
    """The value is valid, and more than a bound allows."""


def at_most(value: Any, explicit: bool, most: Any) -> Any:  # noqa: FBT001 - the shape of `rows.Bound.limited`
    if value is not None and value <= most:
        return value
    if explicit:
        raise NotAllowedError("the maximum is {bound}")
    return most


def permitted(value: bool, explicit: bool, allowed: bool) -> bool:  # noqa: ARG001, FBT001
    if value and not allowed:
        raise NotAllowedError("the bound is {bound}")
    return value


def methods_allowed(value: frozenset[str] | None, explicit: bool, allowed: frozenset[str]) -> frozenset[str]:  # noqa: FBT001
    if value is None:
        return allowed
    if explicit and value - allowed:
        raise NotAllowedError(f"{', '.join(sorted(value - allowed))} is not allowed; allowed are {{bound}}")
    return value & allowed or _nothing()


def paths_allowed(
    value: frozenset[PathPrefix],
    explicit: bool,  # noqa: FBT001
    allowed: frozenset[PathPrefix],
) -> frozenset[PathPrefix]:
    if not value:
        return allowed
    outside = sorted(path for path in value if not any(each.covers(path) for each in allowed))
    if explicit and outside:
        raise NotAllowedError(f"{outside[0]} is not under what is allowed: {{bound}}")
    narrower = {each for each in allowed if any(path.covers(each) for path in value)}
    return frozenset(value.difference(outside) | narrower) or _nothing()


def _nothing() -> Any:
    raise NotAllowedError("with {bound} nothing is left that is allowed")


def headers_allowed(value: tuple[tuple[str, str], ...], explicit: bool, allowed: frozenset[str]) -> Any:  # noqa: FBT001
    for name, _ in value:
        if explicit and name not in allowed:
            raise NotAllowedError(f"the header {name} is not allowed; allowed are {{bound}}")
    return value


def secret_allowed(value: SecretKey | None, explicit: bool, allowed: frozenset[str]) -> SecretKey | None:  # noqa: FBT001
    if value and explicit and allowed.isdisjoint({value.name, str(value)}):
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


def host_allowed(value: str, explicit: bool, allowed: frozenset[str]) -> str:  # noqa: FBT001
    if explicit and value != PRESERVE and value not in allowed:
        raise NotAllowedError(f"{value} is not allowed; allowed are {{bound}}")
    return value


def service_allowed(value: str | None, explicit: bool, allowed: frozenset[str]) -> str | None:  # noqa: FBT001
    if value and explicit and value not in allowed:
        raise NotAllowedError(f"Service {value} is not allowed; allowed are {{bound}}")
    return value


def with_headers(value: tuple[str, ...], explicit: bool, required: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001, FBT001
    both = tuple(sorted({*value, *required}))
    _no_more(len(both), values.MAX_HEADERS, "headers")
    return both


def with_redactions(
    value: tuple[JsonPointer | FormField, ...],
    explicit: bool,  # noqa: ARG001, FBT001
    required: tuple[JsonPointer | FormField, ...],
) -> tuple[JsonPointer | FormField, ...]:
    both = values.in_order({*value, *required})
    _no_more(len(both), values.MAX_REDACTIONS, "places")
    return both


def with_paths(
    value: frozenset[PathPrefix],
    explicit: bool,  # noqa: ARG001, FBT001
    required: frozenset[PathPrefix],
) -> frozenset[PathPrefix]:
    _no_more(len(value | required), values.MAX_PATHS, "paths")
    return value | required


def _no_more(count: int, most: int, what: str) -> None:
    if count > most:
        raise NotAllowedError(f"with {{bound}} it lists {count} {what}; the maximum is {most}")


def names(value: str) -> frozenset[str]:
    """The allowed values, in lower case."""
    found = frozenset(entry.lower() for entry in values.entries(value))
    if "" in found:
        raise PolicyError("there is an empty entry; write a list separated by commas")
    return found


def secrets(value: str) -> frozenset[str]:
    """Secrets, with all of their keys or one of them. The case of keys matters."""
    found = frozenset(values.entries(value)) - {NONE}
    for entry in sorted(found):
        if not (_SECRET.match(entry) or values.SECRET_KEY.match(entry)):
            raise PolicyError(f"{shown(entry)} is not a Secret; write a list of NAME and NAME/KEY, or {NONE}")
    return found


def services(value: str) -> frozenset[str]:
    """Names of Services."""
    return frozenset(values.service(entry) for entry in sorted(set(values.entries(value)) - {NONE}))


def suffix(entry: str) -> str:
    """The domain of an entry. ``*.example.com`` and ``example.com`` mean the same: the domain with its
    subdomains."""
    return entry.removeprefix("*.")


def suffixes(value: str) -> frozenset[str]:
    """The allowed hosts, each with its subdomains."""
    found = frozenset(map(suffix, names(value) - {NONE}))
    for entry in sorted(found):
        if not values.is_host_name(entry):
            raise PolicyError(
                f"{shown(entry)} is not a host; write a list such as example.com,app.example.org, each of"
                f" which allows its subdomains too, or {NONE}"
            )
    return found
