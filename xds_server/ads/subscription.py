"""One type on one stream: what the client wants, what it holds, what it is still owed.

The rules that both variants share. The variants differ in how a request changes the subscription (`sotw`,
`delta`) and in what a response may say; they do not differ in what a client should end up with.

What a client holds is not listed but told from where the stream stands: everything it asked for as it was
`at` one moment, with the exceptions. So a stream costs the same however many resources there are, and what is
due follows from what changed since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xds_server.ads.requests import MAX_NAMES
from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import Nonce, TypeUrl, Version
from xds_server.snapshot.batch import NOTHING, Batch
from xds_server.snapshot.names import NO_NAMES, Names
from xds_server.snapshot.resource import Resource
from xds_server.snapshot.snapshot import EMPTY, Changes, TypeSnapshot
from xds_server.snapshot.types import CLUSTER, LISTENER

WILDCARD = "*"
WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""The types for which an empty first list of names means everything (line 8), and whose SotW responses are
full state (line 26)."""

_NO_NONCE = Nonce("")
_NONE: frozenset[str] = frozenset()

MAX_UNANSWERED = 64
"""Responses of one type that are remembered for a client that reads and does not answer; an answer to an
older one then counts as stale."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a client must be sent: resources, and names it asked for that do not exist. `answer` says both."""

    changed: Batch
    absent: tuple[str, ...]
    answer: Batch


_NOTHING_DUE = Due(NOTHING, (), NOTHING)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A response that the client has neither accepted nor refused yet (line 3). `number` counts the responses
    of the stream."""

    version: Version
    batch: Batch
    number: int


@dataclass(slots=True)
class Subscription:
    """Mutable, owned by one stream's machine.

    The client holds what it asked for as it was `at` that moment, without `fresh`, which it asked for since,
    and with `leaving`, which it holds and must not keep. Whether it refused something leaves that: nothing is
    sent again until its content changes (line 5). `refused` are names of which it may still use what it had
    before. `owed` are names to answer even if unchanged; `unanswered` says that all are. `orphans` are names
    that the client holds from an earlier stream and that no longer exist. `rewarm` are assignments of
    clusters that the client was sent and has not acknowledged (line 29). `known_version` (SotW) and `claimed`
    (delta, by name) are what the first request says of an earlier stream, the latter with its size in bytes.
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
    refused: set[str] = field(default_factory=set)
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
        return bool(self.unanswered or self.owed or self.fresh)

    @property
    def parting(self) -> bool:
        """Whether the client may hold something that it must not keep."""
        return bool(self.leaving or self.orphans)

    @property
    def unsettled(self) -> bool:
        """Whether the client may still be using something older than what it was sent last. A response of
        other names that it accepts leaves what it refused as it is."""
        return bool(self.pending) or self.refusing

    @property
    def refusing(self) -> bool:
        """Whether something that the client refused is still what it was sent last."""
        return bool(self.refused) and any(self.holds(name) for name in self.refused)

    @property
    def told_absent(self) -> list[Batch]:
        """What it was told to be absent, and has not answered: names that the client may have made up."""
        return [each.batch for each in self.pending.values() if each.batch.removed]

    def wants(self, name: str) -> bool:
        """Whether the client asked for it."""
        return self.wildcard or name in self.names.members

    def holds(self, name: str) -> bool:
        """Whether the client was sent it and not told to drop it."""
        if name in self.leaving:
            return True
        return name in self.at.resources and self.wants(name) and name not in self.fresh

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
            self.owed.difference_update(dropped)
            if not self.wildcard:
                self.refused -= set(dropped)
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
        self.orphans = {name for name in claimed if name not in current.resources}

    def due(self, current: TypeSnapshot) -> Due:
        """What must be sent, which counts as sent with this; what is gone is `leaving` from now on."""
        if self.unanswered:
            self.unanswered = False
            self.at = current
            self.owed.clear()
            selection = current.select(self.names)
            return Due(selection.found, selection.absent, selection.told)
        if self.at is current and not self.owed and not self.fresh:
            return _NOTHING_DUE
        changes = current.changes_since(self.at)
        changed = self._changed(changes, current)
        absent = tuple(sorted(name for name in self.owed if name not in current.resources))
        for resource in changes.upserts.resources if self.leaving else ():
            self.leaving.pop(resource.name, None)
        for resource in changes.gone:
            if self.wants(resource.name) and resource.name not in self.fresh:
                self.leaving[resource.name] = resource
        self.at = current
        self.owed.clear()
        self.fresh.clear()
        return Due(changed, absent, Batch(changed.resources, absent) if absent else changed)

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

    def gone(self, current: TypeSnapshot) -> tuple[str, ...]:
        """What the client holds and must not, by name."""
        # An orphan may have come to exist since.
        return tuple(sorted({*self.leaving, *(n for n in self.orphans if n not in current.resources)}))

    def forget(self, names: Iterable[str]) -> None:
        """Record that the client was told that `names` do not exist."""
        for name in names:
            self.leaving.pop(name, None)
            self.orphans.discard(name)

    def note_sent(self, nonce: Nonce, response: Unanswered) -> None:
        """Record a response before it is written (line 3)."""
        self.pending[nonce] = response
        if len(self.pending) > MAX_UNANSWERED:
            del self.pending[next(iter(self.pending))]
        self.last_nonce = nonce
        self.greeted = True

    def settle(self, nonce: Nonce, *, refused: bool) -> Version | None:
        """Take an ACK or NACK of `nonce`: the version it is about, or None if that response is not waiting
        for one. Earlier responses are settled with it, as the client answers in order."""
        answered = self.pending.get(nonce)
        if answered is None:
            return None
        while next(iter(self.pending)) != nonce:
            del self.pending[next(iter(self.pending))]
        del self.pending[nonce]
        if refused:
            self.refused |= answered.batch.names
        elif self.refused:
            self.refused -= answered.batch.names
        return answered.version
