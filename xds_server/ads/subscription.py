"""One type on one stream: what the client wants, what it holds, what it is still owed.

The rules that both variants share. The variants differ in how a request changes the subscription (`sotw`,
`delta`) and in what a response may say; they do not differ in what a client should end up with.

What a client holds is not listed but told from where the stream stands: everything it asked for as it was
`at` one moment, with the exceptions. So a stream costs the same however many resources there are, and what is
due follows from what changed since. Where the client refuses something, a `Rollout` says what it is offered
instead of the current state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from xds_server.ads.forms import Closed
from xds_server.ads.nack_text import named
from xds_server.ads.outline import MAX_NAMES
from xds_server.ads.responses import Due, Unanswered
from xds_server.ads.rollout import Cold, Rollout
from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import Nonce, TypeUrl
from xds_server.snapshot.batch import NOTHING, Batch
from xds_server.snapshot.names import NO_NAMES, Names
from xds_server.snapshot.resource import Resource
from xds_server.snapshot.snapshot import EMPTY, Changes, TypeSnapshot
from xds_server.snapshot.types import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST

WILDCARD = "*"
WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""The types for which an empty first list of names means everything (line 8), and whose SotW responses are
full state (line 26)."""

_NO_NONCE = Nonce("")
_NONE: frozenset[str] = frozenset()

_ANSWER_S: Final = 30.0
"""After this a client is taken to answer nothing."""

MAX_UNANSWERED = 64
"""Responses of one type that are remembered for a client that reads and does not answer; an answer to an
older one then counts as stale."""


_NOTHING_DUE = Due(NOTHING, (), NOTHING)


