"""One stream, without I/O: requests in, the next response out.

`next` is asked whenever the stream can take another message and answers from the newest snapshot. So there
is no queue: a slow reader gets the latest state when it is ready for it, and a response can never be for a
subscription that has changed since (lines 17 and 18).

Order (line 11): everything new or changed goes out first, clusters before the assignments, listeners and
routes that need them; what is gone is taken away afterwards, in reverse, once no route or listener that the
client may still use can need it. An ACK is never waited for before sending something new (line 12): Envoy
withholds it while it warms. It is waited for only before taking away.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from xds_server.ads.events import Acked, Event, Nacked
from xds_server.ads.subscription import Subscription, Unanswered
from xds_server.base.ids import Nonce, StreamId, TypeUrl, Version
from xds_server.snapshot.resource import Resource
from xds_server.snapshot.snapshot import Snapshot, TypeSnapshot
from xds_server.snapshot.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
_USERS = {
    CLUSTER: (LISTENER, ROUTE),
    ENDPOINT: (CLUSTER, LISTENER, ROUTE),
    LISTENER: (),
    ROUTE: (LISTENER,),
}
"""By type, the types whose unacknowledged resources may still need one of it."""

RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to write, independent of the variant's encoding."""

    type_url: TypeUrl
    version: Version
    nonce: Nonce
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A response before it has a nonce. `changed` are those of `resources` that are new to the client."""

    version: Version
    resources: tuple[Resource, ...]
    changed: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


class StreamMachine(ABC, Generic[RequestT]):
    """The rules of a stream that do not depend on the variant."""

    def __init__(self, stream: StreamId) -> None:
        self.stream = stream
        self._subscriptions: dict[TypeUrl, Subscription] = {}
        self._nonces = 0
        self._resumed: list[Event] = []

    @abstractmethod
    def receive(self, request: RequestT) -> list[Event]:
        """Take one request; say what it acknowledged or refused.

        Raises:
            RequestError: the request has no type (line 2); the stream must end.
        """

    @abstractmethod
    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        """What is new for the client, or None."""

    @abstractmethod
    def _removals(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        """What is to be taken from the client, or None; asked only when nothing new is due."""

    def next(self, snapshot: Snapshot) -> Response | None:
        """The next response, recorded as sent, or None if the client has everything."""
        for type_url in ORDER:
            if draft := self._draft(type_url, snapshot, removing=False):
                return self._send(type_url, draft)
        for type_url in reversed(ORDER):
            in_use = any(self._unsettled(user) for user in _USERS[type_url])
            if not in_use and (draft := self._draft(type_url, snapshot, removing=True)):
                return self._send(type_url, draft)
        return None

    def take_resumed(self) -> list[Event]:
        """What `next` found that the client holds already, since this was last asked."""
        resumed, self._resumed = self._resumed, []
        return resumed

    def _draft(self, type_url: TypeUrl, snapshot: Snapshot, *, removing: bool) -> Draft | None:
        subscription = self._subscriptions.get(type_url)
        current = snapshot.of(type_url)
        if subscription is None or subscription.examined(current):
            return None
        if not removing:
            return self._additions(subscription, current)
        draft = self._removals(subscription, current)
        if draft is None:
            subscription.mark_examined(current)
        return draft

    def _unsettled(self, type_url: TypeUrl) -> bool:
        subscription = self._subscriptions.get(type_url)
        return subscription is not None and subscription.unsettled

    def _send(self, type_url: TypeUrl, draft: Draft) -> Response:
        self._nonces += 1
        nonce = Nonce(f"{self._nonces:x}")
        self._subscriptions[type_url].note_sent(nonce, Unanswered(draft.version, draft.resources))
        self._rewarm(draft.changed)
        return Response(
            type_url=type_url,
            version=draft.version,
            nonce=nonce,
            resources=draft.resources,
            removed=draft.removed,
        )

    def _rewarm(self, changed: Iterable[Resource]) -> None:
        """A changed cluster warms until it gets its assignment again, changed or not (line 13)."""
        endpoints = self._subscriptions.get(ENDPOINT)
        if endpoints is None:
            return
        names = {ref.name for resource in changed for ref in resource.refs if ref.type_url == ENDPOINT}
        endpoints.owe(names & endpoints.names)
        endpoints.rewarm |= names

    def _subscription(self, type_url: str) -> tuple[Subscription, bool]:
        """The subscription to a type, and whether this request is the first to name the type. An unknown
        type gets one that is not kept: it never has anything to send (line 2)."""
        key = TypeUrl(type_url)
        if key not in _USERS:
            return Subscription(key), True
        known = self._subscriptions.get(key)
        if known is not None:
            return known, False
        self._subscriptions[key] = Subscription(key)
        return self._subscriptions[key], True

    def _answer(self, subscription: Subscription, nonce: str, error: str | None) -> list[Event]:
        """Take what a request says about an earlier response; `error` is set if it refuses it (line 4)."""
        version = subscription.settle(Nonce(nonce), refused=error is not None)
        if version is None:
            return []
        if error is not None:
            return [
                Nacked(
                    stream=self.stream,
                    type_url=subscription.type_url,
                    version=version,
                    nonce=Nonce(nonce),
                    message=error,
                )
            ]
        if subscription.type_url == CLUSTER and not subscription.pending and ENDPOINT in self._subscriptions:
            # Envoy acknowledges clusters once none is warming: no assignment is missing any more.
            self._subscriptions[ENDPOINT].rewarm.clear()
        return [
            Acked(
                stream=self.stream,
                type_url=subscription.type_url,
                version=version,
                nonce=Nonce(nonce),
                refusing=subscription.refusing,
            )
        ]
