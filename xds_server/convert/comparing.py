"""Whether a set of requests, all of them, is treated as documents say.

Conditions on paths, methods and headers tell apart finitely many classes of requests. `representatives` has
one of each class; what holds for these holds for all. Conditions of other kinds may hold or not: each request
then has several possible outcomes, and a claim has to hold for each.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Final

from xds_server.convert.rules import Header, How, Match, Path, Request, Rule

MOST: Final = 5_000
"""Requests that are compared for one host."""

_FRESH: Final = "xyz-any"
"""Found in no document."""

_OFTEN: Final = ("GET", "POST")


class TooManyError(ValueError):
    """There are more classes of requests than are compared."""


def representatives(matches: Iterable[Match]) -> Iterator[Request]:
    """One request of each class that these matches tell apart.

    Raises:
        TooManyError: there would be more than `MOST`.
    """
    matches = tuple(dict.fromkeys(matches))
    paths = _paths(match.path for match in matches if match.path)
    named = {method for match in matches for method in match.methods or ()}
    methods = [*sorted(named), next(each for each in (*_OFTEN, "ANY") if each not in named)]
    headers = _headers(header for match in matches for header in match.headers)
    if len(paths) * len(methods) * prod(len(values) for values in headers.values()) > MOST:
        raise TooManyError
    for path, method in product(paths, methods):
        for values in product(*headers.values()):
            said = zip(headers, values, strict=True)
            yield Request(method, path, {name: value for name, value in said if value is not None})


def _paths(conditions: Iterable[Path]) -> list[str]:
    """Of the named paths, the longest that begins a request's path and the character after it decide."""
    found = {"/", f"/{_FRESH}"}
    for each in conditions:
        value = each.value if each.how is not How.SEGMENT else each.value.rstrip("/")
        found |= {value, f"{value}{_FRESH}", f"{value}/{_FRESH}", f"{value.rstrip('/')}/{_FRESH}"}
        if value.endswith("/") and len(value) > 1:
            found.add(value[:-1])
    return sorted(path for path in found if path.startswith("/"))


def _headers(conditions: Iterable[Header]) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for each in sorted(set(conditions), key=lambda each: (each.name, each.value)):
        values = found.setdefault(each.name, [None, _FRESH])
        if each.how is How.EXACT and each.value not in values:
            values.append(each.value)
    return found


def outcomes(rules: Sequence[Rule], request: Request) -> list[Rule | None]:
    """The rules that may take a request, tried in order; None: none does."""
    found: list[Rule | None] = []
    for rule in rules:
        holds = rule.match.holds(request)
        if holds is not False:
            found.append(rule)
        if holds:
            return found
    return [*found, None]
