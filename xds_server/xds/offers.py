"""Decides what a client is offered of one type when that is not simply the current state: after a NACK, or
while a change waits (rules 37 to 41).

One `Rollout` handles the resources of the type. For each route configuration, a further one handles the
virtual hosts in it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from xds_server.xds.nack_text import names_in
from xds_server.xds.resource import Resource
from xds_server.xds.responses import Unanswered
from xds_server.xds.rollout import Cold, Rollout
from xds_server.xds.snapshot import EMPTY, TypeSnapshot
from xds_server.xds.variants import InlinedRoutes


@dataclass(slots=True)
class Offers:
    """The offers of one type on one stream; `at` is always what the client was offered last.

    `rollout` decides about resources, and `parts` about the virtual hosts in a route configuration, by its
    name. `held_before` has, for each name that the client rejected and has not accepted since, what it held
    before.
    """

    rollout: Rollout | None = None
    parts: dict[str, Rollout] = field(default_factory=dict)
    held_before: dict[str, Resource | None] = field(default_factory=dict)

    @property
    def staged(self) -> bool:
        """Whether the client may not simply be sent the current state."""
        return self.rollout is not None or bool(self.parts) or bool(self.held_before)

    @property
    def rejecting(self) -> bool:
        """Whether the client currently rejects a change."""
        return any(rollout.suspects for rollout in self._rollouts())

    @property
    def waits(self) -> bool:
        """Whether a change may be sent later without a new request or snapshot."""
        return self.untried or self.wakes_at is not None

    @property
    def untried(self) -> bool:
        """Whether a suspect has not been tried again yet (see `Rollout`)."""
        return any(each.untried for each in self._rollouts())

    @property
    def wakes_at(self) -> float | None:
        """When the first waiting change stops waiting."""
        return min((at for each in self._rollouts() if (at := each.wakes_at) is not None), default=None)

    def _rollouts(self) -> Iterator[Rollout]:
        yield from self.parts.values()
        if self.rollout is not None:
            yield self.rollout

    def kept(self, at: TypeSnapshot) -> Iterator[Resource]:
        """The resources that the client keeps in an older version, because it rejected the new one or because
        the new one waits."""
        if self.rollout is not None:
            yield from self.rollout.kept(at)
        for name, part in self.parts.items():
            yield from part.kept(_hosts(at.resources.get(name)))

    def holds_back(self, name: str) -> bool:
        """Whether the client must wait for this resource."""
        return self.rollout is not None and name in self.rollout.waiting

    def forget(self, names: Collection[str]) -> None:
        """Forget what the client rejected of `names`."""
        if self.rollout is not None:
            self.rollout.accept(names)
        for name in names:
            self.held_before.pop(name, None)
            self.parts.pop(name, None)

    def joined(self, current: TypeSnapshot, at: TypeSnapshot, cold: Cold, *, trying: bool) -> TypeSnapshot:
        """`current`, with the virtual hosts in each route configuration limited to those that the client is
        offered."""
        if not self.parts and not cold.clusters:
            return current
        others: list[Resource] = []
        for name, wanted in current.resources.items():
            held = at.resources.get(name)
            if not isinstance(wanted, InlinedRoutes) or (
                name not in self.parts and not (cold.clusters and held)
            ):
                continue
            part = self.parts.get(name) or Rollout(_hosts(held))
            hosts = part.offer(wanted.hosts, _hosts(held), cold, trying=trying)
            if part.over:
                self.parts.pop(name, None)
            else:
                self.parts[name] = part
            if hosts is not wanted.hosts:
                others.append(wanted.with_hosts(hosts))
        return current.derived(tuple(each.version for each in others), lambda: current.updated(others))

    def back(self, current: TypeSnapshot) -> list[str]:
        """Names that the client rejected and whose previous version is current again. The client may have
        applied a part of what it rejected, so the previous version is sent again."""
        found = []
        for name, held in self.held_before.items():
            wanted = current.resources.get(name)
            unchanged = same(wanted, held) or wanted is held
            if unchanged and not (name in self.parts and self.parts[name].waiting):
                found.append(name)
        for name in found:
            del self.held_before[name]
        if found and self.rollout is not None:
            self.rollout.accept(found)
        return found

    def offer(self, current: TypeSnapshot, at: TypeSnapshot, cold: Cold, *, trying: bool) -> TypeSnapshot:
        """What the client should have next, on its way from `at` to `current`."""
        if self.rollout is None:
            if not cold.clusters or current is at:
                return current
            self.rollout = Rollout(at)
        shown = self.rollout.offer(current, at, cold, trying=trying)
        if self.rollout.over:
            self.rollout = None
        return shown

    def accept(self, answered: Unanswered) -> None:
        """Handle the ACK of a response."""
        changed = answered.changed
        for name, part in self.parts.items():
            if name in changed:
                after = _hosts(answered.after.resources.get(name))
                part.accept(after.changes_since(_hosts(self._had(name, answered))).names)
        if self.rollout is not None:
            self.rollout.accept(changed)
        for name in (*self.held_before,) if answered.whole else (*changed, *answered.batch.removed):
            self.held_before.pop(name, None)

    def had(self, answered: Unanswered) -> dict[str, Resource | None]:
        """What the client had before of each resource that the response changes."""
        return {name: self._had(name, answered) for name in answered.changed}

    def _had(self, name: str, answered: Unanswered) -> Resource | None:
        return self.held_before[name] if name in self.held_before else answered.prior(name)

    def reject(
        self,
        answered: Unanswered,
        prior: Mapping[str, Resource | None],
        at: TypeSnapshot,
        message: str,
    ) -> None:
        """Handle the NACK of a response. `prior` has what the client had before of each changed name."""
        after = answered.after
        self.held_before.update(prior)
        rest = set(prior)
        for name, held in prior.items():
            hosts, before = _hosts(after.resources.get(name)), _hosts(held)
            if changed := hosts.changes_since(before).names:
                part = self.parts.setdefault(name, Rollout(_hosts(at.resources.get(name))))
                part.reject(changed, before, hosts, names_in(message, hosts.resources))
                rest.discard(name)
        if rest:
            if self.rollout is None:
                self.rollout = Rollout(at)
            self.rollout.reject(rest, put(after, prior), after, names_in(message, answered.resources))


def put(of: TypeSnapshot, resources: Mapping[str, Resource | None]) -> TypeSnapshot:
    """The snapshot with these resources in place, and without the names whose value is None."""
    gone = [name for name, resource in resources.items() if resource is None]
    return of.updated([resource for resource in resources.values() if resource is not None], gone)


def same(one: Resource | None, other: Resource | None) -> bool:
    """Whether both resources exist and have the same version."""
    return one is not None and other is not None and one.version == other.version


def _hosts(routes: Resource | None) -> TypeSnapshot:
    """The virtual hosts inside a route configuration."""
    return routes.hosts if isinstance(routes, InlinedRoutes) else EMPTY
