"""Builds the routes of one port, which decide to which canaries a request is mirrored.

The limits of a port apply to the routes themselves: `fitting` builds the routes of the oldest canaries, as
many as fit on every port, and returns these routes.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from xds_server.core.branches import Branch, TooManyConditionsError, branches
from xds_server.core.plan import SAFE, Match, Mirror, Route
from xds_server.core.sampling import Share, outcomes, ways
from xds_server.core.terms import MILLION

MAX_ROUTES: Final = 512
"""Routes of one port. Envoy tries them one after the other."""

UNMIRRORED: Final = (Route("all"),)

_ROUTE_BYTES: Final = 224
_MIRRORED_BYTES: Final = 640
_CARRIED_BYTES: Final = 1_200
_CONDITION_BYTES: Final = 32
_LIMIT_BYTES: Final = 300
_SAMPLE_BYTES: Final = 160
_MARK_BYTES: Final = 96
"""Upper bounds for the bytes that a route, a mirror policy, its formatters, a condition, a limit, the
conditions of a sample and the mark of compared requests take in Envoy's configuration, without their texts. A
test compares `size_of` with the configuration."""


class DoesNotFitError(Exception):
    """The routes of a port exceed `MAX_ROUTES`, or the maximum number of bytes. It is only raised and handled
    in this module."""


def routes_of(mirrors: Sequence[Mirror], max_bytes: int) -> tuple[Route, ...]:
    """The routes of a port, which mirror each request to every mirror whose selection and sample admit it.

    Raises:
        DoesNotFitError: the routes exceed `MAX_ROUTES` or `max_bytes`.
    """
    if not mirrors:
        return UNMIRRORED
    try:
        found = branches(tuple(mirror.selection for mirror in mirrors))
    except TooManyConditionsError as error:
        raise DoesNotFitError from error
    if sum(ways(_shares(mirrors, branch)) for branch in found) > MAX_ROUTES:
        raise DoesNotFitError
    routes: list[Route] = []
    size = 0
    for branch in found:
        for route in _with_baselines(_branch(branch, mirrors), mirrors):
            routes.append(route)
            size += size_of(route, mirrors)
            if size > max_bytes or len(routes) > MAX_ROUTES:
                raise DoesNotFitError
    return tuple(routes)


def size_of(route: Route, mirrors: Sequence[Mirror]) -> int:
    """An upper bound for the bytes that a route takes in a virtual host."""
    texts = [route.label, route.match.path or "", route.match.method or ""]
    texts += [f"{each.name}{each.value or ''}" for each in route.match.headers]
    sizes = {mirror.canary: _mirror_size(mirror) for mirror in mirrors}
    limited = {*route.admitted, *route.limited}
    return (
        _ROUTE_BYTES
        + sum(len(text.encode()) for text in texts)
        + _CONDITION_BYTES * (len(route.match.headers) + 2)
        + sum(sizes[each] for each in route.mirrored)
        + sum(_LIMIT_BYTES + len(mirror.marker) for mirror in mirrors if mirror.canary in limited)
        + (_SAMPLE_BYTES + _LIMIT_BYTES if route.sampled else 0)
        + sum(
            mirror.baselines * sizes[mirror.canary] for mirror in mirrors if mirror.canary in route.baselines
        )
    )


def _mirror_size(mirror: Mirror) -> int:
    # The shadow cluster changes headers. Only values with formatters are computed in the mirror policy.
    carried = any("%" in value for _, value in mirror.treatment.set_headers)
    more = _CARRIED_BYTES * carried + _MARK_BYTES * mirror.compare
    return _MIRRORED_BYTES + 2 * len(mirror.marker) + len(mirror.treatment.host) + more


def _shares(mirrors: Sequence[Mirror], branch: Branch) -> list[Share]:
    wanted = [mirrors[index] for index in branch.wanted]
    return [Share(each.per_million, each.correlated, each.treatment.max_rps is not None) for each in wanted]


def _branch(branch: Branch, mirrors: Sequence[Mirror]) -> Iterator[Route]:
    """The routes of the requests of a branch: one, or one for each outcome of sampling and limits."""
    wanted = [mirrors[index] for index in branch.wanted]
    label, shares = _label(branch.match), _shares(mirrors, branch)
    divided = any(share.per_million < MILLION or share.limited for share in shares)
    for outcome in outcomes(shares):
        chosen = tuple(wanted[index].canary for index in outcome.chosen)
        limited = tuple(wanted[index].canary for index in outcome.chosen if shares[index].limited)
        for admitted in _subsets(limited):
            mirrored = tuple(each for each in chosen if each in admitted or each not in limited)
            route_label = f"{label}>{'+'.join(mirrored) or 'none'}" if divided else label
            decided = () if admitted else limited
            yield Route(route_label, branch.match, outcome.below, mirrored, admitted, decided)


def _subsets(canaries: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every set of them. A set comes before those that are part of it, and the empty set is the last."""
    for count in range(len(canaries), -1, -1):
        yield from combinations(canaries, count)


def _with_baselines(routes: Iterator[Route], mirrors: Sequence[Mirror]) -> Iterator[Route]:
    """Before each route that mirrors to a canary with a baseline, the same for the sample: first those that
    its limit has admitted, then those for which it decides. It decides together with the limits of canaries,
    because each request passes their filter once."""
    having = {mirror.canary for mirror in mirrors if mirror.baselines}
    for route in routes:
        if having and route.match.method in (None, *SAFE):
            baselines = tuple(each for each in route.mirrored if each in having)
            if baselines:
                yield route._replace(sampled=True, baselines=baselines)
            if not route.admitted and not having.isdisjoint({*route.mirrored, *route.limited}):
                yield route._replace(sampled=True)
        yield route


def _label(match: Match) -> str:
    """A readable name for these requests."""
    headers = sorted(
        each.name if each.value is None else f"{each.name}={each.value}" for each in match.headers
    )
    return " ".join([match.method or "", match.path or "", *headers]).strip() or "all"


def fitting(
    wanted: Mapping[str, Sequence[Mirror]], oldest_first: Sequence[str], max_bytes: int
) -> tuple[int, dict[str, tuple[Route, ...]]]:
    """How many of the canaries, `oldest_first`, fit together on every port, and the routes of each port with
    those. `wanted` are all mirrors by port, sorted by canary. No canary after the first that does not fit is
    tried, which bounds the work."""

    def built(count: int) -> dict[str, tuple[Route, ...]] | None:
        taken = set(oldest_first[:count])
        try:
            return {
                port: routes_of([each for each in mirrors if each.canary in taken], max_bytes)
                for port, mirrors in wanted.items()
            }
        except DoesNotFitError:
            return None

    found = built(len(oldest_first))
    if found is not None:
        return len(oldest_first), found
    fits, too_many = 0, len(oldest_first)
    best: dict[str, tuple[Route, ...]] = dict.fromkeys(wanted, UNMIRRORED)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        found = built(middle)
        if found is None:
            too_many = middle
        else:
            fits, best = middle, found
    return fits, best
