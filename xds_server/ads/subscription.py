"""One type on one stream: what the client wants, what it holds, what it is still owed.

The rules that both variants share. The variants differ in how a request changes the subscription (`sotw`,
`delta`) and in what a response may say; they do not differ in what a client should end up with.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from xds_server.base.ids import Nonce, TypeUrl, Version
from xds_server.snapshot.resource import Resource
from xds_server.snapshot.snapshot import TypeSnapshot
from xds_server.snapshot.types import CLUSTER, LISTENER

WILDCARD = "*"
WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""The types for which an empty first list of names means everything (line 8), and whose SotW responses are
full state (line 26)."""


_NO_NONCE = Nonce("")


MAX_UNANSWERED = 64
"""Responses of one type that are remembered for a client that reads and does not answer; an answer to an
older one then counts as stale."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A response that the client has neither accepted nor refused yet (line 3)."""

    version: Version
    resources: tuple[Resource, ...]


@dataclass(slots=True)
class Subscription:
    """Mutable, owned by one stream's machine.

    `held` is what the client has been sent, refused or not: a NACK leaves it, so that nothing is sent again
    until its content changes (line 5). `refused` are names of which it may still use what it had before.
    `owed` are names to answer even if unchanged. `orphans` are names that the client holds from an earlier
    stream and that no longer exist. `rewarm` are assignments of clusters that the client was sent and has
    not acknowledged (line 29). `known_version` (SotW) and `claimed` (delta, by name) are what the first
    request says of an earlier stream.
    """

    type_url: TypeUrl
    names: set[str] = field(default_factory=set)
    wildcard: bool = False
    named: bool = False
    greeted: bool = False
    held: Mapping[str, Resource] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    rewarm: set[str] = field(default_factory=set)
    pending: dict[Nonce, Unanswered] = field(default_factory=dict)
    last_nonce: Nonce = _NO_NONCE
    refused: set[str] = field(default_factory=set)
    known_version: str = ""
    claimed: dict[str, str] = field(default_factory=dict)
    _examined: TypeSnapshot | None = None

    @property
    def unsettled(self) -> bool:
        """Whether the client may still be using something older than what it was sent last. A response of
        other names that it accepts leaves what it refused as it is."""
        return bool(self.pending) or self.refusing

    @property
    def refusing(self) -> bool:
        """Whether something that the client refused is still what it was sent last."""
        return any(name in self.held for name in self.refused)

    def add(self, names: Iterable[str]) -> None:
        """Subscribe to `names`: each is answered, held or not (lines 10, 14 and 33)."""
        for name in names:
            self.named = True
            if name == WILDCARD:
                self.wildcard = True
            else:
                self.names.add(name)
                self.owed.add(name)
            self._examined = None

    def drop(self, names: Collection[str]) -> set[str]:
        """Unsubscribe from `names` and return those that were subscribed; others are ignored (line 33). What
        the client then has no reason to hold is forgotten, so that a new subscription is answered anew."""
        dropped = self.names.intersection(names)
        self.names -= dropped
        self.owed -= dropped
        star = self.wildcard and WILDCARD in names
        if star:
            self.wildcard = False
        if star:
            self.held = {name: resource for name, resource in self.held.items() if name in self.names}
            self._examined = None
        elif dropped and not self.wildcard:
            held = dict(self.held)
            for name in dropped:
                held.pop(name, None)
            self.held = held
            self._examined = None
        return dropped

    def owe(self, names: Iterable[str]) -> None:
        """Answer `names`, though they did not change."""
        for name in names:
            self.owed.add(name)
            self._examined = None

    def wanted(self, current: TypeSnapshot) -> Mapping[str, Resource]:
        """Those of the current resources that the client asked for."""
        if self.wildcard:
            return current.resources
        return {name: r for name in self.names if (r := current.resources.get(name)) is not None}

    def due(self, wanted: Mapping[str, Resource]) -> list[Resource]:
        """What must be sent of `wanted`: what the client does not hold in this version, and what it is
        owed; by name."""
        held = self.held
        changed = {
            name: resource
            for name, resource in wanted.items()
            if (had := held.get(name)) is not resource and (had is None or had.version != resource.version)
        }
        changed.update((name, wanted[name]) for name in self.owed if name in wanted)
        return [changed[name] for name in sorted(changed)]

    def gone(self, wanted: Mapping[str, Resource]) -> list[str]:
        """What the client holds and must not, by name."""
        if self.held is wanted and not self.orphans:
            return []
        # An orphan may have come to exist since.
        return sorted({name for names in (self.held, self.orphans) for name in names if name not in wanted})

    def hold(self, wanted: Mapping[str, Resource], *, keep_gone: bool) -> None:
        """Record that all of `wanted` was sent; `keep_gone` leaves what is not part of it in place, to be
        removed by a later response. The mapping itself is shared, not copied, where nothing else is held."""
        self._examined = None  # the snapshot of before may come back, and is a change then
        if keep_gone and any(name not in wanted for name in self.held):
            self.held = {**self.held, **wanted}
        else:
            self.held = wanted
        self.owed.clear()

    def forget(self, names: Collection[str]) -> None:
        """Record that the client was told that `names` do not exist."""
        if names:
            self.held = {name: resource for name, resource in self.held.items() if name not in names}
            self.orphans.difference_update(names)

    def examined(self, current: TypeSnapshot) -> bool:
        """Whether nothing was due when this very snapshot was looked at before."""
        return self._examined is current

    def mark_examined(self, current: TypeSnapshot) -> None:
        """Remember that nothing is due until the snapshot or the subscription changes."""
        self._examined = current

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
        waiting = list(self.pending)
        for settled in waiting[: waiting.index(nonce) + 1]:
            del self.pending[settled]
        if refused:
            self.refused.update(resource.name for resource in answered.resources)
        elif self.refused:
            self.refused.difference_update(resource.name for resource in answered.resources)
        return answered.version
