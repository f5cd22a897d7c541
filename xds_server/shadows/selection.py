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

from xds_server.shadows.terms import EVERYTHING, HeaderCondition, PathPrefix, Selection

MAX_BRANCHES: Final = 64
"""Envoy tries them one after the other."""

MAX_CLASSES: Final = 1024
"""Bounds the work of finding them."""

_FEW: Final = 256
"""Classes for which all orders are tried."""

_KEPT: Final = 1024
"""Combinations of selections whose branches are remembered."""


class TooManyConditionsError(ValueError):
    """The selections tell apart more than `MAX_CLASSES` classes, or take more than `MAX_BRANCHES`
    branches."""


class Match(NamedTuple):
    """Requests under `path`, by `method`, that meet all of `headers`; None and empty: any."""

    path: PathPrefix | None = None
    method: str | None = None
    headers: frozenset[HeaderCondition] = frozenset()


@dataclass(frozen=True, slots=True)
class Branch:
    """The requests that `match` and no branch before go to the canaries at these indices."""

    match: Match
    wanted: tuple[int, ...]


def wants(selection: Selection, match: Match) -> bool:
    """Whether `selection` admits the requests of this class, which no more specific class has."""
    under = [path for path in (*selection.paths, *selection.exclude_paths) if _covers(path, match.path)]
    return (
        (selection.methods is None or match.method in selection.methods)
        and (not selection.paths or any(path in selection.paths for path in under))
        and not any(path in selection.exclude_paths for path in under)
        and selection.headers <= match.headers
    )


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
    classes = [Match(*each) for each in product(paths, methods, headers)]
    found = {
        match: tuple(index for index, selection in enumerate(selections) if wants(selection, match))
        for match in classes
    }
    orders = list(permutations(range(3))) if len(found) <= _FEW else [(0, 1, 2)]
    best = min((_pruned(found, order) for order in orders), key=len)
    if len(best) > MAX_BRANCHES:
        raise TooManyConditionsError
    return tuple(best)


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
    covers = {match: _bits(_admits(match, each) for each in matches) for match in matches}
    alike = {wanted: _bits(found[each] == wanted for each in matches) for wanted in set(found.values())}
    kept = matches
    while True:
        before = kept
        for match in before:
            if _idle(match, kept, covers, alike, found):
                kept = [each for each in kept if each != match]
        if kept == before:
            return [Branch(match, found[match]) for match in kept]


def _sorted(found: Mapping[Match, tuple[int, ...]], order: Sequence[int]) -> list[Match]:
    """`found` is sorted by path, method and headers, each the most specific first."""
    places = [
        {value: place for place, value in enumerate(dict.fromkeys(values))}
        for values in zip(*found, strict=True)
    ]
    return sorted(found, key=lambda match: [places[dimension][match[dimension]] for dimension in order])


def _idle(
    match: Match,
    kept: Sequence[Match],
    covers: Mapping[Match, int],
    alike: Mapping[tuple[int, ...], int],
    found: Mapping[Match, tuple[int, ...]],
) -> bool:
    """Whether all classes that reach `match` are sent to the same canaries without it."""
    place = kept.index(match)
    reaching = covers[match]
    for earlier in kept[:place]:
        reaching &= ~covers[earlier]
    for later in kept[place + 1 :]:
        taken = reaching & covers[later]
        if taken & ~alike[found[later]]:
            return False
        reaching &= ~taken
    return not reaching


def _admits(match: Match, of: Match) -> bool:
    """Whether requests of the class `of` meet `match`."""
    return (
        (match.path is None or (of.path is not None and match.path.covers(of.path)))
        and match.method in (None, of.method)
        and match.headers <= of.headers
    )


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << place for place, flag in enumerate(flags) if flag)
