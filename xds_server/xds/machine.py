"""The state machine of one ADS stream, without I/O: requests in, the next response out.

The writer calls `next` whenever the stream can take another response, and `next` builds it from the newest
snapshot. So there is no queue: a slow client gets the latest state, and no response is for a subscription
that has changed since (rules 17 and 18).

Order (rule 11): new and changed resources go out first, clusters before the endpoints, listeners and routes
that need them. Removals follow in reverse order, once no resource that the client may still use refers to
them. New resources do not wait for an ACK (rule 12), because Envoy withholds it while it warms. An ACK is
required only before a removal, and before a route moves requests to a cluster that the client cannot use yet
(rule 41). `rollout` decides what follows a NACK.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Generic, TypeVar

from xds_server.base.errors import RequestError
from xds_server.base.ids import Nonce, StreamId, TypeUrl
from xds_server.xds.answers import note_sent, settle
from xds_server.xds.batch import Batch
from xds_server.xds.budget import Held
from xds_server.xds.due import offered
from xds_server.xds.name_sets import NO_NAMES, Names
from xds_server.xds.nonces import Nonces
from xds_server.xds.order import ORDER, may_be_referred_to, needed
from xds_server.xds.responses import Draft, Response, Unanswered
from xds_server.xds.rollout import Cold
from xds_server.xds.server_options import MAX_MESSAGE_BYTES
from xds_server.xds.snapshot import EMPTY, Snapshot, TypeSnapshot
from xds_server.xds.stream_events import Acked, Event, Nacked, RoutesSubscribed, Subscribed, Withheld
from xds_server.xds.subscription import Subscription
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE, SHORT_NAMES, VIRTUAL_HOST
from xds_server.xds.warming import Warming

_ENVELOPE_BYTES: Final = 4096
_FEW_ROUTES: Final = 16
_ALL_WARM: Final = Cold((), 0.0)

RequestT = TypeVar("RequestT")


class StreamMachine(ABC, Generic[RequestT]):
    """The rules of a stream that both protocol variants share. `sent` counts the responses."""

    def __init__(self, stream: StreamId) -> None:
        self.stream = stream
        self.sent = 0
        self._subscriptions: dict[TypeUrl, Subscription] = {}
        self._nonces = Nonces()
        self._idle_at: Snapshot | None = None
        self._removals_wait = False
        self._waits = False
        self._wakes_at: float | None = None
        self._warming = Warming()
        self._now = 0.0
        self._blocked: list[Subscription] = []
        self._staged: list[Subscription] = []
        self._events: list[Event] = []
        self._routes = NO_NAMES

    @abstractmethod
    def receive(self, request: RequestT) -> list[Event]:
        """Handle one request; return the events, ACKs and NACKs among them.

        Raises:
            RequestError: the request has no type (rule 2). The stream must end.
        """

    @abstractmethod
    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        """The resources that are new for the client, or None."""

    @abstractmethod
    def _removals(
        self, subscription: Subscription, current: TypeSnapshot, needed: Collection[str]
    ) -> Draft | None:
        """The removals for the client without the names that are `needed`, or None. Called only when no
        additions are due and the subscription has removals."""

    @abstractmethod
    def _is_whole(self, type_url: TypeUrl) -> bool:
        """Whether a response of the type is full state."""

    @property
    def may_send(self) -> bool:
        """Whether `next` may return a response although its last call returned None."""
        return self._idle_at is None

    @property
    def wakes_at(self) -> float | None:
        """The time at which `next` may return a response without a new request or snapshot; None if never."""
        return self._wakes_at

    @property
    def oldest_unanswered(self) -> int:
        """The number of the first response without ACK or NACK; of the next response if there is none."""
        waiting = (each.pending for each in self._subscriptions.values() if each.pending)
        return min((next(iter(each.values())).number for each in waiting), default=self.sent + 1)

    def has_sent_all(self, snapshot: Snapshot) -> bool:
        """Whether the client was sent all of `snapshot`. A removal that waits for an ACK is not sent yet. A
        removal that a NACK blocks counts as sent, as nothing more can be sent."""
        if snapshot is not self._idle_at or self._waits:
            return False
        return not self._removals_wait or self.oldest_unanswered > self.sent

    @property
    def subscriptions(self) -> Mapping[TypeUrl, Subscription]:
        """The subscriptions by type, to look at."""
        return self._subscriptions

    def serves(self, type_url: TypeUrl) -> bool:
        """Whether the client has subscribed to the type."""
        return type_url in self._subscriptions

    def watched(self, type_url: TypeUrl) -> Names | None:
        """The names of an existing subscription; None for all."""
        return self._subscriptions[type_url].watched

    def held(self, *, known_versions: bool) -> Held:
        """The names that this process keeps for the client. With `known_versions`, also the names of its
        ``initial_resource_versions``, which wait for the first snapshot."""
        found = self._subscriptions.values()
        own = sum(
            each.known_versions_size
            for each in found
            if each.orphans or (known_versions and each.known_versions)
        )
        absent = [batch for each in found for batch in each.unanswered_removals]
        return Held((*[each.names for each in found], *absent), own)

    def next(self, snapshot: Snapshot, now: float = 0.0) -> Response | None:
        """The next response, recorded as sent, or None if the client has everything that it may have now.
        `now` is in seconds of a monotonic clock."""
        if snapshot is self._idle_at and (self._wakes_at is None or now < self._wakes_at):
            return None
        self._now = now
        if self._blocked or self._staged:
            self._blocked.clear()
            self._staged.clear()
        if self._warming.cold:
            self._warming.prune(snapshot)
        response = self._next_addition(snapshot) or self._next_removal(snapshot)
        if response is None:
            self._idle_at = snapshot
            self._waits, self._wakes_at = False, None
            if self._staged or self._blocked:
                self._note_what_waits()
        return response

    def _note_what_waits(self) -> None:
        self._waits = bool(self._blocked) or any(each.offers.waits for each in self._staged)
        wakes = [at for each in self._staged if (at := each.offers.wakes_at) is not None]
        wakes += [each.next_send_at for each in self._blocked]
        self._wakes_at = min(wakes, default=None)

    def _next_addition(self, snapshot: Snapshot) -> Response | None:
        cold = Cold(self._warming.cold, self._now) if self._warming.cold else _ALL_WARM
        for type_url in ORDER:
            subscription = self._subscriptions.get(type_url)
            if subscription is None:
                continue
            current = snapshot.types.get(type_url, EMPTY)
            staged = bool(cold.clusters) or subscription.offers.staged
            if staged:
                self._staged.append(subscription)
            elif subscription.idle(current):
                continue
            if subscription.pending and subscription.next_send_at > self._now:
                if subscription.must_answer or current is not subscription.at:
                    self._blocked.append(subscription)
                continue
            if subscription.backlog:
                return self._send_part(subscription)
            if staged:
                sent = self._next_staged(subscription, current, cold)
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

    def _next_staged(self, subscription: Subscription, current: TypeSnapshot, cold: Cold) -> Response | None:
        """Like `_next_of`, for a type that is rolled out in stages: suspects wait for all other changes of
        the type. If those changes cause no response, the suspects are next."""
        while True:
            shown = offered(subscription, current, cold, whole=self._is_whole(subscription.type_url))
            ends = shown is subscription.at or bool(subscription.pending)
            sent = self._next_of(subscription, shown)
            if sent or ends or not subscription.offers.untried:
                return sent

    def _next_removal(self, snapshot: Snapshot) -> Response | None:
        self._removals_wait = False
        for type_url in reversed(ORDER):
            subscription = self._subscriptions.get(type_url)
            if subscription is None or not subscription.has_removals:
                continue
            if may_be_referred_to(type_url, self._subscriptions):
                self._removals_wait = True
                continue
            draft = self._removals(subscription, snapshot.of(type_url), needed(type_url, self._subscriptions))
            if draft is None and subscription.pending:
                self._removals_wait = True
            if draft and (sent := self._send(type_url, draft)):
                return sent
        return None

    def take_events(self) -> list[Event]:
        """The events of `next` since the last call of this method, besides the response itself."""
        if not self._events:
            return []
        noted, self._events = self._events, []
        return noted

    def _send(self, type_url: TypeUrl, draft: Draft) -> Response | None:
        """The response or its first part; None if it exceeds gRPC's limit and cannot be split."""
        subscription = self._subscriptions[type_url]
        if draft.due is not None and not draft.whole and draft.due.answer is draft.batch:
            parts = draft.due.parts()
            if len(parts) > 1:
                subscription.backlog = [(part, draft.due) for part in parts]
                return self._send_part(subscription)
        if draft.batch.size > MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:
            self._events.append(
                Withheld(stream=self.stream, type_url=type_url, version=draft.version, size=draft.batch.size)
            )
            return None
        return self._record(subscription, draft)

    def _send_part(self, subscription: Subscription) -> Response:
        part, due = subscription.backlog.pop(0)
        return self._record(subscription, Draft(due.after.version, part, part, due))

    def _record(self, subscription: Subscription, draft: Draft) -> Response:
        self._idle_at = None
        type_url = subscription.type_url
        nonce = self._nonces.next(draft.batch)
        self.sent += 1
        response = Unanswered(draft.version, draft.batch, self.sent, self._now, whole=draft.whole)
        if due := draft.due:
            response.before, response.after, response.fresh = due.before, due.after, due.fresh
        else:
            response.before = response.after = subscription.at
        if type_url == CLUSTER:
            if subscription.started:
                new = (each for each in draft.changed.resources if response.prior(each.name) is None)
                self._warming.sent(new, self.sent)
            self._rewarm(draft.changed)
        elif type_url == ROUTE:
            self._owe_hosts(each.name for each in draft.batch.resources if response.prior(each.name) is None)
        note_sent(subscription, nonce, response)
        return Response(type_url=type_url, version=draft.version, nonce=nonce, batch=draft.batch)

    def _owe_hosts(self, routes: Iterable[str]) -> None:
        """Send the virtual hosts of new route configurations again. Envoy drops virtual hosts whose route
        configuration it does not have, and never asks for them (measured on 1.40)."""
        hosts = self._subscriptions.get(VIRTUAL_HOST)
        new = tuple(f"{name}/" for name in routes)
        if hosts is not None and new:
            hosts.owe(name for name in hosts.at.resources if name.startswith(new))

    def _rewarm(self, changed: Batch) -> None:
        """A changed cluster warms until Envoy receives its endpoints again, changed or not (rule 13)."""
        endpoints = self._subscriptions.get(ENDPOINT)
        if endpoints is None:
            return
        names = changed.refers_to(ENDPOINT)
        if not endpoints.unanswered:
            endpoints.owe(name for name in names if name in endpoints.names.members)
        endpoints.rewarm = endpoints.rewarm | names if endpoints.rewarm else names

    def _subscription(self, type_url: TypeUrl, events: list[Event]) -> tuple[Subscription, bool]:
        """The subscription to a type, and whether this request is the first for the type. The subscription to
        an unknown type is not kept, as there is nothing to send (rule 2).

        Raises:
            RequestError: there is no type.
        """
        if not type_url:
            raise RequestError("type_url is empty, and an aggregated stream has no default type")
        known = self._subscriptions.get(type_url)
        if known is not None:
            return known, False
        found = Subscription(type_url)
        if type_url in SHORT_NAMES:
            self._subscriptions[type_url] = found
            events.append(Subscribed(stream=self.stream, type_url=type_url))
        return found, True

    def _recheck(self, subscription: Subscription, events: list[Event]) -> None:
        """Let `next` look for a response if the request may have made one due. An ACK alone does so only if
        removals wait for it. Also report a changed subscription to route configurations."""
        if subscription.type_url == ROUTE and subscription.names is not self._routes:
            self._routes = subscription.names
            few = len(self._routes) <= _FEW_ROUTES
            names = tuple(sorted(self._routes.members)) if few else ()
            events.append(RoutesSubscribed(stream=self.stream, names=names))
        if self._removals_wait or self._waits or not subscription.started or subscription.must_answer:
            self._idle_at = None

    def _answer(
        self, subscription: Subscription, nonce: Nonce, error: str | None, events: list[Event]
    ) -> None:
        """Handle the ACK in a request, or the NACK if `error` is set (rule 4)."""
        answered = settle(subscription, nonce, error)
        if answered is None:
            return
        type_url = subscription.type_url
        if error is not None:
            self._idle_at = None
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
            # Envoy sends the ACK of clusters once none is warming, so it has the endpoints of all.
            self._subscriptions[ENDPOINT].rewarm = frozenset()
        events.append(
            Acked(
                stream=self.stream,
                type_url=type_url,
                version=answered.version,
                nonce=nonce,
                rejecting=subscription.offers.staged and subscription.offers.rejecting,
            )
        )