@dataclass(slots=True)
class Subscription:
    """Mutable, owned by one stream's machine.

    The client holds what it asked for as it was `at` that moment, without `fresh`, which it asked for since,
    and with `leaving`, which it holds and must not keep. What it refuses takes it back to where it was:
    `rollout` says what it is offered of that, and when; `parts` say it for the virtual hosts in a route
    configuration. `unsure` is what it had of names that it refused and has not accepted since. `backlog` is
    the rest of a response that was too large. `owed` are names to answer even if unchanged; `unanswered` says
    that all are. `orphans` are names that the client may hold in a version that is not known, from an earlier
    stream or as it refused only a part of a response; it is told when they do not exist. `rewarm` are
    assignments of clusters that the client was sent and has not acknowledged (line 29). `known_version`
    (SotW) and `claimed` (delta, by name) are what the first request says of an earlier stream, the latter
    with its size in bytes.
    """

    type_url: TypeUrl
    names: Names = NO_NAMES
    wildcard: bool = False
    named: bool = False
    greeted: bool = False
    at: TypeSnapshot = EMPTY
    unanswered: bool = False
    fresh: set[str] = field(default_factory=set)
    leaving: dict[str, Resource] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    rewarm: frozenset[str] = _NONE
    pending: dict[Nonce, Unanswered] = field(default_factory=dict)
    last_nonce: Nonce = _NO_NONCE
    rollout: Rollout | None = None
    parts: dict[str, Rollout] = field(default_factory=dict)
    unsure: dict[str, Resource | None] = field(default_factory=dict)
    backlog: list[tuple[Batch, Due]] = field(default_factory=list)
    known_version: str = ""
    claimed: Mapping[str, str] = field(default_factory=dict)
    claims_size: int = 0

    @property
    def watched(self) -> Names | None:
        """Which names concern the client; None for all."""
        return None if self.wildcard else self.names

    @property
    def owes(self) -> bool:
        """Whether something must be answered, whatever the current state."""
        return bool(self.unanswered or self.owed or self.fresh or self.backlog)

    @property
    def parting(self) -> bool:
        """Whether the client may hold something that it must not keep."""
        return bool(self.leaving or self.orphans)

    @property
    def careful(self) -> bool:
        """Whether the client may not simply be sent the current state."""
        return self.rollout is not None or bool(self.parts) or bool(self.unsure)

    @property
    def refusing(self) -> bool:
        """Whether the client refused something that it should have."""
        return any(rollout.suspects for rollout in self._rollouts())

    @property
    def waits(self) -> bool:
        """Whether something that the client should have may be sent later, without a change."""
        return any(each.unsure or each.wakes_at is not None for each in self._rollouts())

    @property
    def wakes_at(self) -> float | None:
        """When something waits no longer."""
        return min((at for each in self._rollouts() if (at := each.wakes_at) is not None), default=None)

    @property
    def free_at(self) -> float:
        """When the next response may be sent. Where it depends on whether the last was accepted, that is when
        it is answered, or has not been for long: of two virtual hosts the second may take what only the
        first gives up (line 40). Who has none yet has none that gives up anything."""
        if self.type_url != VIRTUAL_HOST or not self.pending or self._begins:
            return 0.0
        return next(reversed(self.pending.values())).at + _ANSWER_S

    @property
    def _begins(self) -> bool:
        """Whether the next response is a part of the first."""
        return bool(self.backlog) and not self.backlog[0][1].before.resources and not self.orphans

    def _rollouts(self) -> Iterator[Rollout]:
        yield from self.parts.values()
        if self.rollout is not None:
            yield self.rollout

    @property
    def unknown(self) -> bool:
        """Whether it is not known what the client has of something."""
        return bool(self.orphans)

    def kept(self, needed: Collection[str]) -> Iterator[Resource]:
        """What the client is kept on: instead of what it refuses or waits for, or as it is `needed`."""
        yield from (self.leaving[name] for name in needed if name in self.leaving)
        if self.rollout is not None:
            yield from self.rollout.kept(self.at)
        for name, part in self.parts.items():
            yield from part.kept(_hosts(self.at.resources.get(name)))

    @property
    def told_absent(self) -> list[Batch]:
        """What it was told to be absent, and has not answered: names that the client may have made up."""
        return [each.batch for each in self.pending.values() if each.batch.removed]

    def wants(self, name: str) -> bool:
        """Whether the client asked for it."""
        return self.wildcard or name in self.names.members

    def add(self, names: tuple[str, ...]) -> None:
        """Subscribe to `names`: each is answered, held or not (lines 10, 14 and 33).

        Raises:
            RequestLimitError: these are too many.
        """
        if not names:
            return
        if len(self.names) + len(names) > MAX_NAMES:
            raise RequestLimitError(f"more than {MAX_NAMES:,} names of one type on one stream")
        self.named = True
        self._try_anew(names)
        if WILDCARD in names:
            names = tuple(name for name in names if name != WILDCARD)
            self._widen()
        if not names:
            return
        if self.wildcard:
            self.owed.update(names)
        elif not self.names.members:  # nothing is held then, so there is nothing to list
            self.at, self.unanswered = EMPTY, True
            self.fresh.clear()
        elif not self.unanswered:
            self.owed.update(names)
            self.fresh.update(name for name in names if name not in self.names.members)
        self.names = self.names.plus(names)

    def _widen(self) -> None:
        if self.wildcard:
            return
        self.wildcard = True
        if self.unanswered:
            self.unanswered = False
            self.owed.update(self.names.members)
        self.fresh.update(name for name in self.at.resources if name not in self.names.members)

    def drop(self, names: Iterable[str]) -> tuple[str, ...]:
        """Unsubscribe from `names` and return those that were subscribed; others are ignored (line 33). What
        the client then has no reason to hold is forgotten, so that a new subscription is answered anew."""
        asked = dict.fromkeys(names)
        dropped = tuple(name for name in asked if name in self.names.members)
        star = self.wildcard and WILDCARD in asked
        if dropped:
            self.names = self.names.minus(dropped)
            for part, _ in self.backlog:
                self.owed.update(part.names)
            self.backlog.clear()
            self.owed.difference_update(dropped)
            if not self.wildcard:
                self._try_anew(dropped)
        if star:
            self.wildcard = False
        if not self.wildcard and (dropped or star):
            members = self.names.members
            self.unanswered = self.unanswered and bool(members)
            self.owed = {name for name in self.owed if name in members}
            self.fresh = {name for name in self.fresh if name in members}
            self.leaving = {name: resource for name, resource in self.leaving.items() if name in members}
        return dropped

    def _try_anew(self, names: Collection[str]) -> None:
        """Whatever the client refused of `names` does not count any more."""
        if self.rollout is not None:
            self.rollout.forget(names)
        for name in names:
            self.unsure.pop(name, None)
            self.parts.pop(name, None)

    def owe(self, names: Iterable[str]) -> None:
        """Answer `names`, though they did not change."""
        self.owed.update(names)

    def resume(self, current: TypeSnapshot) -> None:
        """The client has all of this from an earlier stream."""
        self.at, self.greeted = current, True
        self.owed.clear()
        self.fresh.clear()

    def claim(self, current: TypeSnapshot) -> None:
        """Take the client's word for what it holds from an earlier stream."""
        claimed, self.claimed = dict(self.claimed), {}
        self.at = current
        if claimed == current.versions:
            return
        self.fresh = {n for n, resource in current.resources.items() if claimed.get(n) != resource.version}
        self.orphans = {name for name in claimed if name not in current.resources or name in self.fresh}

    def show(self, current: TypeSnapshot, cold: Cold, *, whole: bool) -> TypeSnapshot:
        """What the client is offered of the current state: all, unless something waits. `whole` says that a
        response is full state."""
        if not self.greeted or self.type_url not in (ROUTE, VIRTUAL_HOST):
            cold = cold._replace(clusters=())
        if self.type_url == ROUTE and (self.parts or cold.clusters):
            current = self._joined(current, cold)
        if self.unsure and not self.pending:
            self._go_back(current)
        if self.rollout is None:
            if not cold.clusters or current is self.at:
                return current
            self.rollout = Rollout(self.at)
        trying = not (whole and self.pending)
        shown = self.rollout.offer(current, self.at, cold, trying=trying, wants=self.wants)
        if self.rollout.over:
            self.rollout = None
        return shown

    def _go_back(self, current: TypeSnapshot) -> None:
        """What was refused and is wanted no more: as a client may have taken a part of what it refused, it is
        sent what it had before."""
        for name, held in list(self.unsure.items()):
            wanted = current.resources.get(name)
            same = _is(wanted, held) or wanted is held
            if not same or (name in self.parts and self.parts[name].waiting):
                continue
            del self.unsure[name]
            if wanted is not None:
                self.owed.add(name)
            elif self.wildcard:
                self.orphans.add(name)
            if self.rollout is not None:
                self.rollout.accept((name,))

    def _joined(self, current: TypeSnapshot, cold: Cold) -> TypeSnapshot:
        """`current` with route configurations that have those virtual hosts that the client is offered."""
        others: list[Resource] = []
        for name, wanted in current.resources.items():
            held = self.at.resources.get(name)
            if not isinstance(wanted, Closed) or (name not in self.parts and not (cold.clusters and held)):
                continue
            part = self.parts.get(name) or Rollout(_hosts(held))
            hosts = part.offer(wanted.hosts, _hosts(held), cold, trying=not self.pending)
            if part.over:
                self.parts.pop(name, None)
            else:
                self.parts[name] = part
            if hosts is not wanted.hosts:
                others.append(wanted.with_hosts(hosts))
        return current.derived(tuple(each.version for each in others), lambda: current.updated(others))

    def due(self, current: TypeSnapshot) -> Due:
        """What must be sent, which counts as sent with this; what is gone is `leaving` from now on, where
        something might need it."""
        before, self.at = self.at, current
        if self.unanswered:
            self.unanswered = False
            self.owed.clear()
            selection = current.select(self.names)
            return Due(selection.found, selection.absent, selection.told, EMPTY, current, None)
        if before is current and not self.owed and not self.fresh:
            return _NOTHING_DUE
        changes = current.changes_since(before)
        changed = self._changed(changes, current)
        gone = [r for r in changes.gone if self.wants(r.name) and r.name not in self.fresh]
        if self.wildcard:  # what goes goes when nothing needs it any more
            self.owed.difference_update(resource.name for resource in gone)
        absent = tuple(sorted(name for name in self.owed if self._absent(name, current)))
        if self.leaving:
            back = [self.leaving.pop(r.name) for r in changes.upserts.resources if r.name in self.leaving]
            before = before.updated(back)
        answer = Batch(changed.resources, absent) if absent else changed
        if self.type_url == VIRTUAL_HOST:
            # Nothing refers to a virtual host, and what takes its domains has to come with its end (line 39).
            orphans = [n for n in self.orphans if n not in before.resources and self._absent(n, current)]
            if changed is changes.upserts and len(gone) == len(changes.gone) and not absent and not orphans:
                answer = changes.together
            else:
                names = (*absent, *sorted(orphans), *(resource.name for resource in gone))
                answer = Batch(changed.resources, tuple(dict.fromkeys(names)))
        else:
            self.leaving.update((resource.name, resource) for resource in gone)
        fresh = frozenset(self.fresh)
        self.owed = {name for name in self.owed if name not in current.resources and self._waits(name)}
        self.fresh.clear()
        return Due(changed, absent, answer, before, current, fresh)

    def _absent(self, name: str, current: TypeSnapshot) -> bool:
        """Whether there is no such resource, rather than one that the client has to wait for."""
        return name not in current.resources and not self._waits(name)

    def _waits(self, name: str) -> bool:
        return self.rollout is not None and name in self.rollout.waiting

    def _changed(self, changes: Changes, current: TypeSnapshot) -> Batch:
        upserts = changes.upserts
        wanted = [r for r in upserts.resources if r.name in self.names.members] if not self.wildcard else None
        if not self.owed and not self.fresh and not self.leaving:
            if wanted is None or len(wanted) == len(upserts.resources):
                return upserts
            return Batch(tuple(wanted))
        chosen = {
            resource.name: resource
            for resource in (upserts.resources if wanted is None else wanted)
            if (held := self.leaving.get(resource.name)) is None or held.version != resource.version
        }
        for name in self.owed | self.fresh:
            if (resource := current.resources.get(name)) is not None:
                chosen[name] = resource
        return Batch(tuple(chosen[name] for name in sorted(chosen)))

    def idle(self, current: TypeSnapshot) -> bool:
        """Whether there is nothing to send, but perhaps something to take away."""
        return self.at is current and self.greeted and not self.owes

    def gone(self, current: TypeSnapshot, needed: Collection[str]) -> tuple[str, ...]:
        """What the client holds and must not, by name, but for what is `needed`."""
        if self.type_url == VIRTUAL_HOST and self.pending:
            return ()
        # An orphan may have come to exist since.
        orphans = (n for n in self.orphans if n not in current.resources and n not in self.at.resources)
        return tuple(sorted({*self.leaving, *orphans}.difference(needed)))

    def forget(self, names: Iterable[str]) -> None:
        """Record that the client was told that `names` do not exist."""
        for name in names:
            self.leaving.pop(name, None)
            self.orphans.discard(name)
            if name not in self.at.resources:
                self.unsure.pop(name, None)

    def note_sent(self, nonce: Nonce, response: Unanswered) -> None:
        """Record a response before it is written (line 3)."""
        if response.whole and self.leaving:
            leaving = self.leaving.values()
            response.before = response.before.updated(
                r for r in leaving if r.name not in response.before.resources
            )
            response.after = response.after.updated(leaving)
        if response.whole and self.pending:
            # It has what those before it have, of which it is not known whether the client takes it.
            oldest = next(iter(self.pending.values()))
            fresh = None if oldest.fresh is None else oldest.fresh | (response.fresh or _NONE)
            response.before, response.fresh = oldest.before, fresh
        self.pending[nonce] = response
        if len(self.pending) > MAX_UNANSWERED:
            del self.pending[next(iter(self.pending))]
        self.last_nonce = nonce
        self.greeted = True

    def settle(self, nonce: Nonce, error: str | None) -> Unanswered | None:
        """Take an ACK of `nonce`, or a NACK if there is an `error`: the response that it is about, or None if
        that is not waiting for one. Earlier responses are settled with it, as the client answers in order."""
        answered = self.pending.get(nonce)
        if answered is None:
            return None
        while next(iter(self.pending)) != nonce:
            del self.pending[next(iter(self.pending))]
        del self.pending[nonce]
        if error is not None:
            self._refused(answered, error)
        else:
            for each in self.pending.values() if answered.whole else ():
                each.before, each.fresh = answered.after, each.fresh and each.fresh - answered.changed
            if self.unsure or self.rollout is not None or self.parts:
                self._accepted(answered)
            if self.orphans or self.unsure:
                self._known(answered)
        return answered

    def _known(self, answered: Unanswered) -> None:
        """What the client accepted settles what it has of some names."""
        names = answered.batch.names
        if answered.whole:
            self.unsure.clear()
            self.orphans.intersection_update(names)
        for name in answered.batch.removed:
            self.unsure.pop(name, None)
            self.orphans.discard(name)
        self.orphans.difference_update(name for name in names if name in self.at.resources)

    def _accepted(self, answered: Unanswered) -> None:
        changed = answered.changed
        for name, part in self.parts.items():
            if name in changed:
                before = self.unsure[name] if name in self.unsure else answered.prior(name)
                after = _hosts(answered.after.resources.get(name))
                part.accept(after.changes_since(_hosts(before)).names)
        if self.rollout is not None:
            self.rollout.accept(changed)
        for name in changed:
            self.unsure.pop(name, None)

    def _refused(self, answered: Unanswered, message: str) -> None:
        """Nothing of the response was accepted: the client is where it was before (line 37)."""
        after = answered.after
        had = {
            name: self.unsure[name] if name in self.unsure else answered.prior(name)
            for name in answered.changed
            if self.wants(name)
        }
        prior = {name: held for name, held in had.items() if not _is(held, after.resources.get(name))}
        # What a later response has of a name is still on its way.
        later = _NONE.union(*(each.changed.union(each.batch.removed) for each in self.pending.values()))
        if prior:  # else it refuses what it has, and nothing helps
            self.owed.update(had.keys() - prior.keys() - self.leaving.keys() - later)
        self.unsure.update(prior)
        self._keep_what_it_had(answered, {n: held for n, held in prior.items() if n not in later})
        rest = set(prior)
        for name, held in prior.items():
            hosts, before = _hosts(after.resources.get(name)), _hosts(held)
            if changed := hosts.changes_since(before).names:
                part = self.parts.setdefault(name, Rollout(_hosts(self.at.resources.get(name))))
                part.refuse(changed, before, hosts, named(message, hosts.resources))
                rest.discard(name)
        if rest:
            if self.rollout is None:
                self.rollout = Rollout(self.at)
            self.rollout.refuse(rest, _put(after, prior), after, named(message, answered.resources))
        back = {
            name: held
            for name, held in prior.items()
            if name not in later and self.at.resources.get(name) == after.resources.get(name)
        }
        self.at = _put(self.at, back)

    def _keep_what_it_had(self, answered: Unanswered, prior: Mapping[str, Resource | None]) -> None:
        """Of what is on its way out the client is to be left what it accepted, not what it refused."""
        for name, held in prior.items():
            refused = answered.after.resources.get(name)
            if refused is None or self.leaving.get(name) != refused:
                continue
            if held is not None:
                self.leaving[name] = held
            else:
                del self.leaving[name]
                if self.wildcard:
                    self.orphans.add(name)


def _is(one: Resource | None, other: Resource | None) -> bool:
    """Whether both are there, and the same."""
    return one is not None and other is not None and one.version == other.version


def _put(of: TypeSnapshot, resources: Mapping[str, Resource | None]) -> TypeSnapshot:
    """The same with these in place, and without those that are None."""
    gone = [name for name, resource in resources.items() if resource is None]
    return of.updated([resource for resource in resources.values() if resource is not None], gone)


def _hosts(routes: Resource | None) -> TypeSnapshot:
    """The virtual hosts that are inside a route configuration."""
    return routes.hosts if isinstance(routes, Closed) else EMPTY
