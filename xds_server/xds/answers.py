"""What a subscription learns from an ACK or a NACK.

A NACK means that the client took nothing of the response (rule 37). So the subscription goes back to what the
client had before, and `offers` decides what is sent next.
"""

from collections.abc import Mapping

from xds_server.base.ids import Nonce
from xds_server.xds.offers import put, same
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Unanswered
from xds_server.xds.subscription import NONE, Subscription

MAX_UNANSWERED = 64
"""How many unanswered responses of one type are kept, for a client that reads and does not answer. The
answer to a response that was dropped is treated as stale."""


def note_sent(subscription: Subscription, nonce: Nonce, response: Unanswered) -> None:
    """Record a response before it is written (rule 3)."""
    leaving, pending = subscription.leaving, subscription.pending
    if response.whole and leaving:
        resources = leaving.values()
        response.before = response.before.updated(
            r for r in resources if r.name not in response.before.resources
        )
        response.after = response.after.updated(resources)
    if response.whole and pending:
        # Full state includes the earlier unanswered responses, which the client may still reject.
        oldest = next(iter(pending.values()))
        fresh = None if oldest.fresh is None else oldest.fresh | (response.fresh or NONE)
        response.before, response.fresh = oldest.before, fresh
    pending[nonce] = response
    if len(pending) > MAX_UNANSWERED:
        del pending[next(iter(pending))]
    subscription.last_nonce = nonce
    subscription.started = True


def settle(subscription: Subscription, nonce: Nonce, error: str | None) -> Unanswered | None:
    """Handle the ACK of `nonce`, or the NACK if there is an `error`. Returns the response, or None if no
    response with that nonce is unanswered. Earlier responses are settled too, as clients answer in order."""
    pending = subscription.pending
    answered = pending.get(nonce)
    if answered is None:
        return None
    while next(iter(pending)) != nonce:
        del pending[next(iter(pending))]
    del pending[nonce]
    if error is not None:
        _rejected(subscription, answered, error)
    else:
        for each in pending.values() if answered.whole else ():
            each.before, each.fresh = answered.after, each.fresh and each.fresh - answered.changed
        if subscription.offers.staged:
            subscription.offers.accept(answered)
        if subscription.orphans:
            _settle_orphans(subscription, answered)
    return answered


def _settle_orphans(subscription: Subscription, answered: Unanswered) -> None:
    names, orphans = answered.batch.names, subscription.orphans
    if answered.whole:
        orphans.intersection_update(names)
    orphans.difference_update(answered.batch.removed)
    orphans.difference_update(n for n in names if n in subscription.at.resources or n in subscription.leaving)


def _rejected(subscription: Subscription, answered: Unanswered, message: str) -> None:
    """Take the subscription back to what the client had before the response."""
    after = answered.after.resources
    # The next full state continues to leave out what this one left out.
    had = {
        name: held
        for name, held in subscription.offers.had(answered).items()
        if subscription.wants(name) and (name in after or not answered.whole)
    }
    prior = {name: held for name, held in had.items() if not same(held, after.get(name))}
    # Names in a later response are still in flight.
    later = NONE.union(*(each.changed.union(each.batch.removed) for each in subscription.pending.values()))
    if prior:  # otherwise the client rejects what it already has, and sending it again would not help
        subscription.owed.update(had.keys() - prior.keys() - subscription.leaving.keys() - later)
    subscription.offers.reject(answered, prior, subscription.at, message)
    back = {name: held for name, held in prior.items() if name not in later}
    _restore_leaving(subscription, answered, back)
    resources = subscription.at.resources
    subscription.at = put(
        subscription.at, {n: held for n, held in back.items() if resources.get(n) == after.get(n)}
    )


def _restore_leaving(
    subscription: Subscription, answered: Unanswered, prior: Mapping[str, Resource | None]
) -> None:
    """Until its removal, the client keeps the version that it accepted, not the one that it rejected."""
    leaving = subscription.leaving
    for name, held in prior.items():
        rejected = answered.after.resources.get(name)
        if rejected is None or leaving.get(name) != rejected:
            continue
        if held is not None:
            leaving[name] = held
        else:
            del leaving[name]
            if subscription.wildcard:
                subscription.orphans.add(name)
