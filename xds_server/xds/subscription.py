"""One type on one stream: what the client asked for, what it holds, and which answers it is owed.

These rules are common to both protocol variants. The variants differ in how a request changes a subscription
and in what a response can express (`sotw`, `delta`), not in what a client ends up with.

What a client holds is not listed. It is derived: everything that it subscribed to as of one snapshot (`at`),
with the exceptions that the fields name. So a stream costs the same however many resources there are, and
what is due follows from the changes since `at`. `due` derives what to send, `answers` handles ACKs and NACKs,
and `offers` decides what a client that rejected something is offered.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from xds_server.base.errors import RequestLimitError
from xds_server.base.ids import Nonce, TypeUrl
from xds_server.xds.batch import Batch
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.offers import Offers
from xds_server.xds.outline import MAX_NAMES
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Due, Unanswered
from xds_server.xds.snapshot import EMPTY, TypeSnapshot
from xds_server.xds.types import CLUSTER, LISTENER, VIRTUAL_HOST

WILDCARD = "*"
WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""The types for which an empty first list of names is a wildcard subscription (rule 8), and whose SotW
responses are full state (rule 26)."""

_NO_NONCE = Nonce("")
NONE: Final[frozenset[str]] = frozenset()

_ANSWER_S: Final = 30.0
"""How long a response waits for its ACK or NACK before the next virtual hosts are sent anyway."""


@dataclass(slots=True)
class Subscription:
    """Mutable, owned by one stream's machine.

    The client holds the resources that it subscribed to as of `at`, without the names in `fresh`, to which it
    subscribed since, and with `leaving`, which were deleted and are not removed from the client yet. After a
    NACK it is back at its earlier state; `offers` says what it is offered next, and when.

    - `named`: a request has listed names. `started`: a first response was sent, or none was necessary.
    - `owed`: names that must be sent even if unchanged; `unanswered` says that all subscribed names must be.
    - `backlog`: the remaining parts of a response that was too large.
    - `orphans`: names that the client may hold in an unknown version, from an earlier stream or because it
      applied a part of a response that it rejected. They are removed if they do not exist.
    - `rewarm`: the endpoints of clusters that were sent and not acknowledged yet (rule 29).
    - `known_version` (SotW) and `known_versions` (delta, by name) are the versions that the first request
      carries from an earlier stream; `known_versions_size` is their size in bytes.
    """

    type_url: TypeUrl
    names: Names = NO_NAMES
    wildcard: bool = False
    named: bool = False
    started: bool = False
    at: TypeSnapshot = EMPTY
    unanswered: bool = False
    fresh: set[str] = field(default_factory=set)
    leaving: dict[str, Resource] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    rewarm: frozenset[str] = NONE
    pending: dict[Nonce, Unanswered] = field(default_factory=dict)
    last_nonce: Nonce = _NO_NONCE
    offers: Offers = field(default_factory=Offers)
    backlog: list[tuple[Batch, Due]] = field(default_factory=list)
    known_version: str = ""
    known_versions: Mapping[str, str] = field(default_factory=dict)
    known_versions_size: int = 0

    @property
    def watched(self) -> Names | None:
        """The names that the client subscribed to; None for all."""
        return None if self.wildcard else self.names

    @property
    def must_answer(self) -> bool:
        """Whether a response is due even if the state has not changed."""
        return bool(self.unanswered or self.owed or self.fresh or self.backlog)

    @property
    def has_removals(self) -> bool:
        """Whether the client may hold something that must be removed."""
        return bool(self.leaving or self.orphans)

    @property
    def next_send_at(self) -> float:
        """The earliest time of the next response. Virtual hosts wait for the ACK or NACK of the last
        response, for a bounded time, because the next may take a domain that only the last gives up (rule
        40). A client without virtual hosts gives up nothing, so it does not wait."""
        if self.type_url != VIRTUAL_HOST or not self.pending or self._continues_first:
            return 0.0
        return next(reversed(self.pending.values())).at + _ANSWER_S

    @property
    def _continues_first(self) -> bool:
        """Whether the next response is a further part of the client's first."""
        return bool(self.backlog) and not self.backlog[0][1].before.resources and not self.orphans

    @property
    def unknown(self) -> bool:
        """Whether the client may hold a resource in an unknown version."""
        return bool(self.orphans)

    def kept(self, needed: Collection[str]) -> Iterator[Resource]:
        """The resources that the client keeps in an older version: because it rejected the new one, because
        the new one waits, or because they are `needed` until their removal."""
        yield from (self.leaving[name] for name in needed if name in self.leaving)
        yield from self.offers.kept(self.at)

    @property
    def unanswered_removals(self) -> list[Batch]:
        """The unanswered responses with removed names. A client can invent such names, so they count against
        its limits."""
        return [each.batch for each in self.pending.values() if each.batch.removed]

    def wants(self, name: str) -> bool:
        """Whether the client subscribed to the name."""
        return self.wildcard or name in self.names.members

    def add(self, names: tuple[str, ...]) -> None:
        """Subscribe to `names`. Each is answered even if the client holds it (rules 10, 14 and 33).

        Raises:
            RequestLimitError: the stream would have too many names of the type.
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
        elif not self.names.members:  # the client holds nothing, so there are no exceptions to list
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
        """Unsubscribe from `names` and return those that were subscribed; others are ignored (rule 33). State
        about them is dropped, so that a new subscription is answered again."""
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
        """Send `names` even if they have not changed."""
        self.owed.update(names)

    def resume(self, current: TypeSnapshot) -> None:
        """The client holds all of `current` from an earlier stream."""
        self.at, self.started = current, True
        self.owed.clear()
        self.fresh.clear()

    def claim(self, current: TypeSnapshot) -> None:
        """Use the versions that the client claims to hold from an earlier stream."""
        known_versions, self.known_versions = dict(self.known_versions), {}
        self.at = current
        if known_versions == current.versions:
            return
        self.fresh = {
            n for n, resource in current.resources.items() if known_versions.get(n) != resource.version
        }
        self.orphans = {
            name for name in known_versions if name not in current.resources or name in self.fresh
        }

    def idle(self, current: TypeSnapshot) -> bool:
        """Whether nothing must be sent. Removals may still be due."""
        return self.at is current and self.started and not self.must_answer

    def forget(self, names: Iterable[str]) -> None:
        """Record that the client was sent the removal of `names`."""
        for name in names:
            self.leaving.pop(name, None)
            self.orphans.discard(name)
            self.offers.held_before.pop(name, None)
        if not self.orphans:
            self.orphans = set()  # an emptied set keeps the memory of its largest size
