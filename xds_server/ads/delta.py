"""Incremental: a request changes the subscription, a response holds what changed and names what is gone."""

from envoy.service.discovery.v3 import discovery_pb2

from xds_server.ads.events import Event
from xds_server.ads.machine import Draft, StreamMachine
from xds_server.ads.subscription import WILDCARD_TYPES, Subscription
from xds_server.base.errors import RequestError
from xds_server.snapshot.snapshot import TypeSnapshot


class DeltaMachine(StreamMachine[discovery_pb2.DeltaDiscoveryRequest]):
    """One ``DeltaAggregatedResources`` stream."""

    def receive(self, request: discovery_pb2.DeltaDiscoveryRequest) -> list[Event]:
        if not request.type_url:
            raise RequestError("type_url is empty, and an aggregated stream has no default type")
        subscription, first = self._subscription(request.type_url)
        events: list[Event] = []
        if first:
            nameless = not request.resource_names_subscribe and not request.resource_names_unsubscribe
            if nameless and subscription.type_url in WILDCARD_TYPES:
                subscription.wildcard = True  # what Envoy sends, rather than "*" (line 36)
            subscription.claimed = dict(request.initial_resource_versions)
        else:
            error = request.error_detail.message if request.HasField("error_detail") else None
            events = self._answer(subscription, request.response_nonce, error)
        # With a stale nonce too (line 31).
        subscription.add(request.resource_names_subscribe)
        dropped = subscription.drop(request.resource_names_unsubscribe)
        if subscription.wildcard:
            # Only the server knows whether "*" covers them too (xds_protocol.rst, "Unsubscribing from
            # Resources").
            subscription.owe(dropped)
        return events

    def _additions(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        wanted = subscription.wanted(current)
        if not subscription.greeted:
            self._compare_claims(subscription, current)
        changed = tuple(subscription.due(wanted))
        # A name that does not exist is said so at once, which ends warming with no hosts (line 32).
        absent = tuple(sorted(name for name in subscription.owed if name not in wanted))
        first_of_wildcard = subscription.wildcard and not subscription.greeted  # even if empty (line 35)
        if not changed and not absent and not first_of_wildcard:
            return None
        subscription.hold(wanted, keep_gone=True)
        subscription.forget(absent)
        return Draft(current.version, changed, changed, absent)

    def _removals(self, subscription: Subscription, current: TypeSnapshot) -> Draft | None:
        wanted = subscription.wanted(current)
        gone = tuple(subscription.gone(wanted))
        if not gone:
            return None
        subscription.hold(wanted, keep_gone=False)
        subscription.orphans.clear()
        return Draft(current.version, (), (), gone)

    @staticmethod
    def _compare_claims(subscription: Subscription, current: TypeSnapshot) -> None:
        """What the client says it holds from an earlier stream. It is believed for wildcards alone (line
        34): a named resource is answered in any case, or a reconnect during warming deadlocks (line 14)."""
        claimed, subscription.claimed = subscription.claimed, {}
        if not subscription.wildcard:
            return
        resources = current.resources
        subscription.held = {
            name: resources[name]
            for name, version in claimed.items()
            if name in resources and resources[name].version == version
        }
        subscription.orphans = {name for name in claimed if name not in resources}
