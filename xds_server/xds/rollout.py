"""Decides which changes a client is offered now and which wait: because the client rejected them, or because
they lead requests to a cluster that is still warming. Pure: time is an argument.

Resources between which a claim moves, such as a domain between virtual hosts, form one unit and are sent
together. If a NACK is about one unit, that unit is to blame (rule 37). If it is about several, those that
Envoy's message names are tried again one at a time, after all other changes. If it names none, the units are
bisected. The message comes from a peer and quotes text of tenants, so it decides only the order.

The same rules apply to the resources of a type on one stream and to the virtual hosts in one route
configuration.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.snapshot import TypeSnapshot
from xds_server.xds.types import CLUSTER, ROUTE, VIRTUAL_HOST

WARMING_S: Final = 5.0
"""How long a change waits for the clusters that it leads requests to (rule 41)."""


class Cold(NamedTuple):
    """The clusters that a client cannot use yet, at the time `now` in seconds."""

    clusters: Collection[str]
    now: float

    def of(self, type_url: TypeUrl) -> "Cold":
        """The clusters that changes of this type wait for."""
        return self if type_url in (ROUTE, VIRTUAL_HOST) else self._replace(clusters=())


Unit = frozenset[str]
_Content = frozenset[tuple[str, str]]
_NONE: Final = frozenset[str]()


def units(names: Iterable[str], old: TypeSnapshot, new: TypeSnapshot) -> list[Unit]:
    """`names` grouped into units on the way from `old` to `new`: a claim connects its previous and its next
    owner. Virtual hosts of different route configurations may have the same claim."""
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


def _claims(of: TypeSnapshot, name: str) -> tuple[str, ...]:
    found = of.resources.get(name)
    return found.claims if found is not None else ()


def _parent(name: str) -> str:
    """The route configuration of a virtual host. Resources of other types have no claims."""
    return name.rpartition("/")[0]


def version(of: TypeSnapshot, name: str) -> str:
    """The version of a resource; empty if it does not exist."""
    found = of.resources.get(name)
    return found.version if found is not None else ""


def content(unit: Unit, of: TypeSnapshot) -> _Content:
    """The versions of a unit's resources in a snapshot."""
    return frozenset((name, version(of, name)) for name in unit)


@dataclass(slots=True)
class _Blame:
    """Content that was rejected by itself. It is tried again after `distance` changes of other resources,
    which doubles with each NACK (rule 38)."""

    distance: int = 1
    seen: int = 0


class Rollout:
    """The rollout of one set of resources to one client. `base` is the last snapshot that the client was
    offered as a whole.

    `waiting` are the names that the client keeps in an older version. `suspects` were rejected and not
    accepted since. Suspects that share one of `_groups` are tried together, one group at a time. `untried`
    says that some have not been tried again yet.
    """

    def __init__(self, base: TypeSnapshot) -> None:
        self.waiting: set[str] = set()
        self.suspects: set[str] = set()
        self.untried = False
        self._base = base
        self._blamed: dict[_Content, _Blame] = {}
        self._groups: list[Unit] = []
        self._gates: dict[str, float] = {}

    @property
    def wakes_at(self) -> float | None:
        """When the first waiting change stops waiting."""
        return min(self._gates.values(), default=None)

    @property
    def over(self) -> bool:
        """Whether no change waits and none is suspect."""
        return not self.waiting and not self.suspects

    def offer(self, target: TypeSnapshot, held: TypeSnapshot, cold: Cold, *, trying: bool) -> TypeSnapshot:
        """What the client should have next, on its way from `held` to `target`; `target` itself if nothing
        waits. `trying` says whether suspects may be tried if no other change is due."""
        changed = target.changes_since(self._base).names
        self._base = target
        due = [name for name in changed | self.waiting if version(held, name) != version(target, name)]
        free: list[Unit] = []
        untried: list[Unit] = []
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
                untried.append(unit)
        if untried and trying and not free:
            free = self._next_group(untried)
            untried = [unit for unit in untried if unit not in free]
        self.untried = bool(untried)
        self.waiting.update(*untried)
        if not self.waiting:
            return target
        offered = sorted(name for unit in free for name in unit)
        return target.derived((held.moment, *offered), lambda: _moved(held, target, offered))

    def _rests(self, found: _Content, *, touched: bool) -> bool:
        """Whether this content was rejected by itself and must not be tried again yet."""
        blame = self._blamed.get(found)
        if blame is None:
            return False
        blame.seen += touched
        return blame.seen < blame.distance

    def _next_group(self, untried: list[Unit]) -> list[Unit]:
        for group in self._groups:
            if found := [unit for unit in untried if not unit.isdisjoint(group)]:
                return found
        return untried[:1]

    def _forget_blame(self, target: TypeSnapshot) -> None:
        """Drop blame for content that is no longer in the target."""
        if self._blamed:
            self._blamed = {
                found: blame
                for found, blame in self._blamed.items()
                if all(version(target, name) == each for name, each in found)
            }

    def reject(
        self, names: Collection[str], held: TypeSnapshot, sent: TypeSnapshot, named: Collection[str]
    ) -> None:
        """Handle a NACK for the change of `names` from `held` to `sent`; `named` are the names in its
        message."""
        found = units(names, held, sent)
        self.waiting.update(names)
        self._groups = [rest for group in self._groups if (rest := group.difference(names))]
        if len(found) == 1:
            self._blame(found[0], sent, certain=not named or not found[0].isdisjoint(named))
        elif suspected := [unit for unit in found if not unit.isdisjoint(named)]:
            self.suspects.update(*suspected)
            self._groups.extend(suspected)
        # otherwise that content is the cause
        elif not any(content(unit, sent) in self._blamed for unit in found):
            half = len(found) // 2
            self.suspects.update(names)
            self._groups[:0] = [_NONE.union(*found[:half]), _NONE.union(*found[half:])]

    def _blame(self, unit: Unit, sent: TypeSnapshot, *, certain: bool) -> None:
        """Blame one unit. The blame is not certain if the message names others: Envoy can reject a response
        of clusters with the message of an earlier one (measured)."""
        self.suspects |= unit
        blame = self._blamed.get(content(unit, sent))
        if blame is None:
            self._blamed[content(unit, sent)] = _Blame(distance=int(certain))
        else:
            blame.distance, blame.seen = blame.distance * 2 or 1, 0

    def accept(self, names: Collection[str]) -> None:
        """Forget what was rejected of `names`: the client accepted a change of them, or its subscription to
        them changed."""
        self.suspects.difference_update(names)
        self._groups = [rest for group in self._groups if (rest := group.difference(names))]
        self._blamed = {
            found: blame
            for found, blame in self._blamed.items()
            if all(name not in names for name, _ in found)
        }

    def kept(self, held: TypeSnapshot) -> Iterator[Resource]:
        """The resources that the client keeps in an older version."""
        return (r for name in self.waiting if (r := held.resources.get(name)) is not None)


def _gated(
    unit: Unit, target: TypeSnapshot, held: TypeSnapshot, cold: Cold, gates: Mapping[str, float]
) -> float | None:
    """Until when a unit waits if it leads requests to a cluster that the client cannot use yet. A unit that
    gets no requests so far does not wait, unless it has a claim: the claim may take requests from the
    wildcard of another resource."""
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
