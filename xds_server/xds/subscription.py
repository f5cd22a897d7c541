"""One type on one stream: what the client wants, what it holds, what it is still owed.

The rules that both variants share. The variants differ in how a request changes the subscription (`sotw`,
`delta`) and in what a response may say; they do not differ in what a client should end up with.

What a client holds is not listed but told from where the stream stands: everything it asked for as it was
`at` one moment, with the exceptions. So a stream costs the same however many resources there are, and what is
due follows from what changed since. Where the client refuses something, `offers` says what it is offered
instead of the current state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import Nonce, TypeUrl
from xds_server.xds.batch import NOTHING, Batch
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.offers import Offers, put, same
from xds_server.xds.outline import MAX_NAMES
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Due, Unanswered
from xds_server.xds.rollout import Cold
from xds_server.xds.snapshot import EMPTY, Changes, TypeSnapshot
from xds_server.xds.types import CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST

WILDCARD = "*"
WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""The types for which an empty first list of names means everything (rule 8), and whose SotW responses are
full state (rule 26)."""

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
    and with `leaving`, which it holds and must not keep. What it refuses takes it back to where it was;
    `offers` says what it is offered of that, and when. `backlog` is the rest of a response that was too
    large. `owed` are names to answer even if unchanged; `unanswered` says that all are. `orphans` are
    names that the client may hold in a version that is not known, from an earlier stream or as it refused
    only a part of a response; it is told when they do not exist. `rewarm` are assignments of clusters
    that the client was sent and has not acknowledged (rule 29). `known_version` (SotW) and `claimed`
    (delta, by name) are what the first request says of an earlier stream, the latter with its size in
    bytes.
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
    offers: Offers = field(default_factory=Offers)
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
    def free_at(self) -> float:
        """When the next response may be sent. Where it depends on whether the last was accepted, that is when
        it is answered, or has not been for long: of two virtual hosts the second may take what only the
        first gives up (rule 40). Who has none yet has none that gives up anything."""
        if self.type_url != VIRTUAL_HOST or not self.pending or self._begins:
            return 0.0
        return next(reversed(self.pending.values())).at + _ANSWER_S

    @property
    def _begins(self) -> bool:
        """Whether the next response is a part of the first."""
        return bool(self.backlog) and not self.backlog[0][1].before.resources and not self.orphans

    @property
    def unknown(self) -> bool:
        """Whether it is not known what the client has of something."""
        return bool(self.orphans)

    def kept(self, needed: Collection[str]) -> Iterator[Resource]:
        """What the client is kept on: instead of what it refuses or waits for, or as it is `needed`."""
        yield from (self.leaving[name] for name in needed if name in self.leaving)
        yield from self.offers.kept(self.at)

    @property
    def told_absent(self) -> list[Batch]:
        """What it was told to be absent, and has not answered: names that the client may have made up."""
        return [each.batch for each in self.pending.values() if each.batch.removed]

    def wants(self, name: str) -> bool:
        """Whether the client asked for it."""
        return self.wildcard or name in self.names.members

    def add(self, names: tuple[str, ...]) -> None:
        """Subscribe to `names`: each is answered, held or not (rules 10, 14 and 33).

        Raises:
            RequestLimitError: these are too many.
        """
        if not names:
            return
        if len(self.names) + len(names) > MAX_NAMES:
            raise RequestLimitError(f"more than {MAX_NAMES:,} names of one type on one stream")
        self.named = True
        self.offers.forget(names)
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
        """Unsubscribe from `names` and return those that were subscribed; others are ignored (rule 33). What
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
                self.offers.forget(dropped)
        if star:
            self.wildcard = False
        if not self.wildcard and (dropped or star):
            members = self.names.members
            self.unanswered = self.unanswered and bool(members)
            self.owed = {name for name in self.owed if name in members}
            self.fresh = {name for name in self.fresh if name in members}
            self.leaving = {name: resource for name, resource in self.leaving.items() if name in members}
        return dropped

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
        cold = cold.of(self.type_url) if self.greeted else cold._replace(clusters=())
        if self.type_url == ROUTE:
            current = self.offers.joined(current, self.at, cold, trying=not self.pending)
        if not self.pending:
            for name in self.offers.back(current):
                if name in current.resources:
                    self.owed.add(name)
                elif self.wildcard:
                    self.orphans.add(name)
        return self.offers.offer(current, self.at, cold, trying=not (whole and self.pending))

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
            # Nothing refers to a virtual host, and what takes its domains has to come with its end (rule 39).
            orphans = [n for n in self.orphans if n not in before.resources and self._absent(n, current)]
            if changed is changes.upserts and len(gone) == len(changes.gone) and not absent and not orphans:
                answer = changes.together
            else:
                names = (*absent, *sorted(orphans), *(resource.name for resource in gone))
                answer = Batch(changed.resources, tuple(dict.fromkeys(names)))
        else:
            self.leaving.update((resource.name, resource) for resource in gone)
        fresh = frozenset(self.fresh)
        self.owed = {
            name for name in self.owed if name not in current.resources and self.offers.holds_back(name)
        }
        self.fresh.clear()
        return Due(changed, absent, answer, before, current, fresh)

    def _absent(self, name: str, current: TypeSnapshot) -> bool:
        """Whether there is no such resource, rather than one that the client has to wait for."""
        return name not in current.resources and not self.offers.holds_back(name)

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
            self.offers.unsure.pop(name, None)
        if not self.orphans:
            self.orphans = set()  # one that was large keeps its size when it is emptied

    def note_sent(self, nonce: Nonce, response: Unanswered) -> None:
        """Record a response before it is written (rule 3)."""
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
            if self.offers.careful:
                self.offers.accept(answered)
            if self.orphans:
                self._settle_orphans(answered)
        return answered

    def _settle_orphans(self, answered: Unanswered) -> None:
        names = answered.batch.names
        if answered.whole:
            self.orphans.intersection_update(names)
        self.orphans.difference_update(answered.batch.removed)
        self.orphans.difference_update(n for n in names if n in self.at.resources or n in self.leaving)

    def _refused(self, answered: Unanswered, message: str) -> None:
        """Nothing of the response was accepted: the client is where it was before (rule 37)."""
        after = answered.after.resources
        # Full state goes on to leave out what it left out.
        had = {
            name: held
            for name, held in self.offers.had(answered).items()
            if self.wants(name) and (name in after or not answered.whole)
        }
        prior = {name: held for name, held in had.items() if not same(held, after.get(name))}
        # What a later response has of a name is still on its way.
        later = _NONE.union(*(each.changed.union(each.batch.removed) for each in self.pending.values()))
        if prior:  # else it refuses what it has, and nothing helps
            self.owed.update(had.keys() - prior.keys() - self.leaving.keys() - later)
        self.offers.refuse(answered, prior, self.at, message)
        back = {name: held for name, held in prior.items() if name not in later}
        self._keep_what_it_had(answered, back)
        resources = self.at.resources
        self.at = put(self.at, {n: held for n, held in back.items() if resources.get(n) == after.get(n)})

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
