"""The order in which types are sent and removed (rule 11).

New and changed resources go out in `ORDER`, so that a resource follows those that it refers to. Removals go
out in reverse, and only when no resource that the client may still use can refer to them.
"""

from collections.abc import Mapping
from typing import Final

from xds_server.base.ids import TypeUrl
from xds_server.xds.subscription import Subscription
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

ORDER: Final = (CLUSTER, ENDPOINT, SECRET, LISTENER, ROUTE, VIRTUAL_HOST)

_REFERRERS: Final = {
    CLUSTER: (LISTENER, ROUTE, VIRTUAL_HOST),
    ENDPOINT: (CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST),
    SECRET: (CLUSTER, LISTENER, ROUTE, VIRTUAL_HOST),
    LISTENER: (),
    ROUTE: (LISTENER,),
    VIRTUAL_HOST: (),
}
"""For each type, the types whose unacknowledged resources may still refer to one of it."""

Subscriptions = Mapping[TypeUrl, Subscription]


def may_be_referred_to(type_url: TypeUrl, subscriptions: Subscriptions) -> bool:
    """Whether the client may be using an older version of a referring type, and which one is not known."""
    return any(
        (subscription := subscriptions.get(referrer)) is not None
        and (subscription.pending or subscription.unknown)
        for referrer in _REFERRERS[type_url]
    )


def needed(type_url: TypeUrl, subscriptions: Subscriptions) -> set[str]:
    """The names of a type that resources which the client keeps refer to."""
    return {
        ref.name
        for referrer in _REFERRERS[type_url]
        if (subscription := subscriptions.get(referrer)) is not None
        for resource in subscription.kept(needed(referrer, subscriptions))
        for ref in resource.refs
        if ref.type_url == type_url
    }
