"""The delta variant: a request changes the subscription; a response has what changed and the names of what
was removed."""

from collections.abc import Collection

from xds_server.base.ids import TypeUrl
from xds_server.xds.batch import NOTHING
from xds_server.xds.due import removable, take_due
from xds_server.xds.machine import StreamMachine
from xds_server.xds.name_sets import size_of
from xds_server.xds.requests import DeltaRequest
from xds_server.xds.responses import Draft
from xds_server.xds.snapshot import TypeSnapshot
from xds_server.xds.stream_events import Event
from xds_server.xds.subscription import WILDCARD_TYPES, Subscription
from xds_server.xds.types import VIRTUAL_HOST

_WITHOUT_NAMES = WILDCARD_TYPES | {VIRTUAL_HOST}
"""The types for which a first request without names is a wildcard subscription (rules 8, 25 and 36)."""


class DeltaMachine(StreamMachine[DeltaRequest]):
    """One ``DeltaAggregatedResources`` stream."""

    def receive(self, request: DeltaRequest) -> list[Event]:
        events: list[Event] = []
        subscription, first = self._subscription(request.type_url, events)
        if first:
            nameless = not request.subscribe and not request.unsubscribe
            if nameless and subscription.type_url in _WITHOUT_NAMES:
                subscription.wildcard = True  # Envoy sends this instead of "*" (rule 36)
            subscription.known_versions, subscription.known_versions_size = (
                request.known_versions,
                size_of(request.known_versions),
            )
        else:
            self._answer(subscription, request.nonce, request.error, events)
        # Also with a stale nonce (rule 31).
        if request.subscribe:
            subscription.add(request.subscribe)
        if request.unsubscribe:
            dropped = subscription.drop(request.unsubscribe)
            if subscription.wildcard:
                # Only the server knows whether the wildcard still covers them (xds_protocol.rst,
                # "Unsubscribing from Resources").
                subscription.owe(dropped)
        self._recheck(subscription, events)
        return events

    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        first_of_wildcard = subscription.wildcard and not subscription.started
        if first_of_wildcard and subscription.known_versions:
            # Used for wildcards only (rule 34). A named resource is always sent: otherwise a client that
            # reconnects while it warms would wait forever (rule 14).
            subscription.claim(current)
        subscription.known_versions = {}
        due = take_due(subscription, current)
        # The first response goes out even if it is empty (rule 35).
        if not due.answer.resources and not due.answer.removed and not first_of_wildcard:
            return None
        subscription.forget(due.absent)
        return Draft(current.version, due.answer, due.changed, due)

    def _removals(
        self, subscription: Subscription, current: TypeSnapshot, needed: Collection[str]
    ) -> Draft | None:
        gone = removable(subscription, current, needed)
        subscription.forget(gone)
        if not gone:
            return None
        return Draft(current.version, current.without(gone), NOTHING)

    def _is_whole(self, type_url: TypeUrl) -> bool:
        del type_url
        return False
