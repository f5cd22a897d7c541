"""Several canaries with different conditions on one Service, as a list of branches that is tried in order.

A request is told apart by three things: the deepest of all named path prefixes that covers it, its method if
somebody names it, and which of the named header conditions it meets. Each combination is a class of requests,
and a branch for each, the most specific first, would be exactly right. Most are not needed, as what follows
them says the same; those are left out, in the order of the three dimensions that leaves the fewest.
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
"""Envoy tries them one after the other."""

MAX_CLASSES: Final = 512
"""Bounds the work of finding them."""

_FEW: Final = 96
"""Classes for which all orders are tried."""

_KEPT: Final = 1024
"""Combinations of selections whose branches are remembered."""


class TooManyConditionsError(ValueError):
    """The selections tell apart more than `MAX_CLASSES` classes, or take more than `MAX_BRANCHES`
    branches."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The requests that `match` and no branch before go to the canaries at these indices."""

    match: Match
    wanted: tuple[int, ...]


@lru_cache(_KEPT)
def branches(selections: tuple[Selection, ...]) -> tuple[Branch, ...]:
    """The fewest branches found that send every request to exactly those that want it. The last one takes
    what is left.

    Raises:
        TooManyConditionsError: there would be too many.
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
    """Each class of requests with the indices of the selections that admit it: those that do so in all three
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
    """Whether `selection` admits the requests whose deepest named prefix is `path`."""
    return (not selection.paths or any(_covers(each, path) for each in selection.paths)) and not any(
        _covers(each, path) for each in selection.exclude_paths
    )


def _paths(selections: Iterable[Selection]) -> list[PathPrefix]:
    """All named prefixes, the deepest first. Two cover each other's requests wholly or not at all."""
    found = {path for s in selections for path in (*s.paths, *s.exclude_paths) if path != "/"}
    return sorted(found, key=lambda path: (-len(path), path))


def _header_sets(selections: Sequence[Selection]) -> list[frozenset[HeaderCondition]]:
    """Every set of conditions that a request can be found to meet, the largest first: the unions of what the
    selections ask for, with what follows (a value means presence) and without what cannot be."""
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
    """A branch for each class, sorted by the dimensions in this order, the most specific first in each, and
    without those that nobody misses: where what follows says the same of all requests that reach it."""
    matches = _sorted(found, order)
    # Sets of classes as the bits of a number, so that a step costs the same for one class and for all.
    covers = _covered(matches)
    alike = {wanted: _bits(found[each] == wanted for each in matches) for wanted in set(found.values())}
    steps = [
        _Step(match, admits, admits & ~alike[found[match]])
        for match, admits in zip(matches, covers, strict=True)
    ]
    while True:
        before, steps = steps, _without_idle(steps)
        if len(steps) == len(before):
            return [Branch(step.match, found[step.match]) for step in steps]


class _Step(NamedTuple):
    """A match with the classes that it admits, and those of them that it would send to others than they
    want."""

    match: Match
    admits: int
    wrong: int


def _without_idle(steps: Sequence[_Step]) -> list[_Step]:
    """Leave out, one after the other, each that no class of requests misses."""
    kept: list[_Step] = []
    taken = 0
    for place, step in enumerate(steps):
        if not _idle(step.admits & ~taken, steps[place + 1 :]):
            kept.append(step)
            taken |= step.admits
    return kept


def _idle(reaching: int, later: Iterable[_Step]) -> bool:
    """Whether the classes that reach a match are sent to the same canaries by what follows it."""
    for step in later:
        if not reaching:
            return True
        if reaching & step.wrong:
            return False
        reaching &= ~step.admits
    return not reaching


def _sorted(found: Mapping[Match, tuple[int, ...]], order: Sequence[int]) -> list[Match]:
    """`found` is sorted by path, method and headers, each the most specific first."""
    places = [
        {value: place for place, value in enumerate(dict.fromkeys(values))}
        for values in zip(*found, strict=True)
    ]
    return sorted(found, key=lambda match: [places[dimension][match[dimension]] for dimension in order])


def _covered(matches: Sequence[Match]) -> list[int]:
    """For each match the classes that meet it: those that do so in all three dimensions."""
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
