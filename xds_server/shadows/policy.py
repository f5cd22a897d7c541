"""Reads a canary's annotations. A policy is understood whole or refused: an unknown or malformed annotation
means no mirroring, never a guess, as a typo in a limit must not mirror without it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from xds_server.model.objects import PREFIX
from xds_server.shadows.plan import MILLION, Policy

# RFC 9110 tokens in capitals; CONNECT never reaches a mirror (Envoy skips it).
_ENDPOINTS_FROM = "endpoints-from"
_METHOD = re.compile(r"[A-Z][A-Z0-9-]{0,31}\Z")
_SERVICE = re.compile(r"service/([a-z]([-a-z0-9]{0,61}[a-z0-9])?)\Z")
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,10})?\Z")
MAX_METHODS = 16
"""Each is a route of its own, and one for each combination of sampled canaries."""

_SHOWN = 60
"""How much of a bad value a message repeats, in characters."""


class PolicyError(ValueError):
    """Says which annotation is wrong and what to write instead; never leaves this package."""


def parse_policy(annotations: Mapping[str, str]) -> Policy:
    """The policy of a Deployment with these `annotations` (those of other prefixes are ignored).

    Raises:
        PolicyError: for the first annotation, by name, that cannot be understood.
    """
    policy = Policy()
    for key in sorted(annotations):
        if not key.startswith(PREFIX):
            continue
        read = _READERS.get(key.removeprefix(PREFIX))
        if read is None:
            known = ", ".join(PREFIX + name for name in sorted(_READERS))
            raise PolicyError(f"annotation {key} is not known here; known are {known}")
        try:
            policy = read(policy, annotations[key].strip())
        except PolicyError as error:
            raise PolicyError(f"annotation {key}: {error}") from None
    return policy


def endpoints_source(annotations: Mapping[str, str]) -> str | None:
    """The Service that a canary's endpoints come from, also where the rest of its policy is refused: it says
    what is to be kept out of live traffic."""
    value = annotations.get(PREFIX + _ENDPOINTS_FROM)
    match = _SERVICE.match(value.strip()) if value is not None else None
    return match.group(1) if match else None


def shown(value: str) -> str:
    """`value` quoted for a message, cut where it is long."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


def _percent(policy: Policy, value: str) -> Policy:
    wanted = f"{shown(value)} is not a percentage; write a number from 0 to 100 such as 25 or 0.5"
    if not _PERCENT.match(value):
        raise PolicyError(wanted)
    per_million = Decimal(value) * (MILLION // 100)
    if per_million > MILLION:
        raise PolicyError(wanted)
    if per_million != per_million.to_integral_value():
        raise PolicyError(f"{shown(value)} is finer than 0.0001, the finest share that Envoy can sample")
    return replace(policy, per_million=int(per_million))


def _methods(policy: Policy, value: str) -> Policy:
    methods = [method.strip() for method in value.split(",")]
    for method in methods:
        if not _METHOD.match(method):
            hint = f"{shown(method)} is not a request method" if method else "there is an empty entry"
            raise PolicyError(f"{hint}; write a list in capitals such as GET,HEAD")
    if len(set(methods)) > MAX_METHODS:
        raise PolicyError(f"it lists {len(set(methods))} methods, and {MAX_METHODS} are the most")
    return replace(policy, methods=frozenset(methods))


def _paused(policy: Policy, value: str) -> Policy:
    if value not in ("true", "false"):
        raise PolicyError(f"{shown(value)} is neither true nor false")
    return replace(policy, paused=value == "true")


def _endpoints_from(policy: Policy, value: str) -> Policy:
    match = _SERVICE.match(value)
    if not match:
        raise PolicyError(f"{shown(value)} does not name a Service; write service/NAME")
    return replace(policy, endpoints_from=match.group(1))


_READERS: Mapping[str, Callable[[Policy, str], Policy]] = {
    _ENDPOINTS_FROM: _endpoints_from,
    "methods": _methods,
    "paused": _paused,
    "percent": _percent,
}
