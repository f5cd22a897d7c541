"""What a subscription must be sent, and what must be removed from the client."""

from collections.abc import Collection

from xds_server.xds.batch import NOTHING, Batch
from xds_server.xds.responses import Due
from xds_server.xds.rollout import Cold
from xds_server.xds.snapshot import EMPTY, Changes, TypeSnapshot
from xds_server.xds.subscription import Subscription
from xds_server.xds.types import ROUTE, VIRTUAL_HOST

_NOTHING_DUE = Due(NOTHING, (), NOTHING)


def offered(subscription: Subscription, current: TypeSnapshot, cold: Cold, *, whole: bool) -> TypeSnapshot:
    """The part of the current state that the client may have now: all of it, unless a change waits. `whole`
    says that a response is full state."""
    offers, pending = subscription.offers, subscription.pending
    cold = cold.of(subscription.type_url) if subscription.started else cold._replace(clusters=())
    if subscription.type_url == ROUTE:
        current = offers.joined(current, subscription.at, cold, trying=not pending)
    if not pending:
        for name in offers.back(current):
            if name in current.resources:
                subscription.owed.add(name)
            elif subscription.wildcard:
                subscription.orphans.add(name)
    return offers.offer(current, subscription.at, cold, trying=not (whole and pending))


def take_due(subscription: Subscription, current: TypeSnapshot) -> Due:
    """What must be sent to bring the client to `current`; it counts as sent from now on. Deleted resources
    that others may refer to become `leaving`."""
    before, subscription.at = subscription.at, current
    if subscription.unanswered:
        subscription.unanswered = False
        subscription.owed.clear()
        selection = current.select(subscription.names)
        return Due(selection.found, selection.absent, selection.answer, EMPTY, current, None)
    if before is current and not subscription.owed and not subscription.fresh:
        return _NOTHING_DUE
    changes = current.changes_since(before)
    changed = _changed(subscription, changes, current)
    gone = [r for r in changes.gone if subscription.wants(r.name) and r.name not in subscription.fresh]
    if subscription.wildcard:  # removed later, when no resource refers to them
        subscription.owed.difference_update(resource.name for resource in gone)
    absent = tuple(sorted(name for name in subscription.owed if _absent(subscription, name, current)))
    leaving = subscription.leaving
    if leaving:
        back = [leaving.pop(r.name) for r in changes.upserts.resources if r.name in leaving]
        before = before.updated(back)
    answer = Batch(changed.resources, absent) if absent else changed
    if subscription.type_url == VIRTUAL_HOST:
        # No resource refers to a virtual host, and a domain must move in one response (rule 39).
        orphans = [
            n for n in subscription.orphans if n not in before.resources and _absent(subscription, n, current)
        ]
        if changed is changes.upserts and len(gone) == len(changes.gone) and not absent and not orphans:
            answer = changes.together
        else:
            names = (*absent, *sorted(orphans), *(resource.name for resource in gone))
            answer = Batch(changed.resources, tuple(dict.fromkeys(names)))
    else:
        leaving.update((resource.name, resource) for resource in gone)
    fresh = frozenset(subscription.fresh)
    subscription.owed = {
        name
        for name in subscription.owed
        if name not in current.resources and subscription.offers.holds_back(name)
    }
    subscription.fresh.clear()
    return Due(changed, absent, answer, before, current, fresh)


def _absent(subscription: Subscription, name: str, current: TypeSnapshot) -> bool:
    """Whether the resource does not exist, rather than being held back."""
    return name not in current.resources and not subscription.offers.holds_back(name)


def _changed(subscription: Subscription, changes: Changes, current: TypeSnapshot) -> Batch:
    upserts, leaving = changes.upserts, subscription.leaving
    members = subscription.names.members
    wanted = None if subscription.wildcard else [r for r in upserts.resources if r.name in members]
    if not subscription.owed and not subscription.fresh and not leaving:
        if wanted is None or len(wanted) == len(upserts.resources):
            return upserts
        return Batch(tuple(wanted))
    chosen = {
        resource.name: resource
        for resource in (upserts.resources if wanted is None else wanted)
        if (held := leaving.get(resource.name)) is None or held.version != resource.version
    }
    for name in subscription.owed | subscription.fresh:
        if (resource := current.resources.get(name)) is not None:
            chosen[name] = resource
    return Batch(tuple(chosen[name] for name in sorted(chosen)))


def removable(subscription: Subscription, current: TypeSnapshot, needed: Collection[str]) -> tuple[str, ...]:
    """The names of what the client may hold and must not, without those that are `needed`."""
    if subscription.type_url == VIRTUAL_HOST and subscription.pending:
        return ()
    # An orphan may exist again by now.
    at = subscription.at.resources
    orphans = (n for n in subscription.orphans if n not in current.resources and n not in at)
    return tuple(sorted({*subscription.leaving, *orphans}.difference(needed)))
