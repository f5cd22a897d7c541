"""One stream, without I/O: requests in, the next response out.

`next` is asked whenever the stream can take another message and answers from the newest snapshot. So there
is no queue: a slow reader gets the latest state when it is ready for it, and a response can never be for a
subscription that has changed since (rules 17 and 18).

Order (rule 11): everything new or changed goes out first, clusters before the assignments, listeners and
routes that need them; what is gone is taken away afterwards, in reverse, once nothing that the client may
still use can need it. An ACK is never waited for before sending something new (rule 12): Envoy withholds it
while it warms. It is waited for only before taking away, and before requests are moved to a cluster that the
client cannot use yet (rule 41). What a client refuses is taken apart by `rollout`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from xds_server.base.errors import RequestError
from xds_server.base.ids import Nonce, StreamId, TypeUrl, Version
from xds_server.xds.batch import Batch
from xds_server.xds.budget import Held
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Due, Unanswered
from xds_server.xds.rollout import Cold
from xds_server.xds.server_options import MAX_MESSAGE_BYTES
from xds_server.xds.snapshot import EMPTY, Snapshot, TypeSnapshot
from xds_server.xds.stream_events import Acked, Event, Nacked, RoutesAsked, Subscribed, Withheld
from xds_server.xds.subscription import Subscription
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from xds_server.xds.warming import Warming

ORDER = (CLUSTER, ENDPOINT, SECRET, LISTENER, ROUTE, VIRTUAL_HOST)
_USERS = {
    CLUSTER: (LISTENER, ROUTE, VIRTUAL_HOST),
    ENDPOINT: (CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST),
    SECRET: (CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST),
    LISTENER: (),
    ROUTE: (LISTENER,),
    VIRTUAL_HOST: (),
}
"""By type, the types whose unacknowledged resources may still need one of it."""

_ENVELOPE_BYTES: Final = 4096
_FEW_ROUTES: Final = 16
_ALL_WARM: Final = Cold((), 0.0)

RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to write, independent of the variant's encoding."""

    type_url: TypeUrl
    version: Version
    nonce: Nonce
    batch: Batch

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order of the response."""
        return self.batch.resources

    @property
    def removed(self) -> tuple[str, ...]:
        """Names that are taken away; delta only."""
        return self.batch.removed


class Draft(NamedTuple):
    """A response before it has a nonce. `changed` are those resources of `batch` that are new to the
    client; `due` is what came of them, if anything did. `whole` says that it is full state."""

    version: Version
    batch: Batch
    changed: Batch
    due: Due | None = None
    whole: bool = False


class StreamMachine(ABC, Generic[RequestT]):
    """The rules of a stream that do not depend on the variant. `sent` is how many responses there were."""

    def __init__(self, stream: StreamId) -> None:
        self.stream = stream
        self.sent = 0
        self._subscriptions: dict[TypeUrl, Subscription] = {}
        self._serial = self._repeats = 0
        self._quiet: Snapshot | None = None
        self._removals_wait = False
        self._waits = False
        self._wakes_at: float | None = None
        self._warming = Warming()
        self._now = 0.0
        self._held_up: list[Subscription] = []
        self._careful: list[Subscription] = []
        self._noted: list[Event] = []
        self._routes = NO_NAMES

    @abstractmethod
    def receive(self, request: RequestT) -> list[Event]:
        """Take one request; say what it acknowledged or refused.

        Raises:
            RequestError: the request has no type (rule 2); the stream must end.
        """

    @abstractmethod
    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        """What is new for the client, or None."""

    @abstractmethod
    def _removals(
        self, subscription: Subscription, current: TypeSnapshot, needed: Collection[str]
    ) -> Draft | None:
        """What is to be taken from the client, or None, but for what is `needed`; asked when nothing new is
        due and something is parting."""

    @abstractmethod
    def _is_whole(self, type_url: TypeUrl) -> bool:
        """Whether a response of that type is full state."""

    @property
    def restless(self) -> bool:
        """Whether there may be something to send that `next` did not see when it was last asked."""
        return self._quiet is None

    @property
    def wakes_at(self) -> float | None:
        """When `next` may have something more to send though nothing happened; None for never."""
        return self._wakes_at

    @property
    def oldest_unanswered(self) -> int:
        """The number of the first response that awaits an answer; of the next one if none does."""
        waiting = (each.pending for each in self._subscriptions.values() if each.pending)
        return min((next(iter(each.values())).number for each in waiting), default=self.sent + 1)

    def has_sent_all(self, snapshot: Snapshot) -> bool:
        """Whether the client was sent all of `snapshot`. What is to be taken away and waits for an answer is
        not sent yet; where it is a refusal that keeps it, all has been sent that can be."""
        if snapshot is not self._quiet or self._waits:
            return False
        return not self._removals_wait or self.oldest_unanswered > self.sent

    def serves(self, type_url: TypeUrl) -> bool:
        """Whether there is a subscription to the type."""
        return type_url in self._subscriptions

    def watched(self, type_url: TypeUrl) -> Names | None:
        """The names of a subscription that there is; None for all."""
        return self._subscriptions[type_url].watched

    def held(self, *, claims: bool) -> Held:
        """The names that the client makes this process keep; with `claims` those of them that it says it has
        from an earlier stream, and that wait for a first snapshot."""
        found = self._subscriptions.values()
        own = sum(each.claims_size for each in found if each.orphans or (claims and each.claimed))
        absent = [batch for each in found for batch in each.told_absent]
        return Held((*[each.names for each in found], *absent), own)

    def next(self, snapshot: Snapshot, now: float = 0.0) -> Response | None:
        """The next response, recorded as sent, or None if the client has everything that it may have now.
        `now` is seconds of any clock that goes on."""
        if snapshot is self._quiet and (self._wakes_at is None or now < self._wakes_at):
            return None
        self._now = now
        if self._held_up or self._careful:
            self._held_up.clear()
            self._careful.clear()
        if self._warming.cold:
            self._warming.look(snapshot)
        response = self._next_addition(snapshot) or self._next_removal(snapshot)
        if response is None:
            self._quiet = snapshot
            self._waits, self._wakes_at = False, None
            if self._careful or self._held_up:
                self._note_what_waits()
        return response

    def _note_what_waits(self) -> None:
        self._waits = bool(self._held_up) or any(each.offers.waits for each in self._careful)
        wakes = [at for each in self._careful if (at := each.offers.wakes_at) is not None]
        wakes += [each.free_at for each in self._held_up]
        self._wakes_at = min(wakes, default=None)

    def _next_addition(self, snapshot: Snapshot) -> Response | None:
        cold = Cold(self._warming.cold, self._now) if self._warming.cold else _ALL_WARM
        for type_url in ORDER:
            subscription = self._subscriptions.get(type_url)
            if subscription is None:
                continue
            current = snapshot.types.get(type_url, EMPTY)
            careful = bool(cold.clusters) or subscription.offers.careful
            if careful:
                self._careful.append(subscription)
            elif subscription.idle(current):
                continue
            if subscription.pending and subscription.free_at > self._now:
                if subscription.owes or current is not subscription.at:
                    self._held_up.append(subscription)
                continue
            if subscription.backlog:
                return self._send_part(subscription)
            if careful:
                sent = self._next_careful(subscription, current, cold)
            else:
                sent = self._next_of(subscription, current)
            if sent:
                return sent
        return None

    def _next_of(self, subscription: Subscription, current: TypeSnapshot) -> Response | None:
        if subscription.idle(current):
            return None
        draft = self._additions(subscription, current)
        return self._send(subscription.type_url, draft) if draft else None

    def _next_careful(self, subscription: Subscription, current: TypeSnapshot, cold: Cold) -> Response | None:
        """What is in doubt waits for all else of its type; where that is not sent, as the client does not ask
        for it or there is no word for it, its turn is at once."""
        while True:
            shown = subscription.show(current, cold, whole=self._is_whole(subscription.type_url))
            ends = shown is subscription.at or bool(subscription.pending)
            sent = self._next_of(subscription, shown)
            if sent or ends or not subscription.offers.doubtful:
                return sent

    def _next_removal(self, snapshot: Snapshot) -> Response | None:
        self._removals_wait = False
        for type_url in reversed(ORDER):
            subscription = self._subscriptions.get(type_url)
            if subscription is None or not subscription.parting:
                continue
            if any(self._awaited(user) for user in _USERS[type_url]):
                self._removals_wait = True
                continue
            draft = self._removals(subscription, snapshot.of(type_url), self._needed(type_url))
            if draft is None and subscription.pending:
                self._removals_wait = True
            if draft and (sent := self._send(type_url, draft)):
                return sent
        return None

    def take_noted(self) -> list[Event]:
        """What `next` found besides the response, since this was last asked."""
        if not self._noted:
            return []
        noted, self._noted = self._noted, []
        return noted

    def _awaited(self, type_url: TypeUrl) -> bool:
        """Whether the client may still be using something older than what it was sent last, and it is not
        known what."""
        subscription = self._subscriptions.get(type_url)
        return subscription is not None and bool(subscription.pending or subscription.unknown)

    def _needed(self, type_url: TypeUrl) -> set[str]:
        """The names of a type that the client needs for what it is kept on."""
        return {
            ref.name
            for user in _USERS[type_url]
            if (subscription := self._subscriptions.get(user)) is not None
            for resource in subscription.kept(self._needed(user))
            for ref in resource.refs
            if ref.type_url == type_url
        }

    def _send(self, type_url: TypeUrl, draft: Draft) -> Response | None:
        """The response, or its first part; None if it is larger than gRPC sends, and cannot be split."""
        subscription = self._subscriptions[type_url]
        if draft.due is not None and not draft.whole and draft.due.answer is draft.batch:
            parts = draft.due.parts()
            if len(parts) > 1:
                subscription.backlog = [(part, draft.due) for part in parts]
                return self._send_part(subscription)
        if draft.batch.size > MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:
            self._noted.append(
                Withheld(stream=self.stream, type_url=type_url, version=draft.version, size=draft.batch.size)
            )
            return None
        return self._record(subscription, draft)

    def _send_part(self, subscription: Subscription) -> Response:
        part, due = subscription.backlog.pop(0)
        return self._record(subscription, Draft(due.after.version, part, part, due))

    def _record(self, subscription: Subscription, draft: Draft) -> Response:
        self._quiet = None
        type_url = subscription.type_url
        nonce = self._nonce(draft.batch)
        self.sent += 1
        response = Unanswered(draft.version, draft.batch, self.sent, self._now, whole=draft.whole)
        if due := draft.due:
            response.before, response.after, response.fresh = due.before, due.after, due.fresh
        else:
            response.before = response.after = subscription.at
        if type_url == CLUSTER:
            if subscription.greeted:
                new = (each for each in draft.changed.resources if response.prior(each.name) is None)
                self._warming.sent(new, self.sent)
            self._rewarm(draft.changed)
        elif type_url == ROUTE:
            self._owe_hosts(each.name for each in draft.batch.resources if response.prior(each.name) is None)
        subscription.note_sent(nonce, response)
        return Response(type_url=type_url, version=draft.version, nonce=nonce, batch=draft.batch)

    def _nonce(self, batch: Batch) -> Nonce:
        """A nonce that this stream has not had (rule 3), and that other streams share where they are sent the
        same: then they share the whole response."""
        if batch.serial > self._serial:
            self._serial, self._repeats = batch.serial, 0
            return Nonce(f"{batch.serial:x}")
        self._repeats += 1
        return Nonce(f"{self._serial:x}.{self._repeats:x}")

    def _owe_hosts(self, routes: Iterable[str]) -> None:
        """Virtual hosts of route configurations that are new to the client, which it may have been sent
        before: Envoy drops those of a route configuration that it lacks, and never asks for them (measured on
        1.40)."""
        hosts = self._subscriptions.get(VIRTUAL_HOST)
        new = tuple(f"{name}/" for name in routes)
        if hosts is not None and new:
            hosts.owe(name for name in hosts.at.resources if name.startswith(new))

    def _rewarm(self, changed: Batch) -> None:
        """A changed cluster warms until it gets its assignment again, changed or not (rule 13)."""
        endpoints = self._subscriptions.get(ENDPOINT)
        if endpoints is None:
            return
        names = changed.refers_to(ENDPOINT)
        if not endpoints.unanswered:
            endpoints.owe(name for name in names if name in endpoints.names.members)
        endpoints.rewarm = endpoints.rewarm | names if endpoints.rewarm else names

    def _subscription(self, type_url: TypeUrl, events: list[Event]) -> tuple[Subscription, bool]:
        """The subscription to a type, and whether this request is the first to name the type. An unknown
        type gets one that is not kept: it never has anything to send (rule 2).

        Raises:
            RequestError: there is no type.
        """
        if not type_url:
            raise RequestError("type_url is empty, and an aggregated stream has no default type")
        known = self._subscriptions.get(type_url)
        if known is not None:
            return known, False
        found = Subscription(type_url)
        if type_url in _USERS:
            self._subscriptions[type_url] = found
            events.append(Subscribed(stream=self.stream, type_url=type_url))
        return found, True

    def _look_again(self, subscription: Subscription, events: list[Event]) -> None:
        """A request may have made something due; a mere acknowledgement does so only if removals wait for
        it. What routes are asked for is an event."""
        if subscription.type_url == ROUTE and subscription.names is not self._routes:
            self._routes = subscription.names
            few = len(self._routes) <= _FEW_ROUTES
            names = tuple(sorted(self._routes.members)) if few else ()
            events.append(RoutesAsked(stream=self.stream, names=names))
        if self._removals_wait or self._waits or not subscription.greeted or subscription.owes:
            self._quiet = None

    def _answer(
        self, subscription: Subscription, nonce: Nonce, error: str | None, events: list[Event]
    ) -> None:
        """Take what a request says about an earlier response; `error` is set if it refuses it (rule 4)."""
        answered = subscription.settle(nonce, error)
        if answered is None:
            return
        type_url = subscription.type_url
        if error is not None:
            self._quiet = None
            events.append(
                Nacked(
                    stream=self.stream,
                    type_url=type_url,
                    version=answered.version,
                    nonce=nonce,
                    message=error,
                )
            )
            return
        if self._warming.cold:
            served = self._subscriptions.keys()
            self._warming.accepted(type_url, answered.batch.names, answered.number, served)
        if type_url == CLUSTER and not subscription.pending and ENDPOINT in self._subscriptions:
            # Envoy acknowledges clusters once none is warming: no assignment is missing any more.
            self._subscriptions[ENDPOINT].rewarm = frozenset()
        events.append(
            Acked(
                stream=self.stream,
                type_url=type_url,
                version=answered.version,
                nonce=nonce,
                refusing=subscription.offers.careful and subscription.offers.refusing,
            )
        )
