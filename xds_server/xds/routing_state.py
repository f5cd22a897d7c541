"""What a client routes to a cluster, by the virtual hosts that it has acknowledged. Pure.

Two questions are different: whether a client surely routes to a cluster, and whether it may do so. Between a
response and its ACK, and after a reconnection until the first ACK, only the second has the answer yes.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping

from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource
from xds_server.xds.subscription import Subscription
from xds_server.xds.types import ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import InlinedRoutes

Subscriptions = Mapping[TypeUrl, Subscription]


def routes_to(subscriptions: Subscriptions, hosts: Iterable[str], cluster: str) -> bool:
    """Whether the client has acknowledged one of these virtual hosts in a version that refers to the
    cluster."""
    for host in hosts:
        found = _accepted(subscriptions.get(ROUTE), _routes_of(host))
        if isinstance(found, InlinedRoutes):
            found = found.hosts.resources.get(host)
        elif found is not None:
            found = _accepted(subscriptions.get(VIRTUAL_HOST), host)
        if _refers(found, cluster):
            return True
    return False


def may_route_to(subscriptions: Subscriptions, hosts: Iterable[str], cluster: str) -> bool:
    """Whether the client may use one of these virtual hosts in a version that refers to the cluster: it was
    sent one and has not acknowledged its successor or its removal."""
    for host in hosts:
        for routes in _possible(subscriptions.get(ROUTE), _routes_of(host)):
            if isinstance(routes, InlinedRoutes) and _refers(routes.hosts.resources.get(host), cluster):
                return True
        named = subscriptions.get(VIRTUAL_HOST)
        if any(_refers(each, cluster) for each in _possible(named, host)) or _removal_waits(named, host):
            return True
    return False


def unknown(subscriptions: Subscriptions, hosts: Iterable[str]) -> bool:
    """Whether the client may have kept versions of these virtual hosts from an earlier stream: it has not
    acknowledged any since."""
    return not any(
        (routes := subscriptions.get(ROUTE)) is not None
        and routes.started
        and not routes.pending
        and not routes.orphans
        and ((named := subscriptions.get(VIRTUAL_HOST)) is None or _settled(named, host))
        for host in hosts
    )


def same_for(subscriptions: Subscriptions) -> Hashable:
    """Clients with equal values, other than None, have acknowledged the same."""
    parts = []
    for type_url in (ROUTE, VIRTUAL_HOST):
        found = subscriptions.get(type_url)
        if found is not None:
            if found.pending or found.fresh:
                return None
            parts.append((id(found.at), id(found.names), found.wildcard))
    return tuple(parts)


def _settled(hosts: Subscription, host: str) -> bool:
    return hosts.started and not hosts.pending and host not in hosts.orphans


def _removal_waits(hosts: Subscription | None, host: str) -> bool:
    """Whether the client was sent the removal of a virtual host and has not acknowledged it. What it has of
    the virtual host until then is not kept here."""
    return hosts is not None and any(host in each.batch.removed for each in hosts.pending.values())


def _routes_of(host: str) -> str:
    return host.rpartition("/")[0]


def _refers(resource: Resource | None, cluster: str) -> bool:
    return resource is not None and any(ref.name == cluster for ref in resource.refs)


def _accepted(subscription: Subscription | None, name: str) -> Resource | None:
    """The version of a resource that the client has acknowledged."""
    if subscription is None or not subscription.wants(name):
        return None
    if subscription.pending:
        return next(iter(subscription.pending.values())).prior(name)
    return None if name in subscription.fresh else subscription.at.resources.get(name)


def _possible(subscription: Subscription | None, name: str) -> Iterator[Resource | None]:
    """The versions of a resource of which the client has one, or none."""
    if subscription is None:
        return
    yield subscription.leaving.get(name)
    if not subscription.wants(name):
        return
    for response in subscription.pending.values():
        yield response.prior(name)
        yield response.after.resources.get(name)
    yield subscription.at.resources.get(name)
