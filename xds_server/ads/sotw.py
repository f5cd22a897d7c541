"""State of the world: a request lists every name, a response of clusters or listeners every resource."""

from collections.abc import Iterable

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.ads.events import Event, Resumed
from xds_server.ads.machine import Draft, StreamMachine
from xds_server.ads.subscription import WILDCARD, WILDCARD_TYPES, Subscription
from xds_server.base.errors import RequestError
from xds_server.snapshot.resource import Resource
from xds_server.snapshot.snapshot import TypeSnapshot


class SotwMachine(StreamMachine[discovery_pb2.DiscoveryRequest]):
    """One ``StreamAggregatedResources`` stream."""

    def receive(self, request: discovery_pb2.DiscoveryRequest) -> list[Event]:
        if not request.type_url:
            raise RequestError("type_url is empty, and an aggregated stream has no default type")
        subscription, first = self._subscription(request.type_url)
        if first:
            self._list_names(subscription, set(request.resource_names))
            subscription.known_version = request.version_info
            return []
        nonce = request.response_nonce
        repeated = nonce == subscription.last_nonce and not subscription.pending
        error = request.error_detail.message if request.HasField("error_detail") else None
        events = self._answer(subscription, nonce, error)
        # A stale nonce acknowledges nothing, but its names count (line 27).
        self._list_names(subscription, set(request.resource_names))
        if repeated and error is None:
            # Envoy asks again with its last ACK when a cluster that it warms needs its assignment (line 29).
            subscription.owe(subscription.rewarm & subscription.names)
        return events

    def _list_names(self, subscription: Subscription, names: set[str]) -> None:
        had = subscription.names | ({WILDCARD} if subscription.wildcard else set())
        legacy = not subscription.named and not names and subscription.type_url in WILDCARD_TYPES
        if legacy:
            subscription.wildcard = True
            return
        subscription.add(names - had)
        subscription.drop(had - names)

    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        wanted = subscription.wanted(current)
        full_state = subscription.type_url in WILDCARD_TYPES
        if (
            not subscription.greeted
            and subscription.wildcard
            and subscription.known_version == current.version
        ):
            # The client has exactly this from an earlier stream (line 30).
            subscription.greeted = True
            subscription.hold(wanted, keep_gone=False)
            self._resumed.append(
                Resumed(stream=self.stream, type_url=subscription.type_url, version=current.version)
            )
            return None
        changed = tuple(subscription.due(wanted))
        if not changed and (subscription.greeted or not full_state):
            subscription.owed.clear()  # names that do not exist; they are sent when they appear (line 7)
            return None
        if not full_state:
            subscription.hold(wanted, keep_gone=False)
            return Draft(current.version, changed, changed)
        # Full state would delete what it leaves out, so what is gone stays in until the removals.
        leaving = [subscription.held[name] for name in subscription.gone(wanted)]
        subscription.hold(wanted, keep_gone=True)
        return Draft(current.version_with(leaving), (*_by_name(wanted.values()), *leaving), changed)

    def _removals(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        wanted = subscription.wanted(current)
        if not subscription.gone(wanted):
            return None
        subscription.hold(wanted, keep_gone=False)
        if subscription.type_url not in WILDCARD_TYPES:
            return None  # there is no word for it: the client drops these with what refers to them (line 26)
        return Draft(current.version, _by_name(wanted.values()), ())


def _by_name(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    return tuple(sorted(resources, key=lambda resource: resource.name))
