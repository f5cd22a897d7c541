"""Any history of changes, to a client that rejects what is wrong as Envoy does and otherwise takes what it is
sent: what is wrong costs only itself (rules 37 to 41).

- In the end the client has all that is not itself wrong, or tied to it by a domain, and nothing else.
- A domain that it had, and that was there all the time since, it has all the time, and a cluster for it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.base.ids import Nonce, StreamId, TypeUrl
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.machine import StreamMachine
from xds_server.xds.name_sets import NO_NAMES
from xds_server.xds.requests import DeltaRequest, SotwRequest
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.responses import Response
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.sotw import SotwMachine
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter

SERVICES = ("a", "b", "c", "d", "e")
DOMAINS = tuple(f"{name}.test" for name in "uvwxyz")
WRONG = "wrong"
PATIENCE = 3000


def virtual_host(name: str, domains: Iterable[str], to: str, *, wrong: bool, rev: int) -> Resource:
    message = route_components_pb2.VirtualHost(name=f"r/{name}", domains=sorted(domains))
    message.routes.add(name=WRONG if wrong else f"{rev}").route.cluster = to
    key, refs = ResourceKey(VIRTUAL_HOST, message.name), (ResourceKey(CLUSTER, to),)
    return Resource(key, message.SerializeToString(), refs, claims=tuple(domains))


def world(random: Random) -> list[Resource]:
    """Services with ports that change, so that clusters and virtual hosts have other names, and domains that
    go from one to another. Some resources are wrong."""
    found = [
        Resource(
            ResourceKey(ROUTE, "r"), route_pb2.RouteConfiguration(name="r").SerializeToString(), vhds=True
        )
    ]
    domains = list(DOMAINS)
    if random.random() < 0.5:
        random.shuffle(domains)
    for service, domain in zip(SERVICES, domains, strict=False):
        if random.random() < 0.1:
            continue
        name = f"{service}:{random.choice((80, 80, 81))}"

        def body(kind: str, name: str = name) -> bytes:
            text = WRONG if random.random() < 0.08 else str(random.choice((0, 0, 0, 1)))
            return f"{kind} {name} {text}".encode()

        cluster, endpoints = ResourceKey(CLUSTER, name), ResourceKey(ENDPOINT, name)
        found += [
            Resource(cluster, body("cluster"), (endpoints,)),
            Resource(endpoints, body("endpoints")),
            virtual_host(name, {domain}, name, wrong=random.random() < 0.08, rev=random.choice((0, 0, 0, 1))),
        ]
    return found


def is_wrong(resource: Resource) -> bool:
    return WRONG.encode() in resource.body


@dataclass
class Client:
    """Envoy, as far as it matters here. Its `inbox` has responses, its `outbox` requests that are on their
    way."""

    machine: StreamMachine[Any]
    delta: bool
    apart: bool
    random: Random
    held: dict[TypeUrl, dict[str, Resource]] = field(
        default_factory=lambda: {each: {} for each in (CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST)}
    )
    inbox: deque[Response] = field(default_factory=deque)
    outbox: deque[Any] = field(default_factory=deque)
    nonces: dict[TypeUrl, Nonce] = field(default_factory=dict)
    followed: set[str] = field(default_factory=set)

    def start(self) -> None:
        for kind, names in ((CLUSTER, ()), (ROUTE, ("r",)), *(((VIRTUAL_HOST, ()),) if self.apart else ())):
            self.request(kind, names)

    def request(
        self, kind: TypeUrl, names: Iterable[str] = (), *, less: Iterable[str] = (), error: str | None = None
    ) -> None:
        """In delta `names` are more; in state of the world they are all."""
        nonce = self.nonces.get(kind, Nonce(""))
        if self.delta:
            more, fewer = tuple(sorted(names)), tuple(sorted(less))
            self.outbox.append(
                DeltaRequest(type_url=kind, nonce=nonce, subscribe=more, unsubscribe=fewer, error=error)
            )
        else:
            listed = NO_NAMES.plus(tuple(sorted(names)))
            self.outbox.append(SotwRequest(type_url=kind, nonce=nonce, names=listed, error=error))

    def hosts(self) -> dict[str, tuple[frozenset[str], str]]:
        """Domains and cluster of each virtual host."""
        if self.apart:
            found = [
                route_components_pb2.VirtualHost.FromString(r.body) for r in self.held[VIRTUAL_HOST].values()
            ]
        else:
            found = [
                host
                for routes in self.held[ROUTE].values()
                for host in route_pb2.RouteConfiguration.FromString(routes.body).virtual_hosts
            ]
        return {
            each.name: (frozenset(each.domains), each.routes[0].route.cluster)
            for each in found
            if each.routes
        }

    def process(self) -> None:
        response = self.inbox.popleft()
        kind = response.type_url
        self.nonces[kind] = response.nonce
        resources = {resource.name: resource for resource in response.resources}
        if kind == ENDPOINT:
            resources = {name: resource for name, resource in resources.items() if name in self.followed}
        before = self.held[kind]
        whole = not self.delta and kind == CLUSTER
        after = {**({} if whole else before), **resources}
        for name in response.removed:
            after.pop(name, None)
        self.held[kind] = after
        reason = self.reason(kind, resources)
        if reason is not None:
            self.held[kind] = before
            if kind == CLUSTER and self.random.random() < 0.5:  # some of it is taken
                good = {name: resource for name, resource in resources.items() if not is_wrong(resource)}
                self.held[kind] = {**before, **good}
        self.request(kind, self.listed(kind), error=reason)
        if kind == CLUSTER:
            self.follow()

    def listed(self, kind: TypeUrl) -> Iterable[str]:
        if self.delta:
            return ()
        return {ENDPOINT: self.followed, ROUTE: {"r"}}.get(kind, ())

    def follow(self) -> None:
        wanted = set(self.held[CLUSTER])
        if wanted == self.followed:
            return
        before, self.followed = self.followed, wanted
        for name in before - wanted:
            self.held[ENDPOINT].pop(name, None)
        if self.delta:
            nonce = self.nonces.pop(ENDPOINT, None)  # it answers nothing
            self.request(ENDPOINT, wanted - before, less=before - wanted)
            if nonce:
                self.nonces[ENDPOINT] = nonce
        else:
            self.request(ENDPOINT, wanted)

    def reason(self, kind: TypeUrl, resources: dict[str, Resource]) -> str | None:
        """Why it rejects what it has now got; None if it does not."""
        wrong = [name for name, resource in resources.items() if is_wrong(resource)]
        if wrong:
            others = self.random.choice(sorted(resources))  # what a tenant wrote may have any name in it
            return self.random.choice(
                ("malformed", f"Error adding {wrong[0]}: malformed", f"missing ): {others}")
            )
        if kind in (ROUTE, VIRTUAL_HOST):
            domains = [domain for found, _ in self.hosts().values() for domain in found]
            for domain in domains:
                if domains.count(domain) > 1:
                    return (
                        "Only unique values for domains are permitted. "
                        f"Duplicate entry of domain {domain} in route r"
                    )
        return None

    def served(self) -> dict[str, str]:
        """By domain the cluster."""
        return {domain: cluster for domains, cluster in self.hosts().values() for domain in domains}


class History:
    """A server, a client, and what it must not miss."""

    def __init__(self, random: Random, machine: StreamMachine[Any], hosts: HostsMode) -> None:
        self.random = random
        self.form = SnapshotAdapter(hosts)
        self.client = Client(machine, isinstance(machine, DeltaMachine), hosts is HostsMode.VHDS, random)
        self.snapshot = Snapshot()
        self.due: set[str] = set()
        self.now = 0.0

    def commit(self, resources: list[Resource]) -> None:
        stay = {resource.key for resource in resources}
        gone = [
            r.key for of in self.snapshot.types.values() for r in of.resources.values() if r.key not in stay
        ]
        self.snapshot = self.snapshot.updated(resources, gone)
        self.shown = self.form.of(self.snapshot)
        self.due &= self.wanted().keys()

    def wanted(self) -> dict[str, str]:
        return {
            domain: resource.refs[0].name
            for resource in self.snapshot.of(VIRTUAL_HOST).resources.values()
            for domain in resource.claims
        }

    def push(self) -> bool:
        response = self.client.machine.next(self.shown, self.now)
        if response is not None:
            self.client.inbox.append(response)
        return response is not None

    def step(self) -> None:
        """Whatever happens next."""
        what = self.random.random()
        if what < 0.15:
            self.commit(world(self.random))
        elif what < 0.5:
            self.push()
        elif what < 0.75 and self.client.inbox:
            self.client.process()
        elif self.client.outbox:
            self.client.machine.receive(self.client.outbox.popleft())
        self.now += self.random.choice((0.0, 0.0, 0.001, 1.0))
        self.check()

    def settle(self) -> None:
        for _ in range(PATIENCE):
            if self.client.outbox:
                self.client.machine.receive(self.client.outbox.popleft())
            elif self.client.inbox:
                self.client.process()
            elif not self.push():
                if self.client.machine.wakes_at is None:
                    break
                self.now = self.client.machine.wakes_at
            self.check()
        else:
            raise AssertionError("the exchange does not end")

    def check(self) -> None:
        served = self.client.served()
        missing = self.due - served.keys()
        assert not missing, f"{missing} served no more"
        # The end of a domain that is there again by now may be on its way, or the word that it was rejected.
        if not self.client.inbox and not self.client.outbox:
            self.due |= served.keys() & self.wanted().keys()

    def check_end(self) -> None:
        held = self.client.held
        current = self.snapshot
        clusters = {name for name, r in current.of(CLUSTER).resources.items() if not is_wrong(r)}
        for kind in (CLUSTER, ENDPOINT):
            for name, resource in current.of(kind).resources.items():
                if not is_wrong(resource) and (kind == CLUSTER or name in held[CLUSTER]):
                    assert held[kind].get(name) == resource, f"{kind} {name} is not what it should be"
        served, wanted = self.client.served(), self.wanted()
        wrong = {
            domain
            for resource in current.of(VIRTUAL_HOST).resources.values()
            if is_wrong(resource)
            for domain in resource.claims
        }
        if not wrong:
            assert served == wanted
            assert held[CLUSTER].keys() - current.of(CLUSTER).resources.keys() == set()
            assert clusters <= held[CLUSTER].keys()
        # A host that is wrong keeps what it had, and with it the domains that others would take from it.
        assert served.keys() >= self.due


@pytest.mark.parametrize(
    ("machine", "hosts"),
    [(DeltaMachine, HostsMode.VHDS), (DeltaMachine, HostsMode.INLINE), (SotwMachine, HostsMode.INLINE)],
    ids=["delta", "delta-inside", "sotw"],
)
@pytest.mark.parametrize("seed", range(60))
def test_what_is_wrong_costs_only_itself(
    machine: type[StreamMachine[Any]], hosts: HostsMode, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a history, not a secret
    steps = random.choice((3, 10, 30, 100))
    history = History(random, machine(StreamId(1)), hosts)
    history.commit(world(random))
    history.client.start()
    history.settle()
    for _ in range(steps):
        history.step()
    history.settle()
    history.check_end()
    # All is mended: then all is as if nothing had ever been wrong.
    mended = [r for r in world(random) if not is_wrong(r)]
    whole = {r.name for r in mended if r.key.type_url == CLUSTER} & {
        r.name for r in mended if r.key.type_url == ENDPOINT
    }
    history.commit([r for r in mended if r.key.type_url == ROUTE or r.name.removeprefix("r/") in whole])
    history.settle()
    history.check_end()
    assert history.client.served() == history.wanted()
