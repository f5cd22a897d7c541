"""Which changes a client is offered now, and which wait: because it refused them, or because what they lead
to is not warm yet. Pure: time is an argument.

What must go over together is one unit: resources between which a claim moves, as a domain between virtual
hosts. A refusal that leaves one unit to blame is certain (rule 37). Where it leaves
several, those that Envoy's message names are tried again one by one, after the others; if it names none, the
units are tried by halves. A message is a peer's and quotes what tenants wrote, so it decides about the order
alone.

The same serves the resources of a type on one stream and the virtual hosts in one route configuration.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import TypeSnapshot
from xds_server.xds.types import CLUSTER, ROUTE, VIRTUAL_HOST

WARMING_S: Final = 5.0
"""How long a change waits for the clusters that it leads to (rule 41)."""


class Cold(NamedTuple):
    """Clusters that a client cannot use yet, at the time `now` in seconds."""

    clusters: Collection[str]
    now: float

    def of(self, type_url: TypeUrl) -> "Cold":
        """Those that changes of this type wait for."""
        return self if type_url in (ROUTE, VIRTUAL_HOST) else self._replace(clusters=())


Unit = frozenset[str]
_Content = frozenset[tuple[str, str]]
_NONE: Final = frozenset[str]()


def units(names: Iterable[str], old: TypeSnapshot, new: TypeSnapshot) -> list[Unit]:
    """`names` by what must go over together on the way from `old` to `new`: a claim connects who had it with
    who takes it. Virtual hosts of several route configurations may have the same."""
    unit = {name: {name} for name in sorted(names)}
    had = {(_parent(name), claim): name for name in unit for claim in _claims(old, name)}
    for name in unit if had else ():
        for claim in _claims(new, name):
            one, other = unit[had.get((_parent(name), claim), name)], unit[name]
            if one is not other:
                one |= other
                unit.update(dict.fromkeys(other, one))
    found = {id(each): each for each in unit.values()}
    return [frozenset(each) for each in found.values()]


def _claims(of: TypeSnapshot, name: str) -> frozenset[str]:
    found = of.resources.get(name)
    return found.claims if found is not None else _NONE


def _parent(name: str) -> str:
    """The route configuration of a virtual host; resources of other types have no claims."""
    return name.rpartition("/")[0]


def version(of: TypeSnapshot, name: str) -> str:
    """The version of a resource; empty if it is not there."""
    found = of.resources.get(name)
    return found.version if found is not None else ""


def content(unit: Unit, of: TypeSnapshot) -> _Content:
    """What a unit is in a snapshot."""
    return frozenset((name, version(of, name)) for name in unit)


@dataclass(slots=True)
class _Blame:
    """Of content that was refused by itself: tried again after so many changes of others, each time twice as
    many (rule 38)."""

    distance: int = 1
    seen: int = 0


class Rollout:
    """Of one set of resources to one client. `base` is what the client was last offered all of.

    `waiting` are the names of which the client is kept on what it has. `suspects` were refused and not
    accepted since; those in `_groups` are tried together, a group at a time. `unsure` says that some are
    still to be tried.
    """

    def __init__(self, base: TypeSnapshot) -> None:
        self.waiting: set[str] = set()
        self.suspects: set[str] = set()
        self.unsure = False
        self._base = base
        self._blamed: dict[_Content, _Blame] = {}
        self._groups: list[Unit] = []
        self._gates: dict[str, float] = {}

    @property
    def wakes_at(self) -> float | None:
        """When something waits no longer."""
        return min(self._gates.values(), default=None)

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing is in doubt."""
        return not self.waiting and not self.suspects

    def offer(self, target: TypeSnapshot, held: TypeSnapshot, cold: Cold, *, trying: bool) -> TypeSnapshot:
        """What the client should have next, on its way from `held` to `target`; `target` itself if nothing
        waits. `trying` says whether what is in doubt may be tried now, if nothing else is due."""
        changed = target.changes_since(self._base).names
        self._base = target
        due = [name for name in changed | self.waiting if version(held, name) != version(target, name)]
        free: list[Unit] = []
        doubtful: list[Unit] = []
        self.waiting = set()
        gates, self._gates = self._gates, {}
        self._forget_blame(target)
        for unit in units(due, held, target):
            if self._rests(content(unit, target), touched=not changed <= unit):
                self.waiting |= unit
            elif until := _gated(unit, target, held, cold, gates):
                self._gates.update(dict.fromkeys(unit, until))
                self.waiting |= unit
            elif unit.isdisjoint(self.suspects):
                free.append(unit)
            else:
                doubtful.append(unit)
        if doubtful and trying and not free:
            free = self._next_group(doubtful)
            doubtful = [unit for unit in doubtful if unit not in free]
        self.unsure = bool(doubtful)
        self.waiting.update(*doubtful)
        if not self.waiting:
            return target
        offered = sorted(name for unit in free for name in unit)
        return target.derived((held.moment, *offered), lambda: _moved(held, target, offered))

    def _rests(self, found: _Content, *, touched: bool) -> bool:
        """Whether this was refused by itself and is not to be tried again yet."""
        blame = self._blamed.get(found)
        if blame is None:
            return False
        blame.seen += touched
        return blame.seen < blame.distance

    def _next_group(self, doubtful: list[Unit]) -> list[Unit]:
        for group in self._groups:
            if found := [unit for unit in doubtful if not unit.isdisjoint(group)]:
                return found
        return doubtful[:1]

    def _forget_blame(self, target: TypeSnapshot) -> None:
        """Of what is not wanted any more."""
        if self._blamed:
            self._blamed = {
                found: blame
                for found, blame in self._blamed.items()
                if all(version(target, name) == each for name, each in found)
            }

    def reject(
        self, names: Collection[str], held: TypeSnapshot, sent: TypeSnapshot, named: Collection[str]
    ) -> None:
        """The client refused the change of `names` from `held` to `sent`; its message names some of what the
        response had."""
        found = units(names, held, sent)
        self.waiting.update(names)
        self._groups = [rest for group in self._groups if (rest := group.difference(names))]
        if len(found) == 1:
            self._blame(found[0], sent, certain=not named or not found[0].isdisjoint(named))
        elif suspected := [unit for unit in found if not unit.isdisjoint(named)]:
            self.suspects.update(*suspected)
            self._groups.extend(suspected)
        elif not any(content(unit, sent) in self._blamed for unit in found):  # else that is why
            half = len(found) // 2
            self.suspects.update(names)
            self._groups[:0] = [_NONE.union(*found[:half]), _NONE.union(*found[half:])]

    def _blame(self, unit: Unit, sent: TypeSnapshot, *, certain: bool) -> None:
        """Not certain is a message that names others: measured, Envoy refuses a response of clusters in the
        words that it had for the one before."""
        self.suspects |= unit
        blame = self._blamed.get(content(unit, sent))
        if blame is None:
            self._blamed[content(unit, sent)] = _Blame(distance=int(certain))
        else:
            blame.distance, blame.seen = blame.distance * 2 or 1, 0

    def accept(self, names: Collection[str]) -> None:
        """The client accepted a change of `names`, or asks for them anew or not any more: what it refused of
        them does not count."""
        self.suspects.difference_update(names)
        self._groups = [rest for group in self._groups if (rest := group.difference(names))]
        self._blamed = {
            found: blame
            for found, blame in self._blamed.items()
            if all(name not in names for name, _ in found)
        }

    def kept(self, held: TypeSnapshot) -> Iterator[Resource]:
        """What the client is kept on."""
        return (r for name in self.waiting if (r := held.resources.get(name)) is not None)


def _gated(
    unit: Unit, target: TypeSnapshot, held: TypeSnapshot, cold: Cold, gates: Mapping[str, float]
) -> float | None:
    """Until when it waits, if it leads requests to a cluster that the client cannot use yet. What has no
    requests so far waits for nothing; but a new claim may take them from a wildcard of another's."""
    claims = bool(held.resources) and any(_claims(target, name) for name in unit)
    if not cold.clusters or not (claims or any(name in held.resources for name in unit)):
        return None
    leads = any(
        ref.type_url == CLUSTER and ref.name in cold.clusters
        for name in unit
        if (resource := target.resources.get(name)) is not None
        for ref in resource.refs
    )
    until = min((gates[name] for name in unit if name in gates), default=cold.now + WARMING_S)
    return until if leads and until > cold.now else None


def _moved(held: TypeSnapshot, target: TypeSnapshot, names: Iterable[str]) -> TypeSnapshot:
    """`held` with these names as they are in `target`."""
    found = {name: target.resources.get(name) for name in names}
    gone = [name for name, resource in found.items() if resource is None]
    return held.updated((resource for resource in found.values() if resource is not None), gone)
