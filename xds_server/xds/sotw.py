"""The state-of-the-world variant: a request lists all names; a response of clusters or listeners has all
resources."""

from collections.abc import Collection

from xds_server.base.ids import TypeUrl
from xds_server.xds.batch import NOTHING, Batch
from xds_server.xds.due import removable, take_due
from xds_server.xds.machine import StreamMachine
from xds_server.xds.name_sets import Names
from xds_server.xds.requests import SotwRequest
from xds_server.xds.responses import Draft, Due
from xds_server.xds.snapshot import TypeSnapshot
from xds_server.xds.stream_events import Event, Resumed
from xds_server.xds.subscription import WILDCARD, WILDCARD_TYPES, Subscription


class SotwMachine(StreamMachine[SotwRequest]):
    """One ``StreamAggregatedResources`` stream."""

    def receive(self, request: SotwRequest) -> list[Event]:
        events: list[Event] = []
        subscription, first = self._subscription(request.type_url, events)
        if first:
            subscription.known_version = request.version
        else:
            repeated = request.nonce == subscription.last_nonce and not subscription.pending
            self._answer(subscription, request.nonce, request.error, events)
            if repeated and request.error is None and subscription.rewarm:
                # Envoy repeats its last ACK when a cluster that it warms needs its endpoints (rule 29).
                subscription.owe([name for name in subscription.rewarm if name in subscription.names.members])
        # A stale nonce acknowledges nothing, but the names in the request count (rule 27).
        if request.names is not None:
            self._list_names(subscription, request.names)
        self._recheck(subscription, events)
        return events

    @staticmethod
    def _list_names(subscription: Subscription, names: Names) -> None:
        if not names and not subscription.named and subscription.type_url in WILDCARD_TYPES:
            subscription.wildcard = True  # a first request without names is a wildcard subscription (rule 8)
            return
        if WILDCARD in names:
            listed, star = names.minus((WILDCARD,)), True
        else:
            listed, star = names, False
        more, less = subscription.names.difference(listed)
        if star and not subscription.wildcard:
            more = (*more, WILDCARD)
        if subscription.wildcard and not star:
            less = (*less, WILDCARD)
        subscription.add(more)
        subscription.drop(less)
        subscription.names = listed  # the same object that other streams have

    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        full_state = subscription.type_url in WILDCARD_TYPES
        if (
            not subscription.started
            and subscription.wildcard
            and subscription.known_version == current.version
        ):
            # The client holds exactly this version from an earlier stream (rule 30).
            subscription.resume(current)
            self._events.append(
                Resumed(stream=self.stream, type_url=subscription.type_url, version=current.version)
            )
            return None
        due = take_due(subscription, current)
        subscription.forget(due.absent)
        changed = due.changed
        if not changed.resources and (subscription.started or not full_state):
            return None  # names that do not exist are sent when they appear (rule 7)
        if not full_state:
            return Draft(current.version, changed, changed, due._replace(answer=changed))
        return _whole(subscription, current, changed, due)

    def _removals(
        self, subscription: Subscription, current: TypeSnapshot, needed: Collection[str]
    ) -> Draft | None:
        if subscription.pending and not subscription.leaving:
            return None  # the unanswered response is full state, so it already removes them
        gone = removable(subscription, current, needed)
        subscription.forget(gone)
        if not gone or subscription.type_url not in WILDCARD_TYPES:
            # this type has no removals: the client drops these with what refers to them (rule 26)
            return None
        return _whole(subscription, subscription.at, NOTHING)

    def _is_whole(self, type_url: TypeUrl) -> bool:
        return type_url in WILDCARD_TYPES


def _whole(
    subscription: Subscription, current: TypeSnapshot, changed: Batch, due: Due | None = None
) -> Draft:
    """Build full state. It deletes what it leaves out, so resources that may still be in use stay in it until
    they can be removed."""
    batch = current.everything if subscription.wildcard else current.select(subscription.names).found
    leaving = tuple(subscription.leaving[name] for name in sorted(subscription.leaving))
    if leaving:
        key = (batch.serial, *(resource.version for resource in leaving))
        together = (*batch.resources, *leaving)
        batch = current.batch(key, lambda: Batch(together))
    version = current.version_with(leaving) if leaving else current.version
    return Draft(version, batch, changed, due, whole=True)
