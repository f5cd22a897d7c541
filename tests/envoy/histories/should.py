"""What may answer a request, written from the documentation alone and without any of the product's code.

A request names an authority, ``HOST`` or ``HOST:PORT``. The host has at most one owner:

- ``NAME.NAMESPACE`` and its longer forms are the Service's of that name, exposed or not, and nobody else's;
- any other is the oldest's of the exposed Services that claim it.

The port is the owner's that has this number, else its first. What may answer are the ready endpoints of that
port that are addresses at all, without the Pods of marked canaries. The one exception is the guard: while no
stable endpoint was ever there to be ready, the canary's Pods stay.

While a change is under way, a request may be answered according to the world before or after it. It may fail
only if it may fail in one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.envoy.histories.world import Canary, Name, Service, World

CLUSTER = ("", ".svc", ".svc.cluster.local")


@dataclass(frozen=True)
class Outcome:
    """Of a request in one world. `backends` may answer it; without any, it has to fail. `anything`: it is
    not said, neither which nor whether. `owner` is the Service that it is for."""

    owner: Name | None = None
    backends: frozenset[str] = frozenset()
    anything: bool = False

    @property
    def answered(self) -> bool:
        """Whether it must be answered."""
        return bool(self.backends) and not self.anything


NOBODY = Outcome()


@dataclass
class Should:
    """What should be in one world. `guarded` are Services whose canaries are all that they have, in a world
    that lasted; see `after`."""

    world: World
    guarded: frozenset[Name] = frozenset()
    _known: dict[str, Outcome] = field(default_factory=dict)

    def after(self, lasted: "Should | None") -> "Should":
        """The same, knowing which world was there long enough to take effect before this one."""
        before = lasted.guarded if lasted else frozenset()
        found = frozenset(
            key
            for key, service in self.world.services.items()
            if (canaries := _canaries_in(self.world, service))
            and all(canary.shadow_of == service.name for canary in canaries)
            and not _ready(service)
            and (not _stable(service) or key in before)
        )
        return Should(self.world, found)

    def outcome(self, authority: str) -> Outcome:
        """Of a request for it."""
        if authority not in self._known:
            self._known[authority] = self._outcome(authority)
        return self._known[authority]

    def _outcome(self, authority: str) -> Outcome:
        host, _, number = authority.partition(":")
        own = _own(self.world, host)
        if own is not None:
            service = self.world.services.get(own)
            if service is None:
                # Whether such a name can be claimed while nobody has it is not promised.
                return Outcome(anything=True) if any(_claims(self.world, host)) else NOBODY
            owner = service if _exposed(service) else None
        else:
            owner = min(_claims(self.world, host), key=lambda each: (each.born, each.key), default=None)
        if owner is None:
            return NOBODY
        port = next((port for port in owner.ports if str(port.number) == number), owner.ports[0])
        return self._of(owner, self.world.ports[port.target])

    def everything_of(self, service: Name) -> frozenset[str]:
        """What may answer at any of its ports."""
        found = self.world.services.get(service)
        if found is None:
            return frozenset()
        return frozenset().union(
            *(self._of(found, self.world.ports[port.target]).backends for port in found.ports)
        )

    def empty(self, service: Name) -> bool:
        """Whether it is there and requests for it may fail."""
        found = self.world.services.get(service)
        return found is not None and not self._of(found, self.world.ports[0]).answered

    def _of(self, service: Service, port: int) -> Outcome:
        ready, canaries = _ready(service), _canaries_in(self.world, service)
        marked = [canary for canary in canaries if canary.shadow_of is not None]
        unmarked = [c.address for c in canaries if c.shadow_of is None and c.ready]
        backends = frozenset(f"{address}:{port}" for address in (*ready, *unmarked))
        if backends or not marked:
            return Outcome(service.key, backends)
        if any(canary.shadow_of is None for canary in canaries):  # but none of them is ready
            return Outcome(service.key, anything=True)
        kept = frozenset(f"{canary.address}:{port}" for canary in marked if canary.ready)
        if any(canary.shadow_of != service.name for canary in marked) or len(marked) > 1:
            return Outcome(service.key, kept, anything=True)
        if _stable(service) and service.key not in self.guarded:
            return Outcome(service.key, kept, anything=True)  # callers get errors, or the canary
        return Outcome(service.key, kept)


@dataclass(frozen=True)
class Allowed:
    """What a caller may see while several worlds may be in effect."""

    backends: frozenset[str]
    failure: bool
    anything: bool

    def takes(self, backend: str | None) -> bool:
        """Whether it may be answered by this one; None is a failure."""
        if self.anything:
            return True
        return self.failure if backend is None else backend in self.backends


def allowed(authority: str, effective: Sequence[Should], remembered: Sequence[Should]) -> Allowed:
    """For a request that was under way while the worlds `effective` may have been in effect; `remembered` are
    those and older ones of which something may be left somewhere: an endpoint, but no failure.

    Where a host goes from one Service to another, parts of either world may meet: the host's old owner with
    endpoints that it has only now. So all of what its owners have in any of the worlds may answer; and it may
    fail if one of them has nothing in one of them.
    """
    outcomes = [each.outcome(authority) for each in effective]
    past = [each.outcome(authority) for each in remembered]
    owners = {each.owner for each in (*outcomes, *past) if each.owner}
    current = {each.owner for each in outcomes if each.owner}
    if len(remembered) == 1:
        backends = {each.backends for each in outcomes}
    else:
        backends = {each.everything_of(owner) for each in remembered for owner in owners}
    return Allowed(
        backends=frozenset().union(*backends),
        failure=any(not each.answered for each in outcomes)
        or any(each.empty(owner) for each in effective for owner in current),
        anything=any(each.anything for each in past),
    )


def touched(authority: str, before: Should, after: Should) -> bool:
    """Whether what changed between two worlds is about this request, which has to be answered in both."""
    old, new = before.outcome(authority), after.outcome(authority)
    if not (old.answered and new.answered and old.owner and new.owner):
        return False
    changed = before.world.services[old.owner] != after.world.services[new.owner]
    return changed or old != new


def _own(world: World, host: str) -> Name | None:
    """The Service whose cluster's own name this is, if it has the form of one."""
    for suffix in CLUSTER:
        name, _, namespace = host.removesuffix(suffix).partition(".")
        if host.endswith(suffix) and namespace in world.namespaces:
            return namespace, name
    return None


def _claims(world: World, host: str) -> list[Service]:
    return [
        service
        for service in world.services.values()
        if _exposed(service) and host in (claim.lower() for claim in service.claims)
    ]


def _exposed(service: Service) -> bool:
    """All Namespaces are; a label that is neither true nor false counts as none."""
    return service.expose != "false"


def _stable(service: Service) -> list[str]:
    return [endpoint.address for endpoint in service.endpoints]


def _ready(service: Service) -> list[str]:
    return [endpoint.address for endpoint in service.endpoints if endpoint.ready]


def _canaries_in(world: World, service: Service) -> list[Canary]:
    """Those whose Pods are listed among its endpoints."""
    return [canary for canary in world.canaries.values() if (canary.namespace, canary.joined) == service.key]
