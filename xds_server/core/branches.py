"""Combines the conditions of several canaries of one Service into branches, which are tried in order.

Three dimensions distinguish requests: the longest named path prefix that covers the path, the method if a
selection names it, and the set of named header conditions that the request meets. Each combination is a class
of requests. One branch for each class, the most specific first, would be correct. Most of these branches are
redundant, because later branches route the same requests identically, and are dropped. How many remain
depends on the order of the three dimensions, so the order with the fewest is used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Final, NamedTuple

from xds_server.core.annotations import EVERYTHING, Selection
from xds_server.core.plan import Match
from xds_server.core.terms import HeaderCondition, PathPrefix

MAX_BRANCHES: Final = 64
"""Envoy tries branches one after the other."""

MAX_CLASSES: Final = 512
"""Bounds the work of computing the branches."""

_FEW: Final = 96
"""The number of classes up to which all orders of the dimensions are tried."""

_CACHED: Final = 1024
"""Combinations of selections whose branches are cached."""


class TooManyConditionsError(ValueError):
    """The selections distinguish more than `MAX_CLASSES` classes, or need more than `MAX_BRANCHES`
    branches."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Requests that `match`, and no earlier branch, are mirrored to the canaries at the indices `wanted`."""

    match: Match
    wanted: tuple[int, ...]


@lru_cache(_CACHED)
def branches(selections: tuple[Selection, ...]) -> tuple[Branch, ...]:
    """The shortest list of branches found that mirrors every request to exactly the canaries whose selections
    admit it. The last branch matches every request.

    Raises:
        TooManyConditionsError: there would be too many classes or branches.
    """
    if all(selection == EVERYTHING for selection in selections):
        return (Branch(Match(), tuple(range(len(selections)))),)
    paths: list[PathPrefix | None] = [*_paths(selections), None]
    methods: list[str | None] = [*sorted({m for s in selections for m in s.methods or ()}), None]
    headers = _header_sets(selections)
    if len(paths) * len(methods) * len(headers) > MAX_CLASSES:
        raise TooManyConditionsError
    found = _wanted(selections, paths, methods, headers)
    orders = list(permutations(range(3))) if len(found) <= _FEW else [(0, 1, 2)]
    best = min((_pruned(found, order) for order in orders), key=len)
    if len(best) > MAX_BRANCHES:
        raise TooManyConditionsError
    return tuple(best)


def _wanted(
    selections: Sequence[Selection],
    paths: Sequence[PathPrefix | None],
    methods: Sequence[str | None],
    headers: Sequence[frozenset[HeaderCondition]],
) -> dict[Match, tuple[int, ...]]:
    """The indices of the selections that admit each class of requests, which they do in all three
    dimensions."""
    by_path = {path: _bits(_on_path(each, path) for each in selections) for path in paths}
    by_method = {
        method: _bits(each.methods is None or method in each.methods for each in selections)
        for method in methods
    }
    by_headers = {met: _bits(each.headers <= met for each in selections) for met in headers}
    return {
        Match(path, method, met): _indices(by_path[path] & by_method[method] & by_headers[met])
        for path, method, met in product(paths, methods, headers)
    }


def _on_path(selection: Selection, path: PathPrefix | None) -> bool:
    """Whether `selection` admits the requests whose longest named prefix is `path`."""
    return (not selection.paths or any(_covers(each, path) for each in selection.paths)) and not any(
        _covers(each, path) for each in selection.exclude_paths
    )


def _paths(selections: Iterable[Selection]) -> list[PathPrefix]:
    """All named prefixes, the longest first. Of two prefixes, one covers the other or they have no request in
    common."""
    found = {path for s in selections for path in (*s.paths, *s.exclude_paths) if path != "/"}
    return sorted(found, key=lambda path: (-len(path), path))


def _header_sets(selections: Sequence[Selection]) -> list[frozenset[HeaderCondition]]:
    """Every set of named conditions that a request can meet, the largest first. These are the unions of the
    selections' conditions. A set with a header's value also has the condition that the header is present, and
    no set has two values of one header."""
    named = {condition for selection in selections for condition in selection.headers}
    found = {frozenset[HeaderCondition]()}
    for selection in set(selections):
        asked = _with_presence(selection.headers, named)
        found |= {one for each in found if _possible(one := _with_presence(each | asked, named))}
        if len(found) > MAX_CLASSES:
            raise TooManyConditionsError
    return sorted(found, key=lambda each: (-len(each), sorted(map(str, each))))


def _with_presence(
    conditions: frozenset[HeaderCondition], named: set[HeaderCondition]
) -> frozenset[HeaderCondition]:
    return conditions | {HeaderCondition(each.name) for each in conditions} & named


def _possible(conditions: frozenset[HeaderCondition]) -> bool:
    exact = [each.name for each in conditions if each.value is not None]
    return len(exact) == len(set(exact))


def _covers(path: PathPrefix, other: PathPrefix | None) -> bool:
    return path == "/" if other is None else path.covers(other)


def _pruned(found: Mapping[Match, tuple[int, ...]], order: Sequence[int]) -> list[Branch]:
    """One branch for each class, sorted by the dimensions in this `order`, the most specific first in each.
    Drops a branch if later branches route every request it would match identically."""
    matches = _sorted(found, order)
    # Sets of classes are the bits of an integer, so the cost of a step does not grow with their number.
    covers = _covered(matches)
    alike = {wanted: _bits(found[each] == wanted for each in matches) for wanted in set(found.values())}
    steps = [
        _Step(match, admits, admits & ~alike[found[match]])
        for match, admits in zip(matches, covers, strict=True)
    ]
    while True:
        before, steps = steps, _without_redundant(steps)
        if len(steps) == len(before):
            return [Branch(step.match, found[step.match]) for step in steps]


class _Step(NamedTuple):
    """A match, the classes that it `admits`, and those of them that it would mirror to the `wrong`
    canaries."""

    match: Match
    admits: int
    wrong: int


def _without_redundant(steps: Sequence[_Step]) -> list[_Step]:
    """Drop redundant steps, one after the other."""
    kept: list[_Step] = []
    taken = 0
    for place, step in enumerate(steps):
        if not _redundant(step.admits & ~taken, steps[place + 1 :]):
            kept.append(step)
            taken |= step.admits
    return kept


def _redundant(reaching: int, later: Iterable[_Step]) -> bool:
    """Whether the `later` steps mirror the classes that reach a step to the same canaries as that step
    would."""
    for step in later:
        if not reaching:
            return True
        if reaching & step.wrong:
            return False
        reaching &= ~step.admits
    return not reaching


def _sorted(found: Mapping[Match, tuple[int, ...]], order: Sequence[int]) -> list[Match]:
    """Sort the matches by the dimensions in this `order`. In `found`, each dimension is in order already."""
    places = [
        {value: place for place, value in enumerate(dict.fromkeys(values))}
        for values in zip(*found, strict=True)
    ]
    return sorted(found, key=lambda match: [places[dimension][match[dimension]] for dimension in order])


def _covered(matches: Sequence[Match]) -> list[int]:
    """For each match, the classes that meet it, which they do in all three dimensions."""
    paths = {
        path: _bits(path is None or (of.path is not None and path.covers(of.path)) for of in matches)
        for path in {match.path for match in matches}
    }
    methods = {
        method: _bits(method in (None, of.method) for of in matches)
        for method in {match.method for match in matches}
    }
    headers = {
        wanted: _bits(wanted <= of.headers for of in matches)
        for wanted in {match.headers for match in matches}
    }
    return [paths[match.path] & methods[match.method] & headers[match.headers] for match in matches]


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)


def _indices(bits: int) -> tuple[int, ...]:
    return tuple(index for index in range(bits.bit_length()) if bits >> index & 1)
