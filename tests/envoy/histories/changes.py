"""What tenants do: each change takes a world in place, and chooses for itself what it is about.

A change that finds nothing to do does nothing, so that any part of a history is a history, too.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from tests.envoy.histories.world import Canary, Endpoint, Port, Service, World

Change = Callable[[World, Random], None]

STABLE: Final = tuple(f"127.0.71.{number}" for number in range(1, 13))
"""Addresses of stable Pods; any Service may have any of them."""

CANARIES: Final = tuple(f"127.0.72.{number}" for number in range(1, 9))
"""Addresses of canaries' Pods, one each."""

HOSTS: Final = tuple(f"{name}.example" for name in ("shop", "pay", "api", "www", "old"))
NAMES: Final = ("web", "cart", "db")
PORT_NAMES: Final = ("http", "http-web", "http-admin", "web", "ui")
NUMBERS: Final = (80, 81, 8080, 8443, 9000)
BAD_ADDRESSES: Final = (
    "010.0.0.1",
    "0177.0.0.1",
    "10.1",
    "1.2.3.4%eth0",
    "",
    "localhost",
    "no-address",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "127.0.0.1:80",
    " 127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
)
BAD_PORTS: Final = (0, 65536, 99999)
BAD_CLAIMS: Final = ("*.example", "http://a.example", "bad_host!", "a..example", "x.svc.cluster.local")
POLICIES: Final[tuple[dict[str, str], ...]] = (
    {},
    {"percent": "50"},
    {"percent": "0.0001", "sample": "independent"},
    {"percent": "lots"},
    {"percnt": "1"},
    {"methods": "GET,POST", "paths": "/api"},
    {"headers": "x-team=shop", "exclude-paths": "/"},
    {"set-headers": "x-a=%REQ(host)%"},
    {"set-headers": ":path=/x"},
    {"remove-headers": "cookie", "max-rps": "5"},
    {"compare": "bodies", "baseline": "true"},
    {"redact": "form:password", "max-body": "16Ki"},
    {"timeout": "never"},
    {"until": "2020-01-01T00:00:00Z"},
    {"endpoints-from": "service/nowhere"},
    {"credential-from-secret": "nowhere/key"},
    {"paused": "true"},
    {"host": "no host"},
)


def opening(rng: Random, ports: tuple[int, ...], mark: str) -> World:
    """Where a history begins: some tenants with some Services each. `mark` makes their names its own."""
    world = World(ports, [f"{name}-{mark}" for name in ("red", "green", "blue")])
    for namespace in world.namespaces:
        for name in rng.sample(NAMES, rng.randint(1, len(NAMES))):
            make_service(world, rng, namespace, name)
    return world


def make_service(world: World, rng: Random, namespace: str, name: str) -> None:
    world.births += 1
    numbers = rng.sample(NUMBERS, rng.randint(1, 3))
    names = rng.sample(PORT_NAMES, len(numbers))
    ports = [
        Port(port_name, number, target)
        for target, (port_name, number) in enumerate(zip(names, numbers, strict=True))
    ]
    if len(ports) == 1 and rng.random() < 0.3:
        ports[0].name = ""
    service = Service(
        namespace,
        name,
        world.births,
        ports,
        [Endpoint(address) for address in rng.sample(STABLE, rng.randint(1, 3))],
        claims=rng.sample(HOSTS, rng.choice((0, 0, 1, 1, 2))),
    )
    world.services[service.key] = service


def _any(world: World, rng: Random) -> Service | None:
    return world.services[rng.choice(sorted(world.services))] if world.services else None


def _two(world: World, rng: Random) -> tuple[Service, Service] | None:
    if len(world.services) < 2:
        return None
    one, other = rng.sample(sorted(world.services), 2)
    return world.services[one], world.services[other]


def of_service(change: Callable[[Service, Random], None]) -> Change:
    """A change of any Service."""

    def apply(world: World, rng: Random) -> None:
        service = _any(world, rng)
        if service:
            change(service, rng)

    apply.__name__ = change.__name__
    return apply


def of_two(change: Callable[[Service, Service], None]) -> Change:
    """A change of any two Services, of one tenant or of two."""

    def apply(world: World, rng: Random) -> None:
        found = _two(world, rng)
        if found:
            change(*found)

    apply.__name__ = change.__name__
    return apply


# --- ports ------------------------------------------------------------------------------------------------


def renumber_port(service: Service, rng: Random) -> None:
    taken = {port.number for port in service.ports}
    rng.choice(service.ports).number = rng.choice([number for number in NUMBERS if number not in taken])


def rename_port(service: Service, rng: Random) -> None:
    taken = {port.name for port in service.ports}
    rng.choice(service.ports).name = rng.choice([name for name in PORT_NAMES if name not in taken])


def swap_numbers(service: Service, _: Random) -> None:
    first, last = service.ports[0], service.ports[-1]
    first.number, last.number = last.number, first.number


def first_port_goes(service: Service, _: Random) -> None:
    if len(service.ports) > 1:
        del service.ports[0]


def add_port(service: Service, rng: Random) -> None:
    if len(service.ports) >= 3:
        return
    names, numbers = {port.name for port in service.ports}, {port.number for port in service.ports}
    targets = {port.target for port in service.ports}
    port = Port(
        rng.choice([name for name in PORT_NAMES if name not in names]),
        rng.choice([number for number in NUMBERS if number not in numbers]),
        min({0, 1, 2} - targets),
    )
    service.ports.insert(rng.randint(0, len(service.ports)), port)
    for each in service.ports:
        each.name = each.name or "http-was-unnamed"


def turn_ports_round(service: Service, _: Random) -> None:
    service.ports.reverse()


def another_target(service: Service, rng: Random) -> None:
    free = sorted({0, 1, 2} - {port.target for port in service.ports})
    if free:
        rng.choice(service.ports).target = rng.choice(free)


# --- Services ---------------------------------------------------------------------------------------------


def delete_service(world: World, rng: Random) -> None:
    if len(world.services) > 2:
        del world.services[rng.choice(sorted(world.services))]


def delete_owner(world: World, rng: Random) -> None:
    """One that has hosts, so that somebody else may get them."""
    owners = sorted(key for key, service in world.services.items() if service.claims)
    if owners and len(world.services) > 2:
        del world.services[rng.choice(owners)]


def make_again(world: World, rng: Random) -> None:
    """One that is not there, with other ports and endpoints than it may have had."""
    names = [(namespace, name) for namespace in world.namespaces for name in NAMES]
    gone = [key for key in names if key not in world.services]
    if gone:
        make_service(world, rng, *rng.choice(gone))


def deleted_and_made_again(world: World, rng: Random) -> None:
    """At once, as it was: it is the youngest now."""
    service = _any(world, rng)
    if service:
        world.births += 1
        service.born = world.births


def expose(service: Service, rng: Random) -> None:
    service.expose = rng.choice((None, "true", "false", "True", "yes", ""))


# --- hosts ------------------------------------------------------------------------------------------------


def add_claim(service: Service, rng: Random) -> None:
    free = [host for host in HOSTS if host not in service.claims]
    if free:
        service.claims.append(rng.choice(free))


def drop_claim(service: Service, rng: Random) -> None:
    if service.claims:
        service.claims.remove(rng.choice(service.claims))


def bad_claim(service: Service, rng: Random) -> None:
    service.claims = [claim for claim in service.claims if claim not in BAD_CLAIMS]
    service.claims.append(rng.choice(BAD_CLAIMS))


def claim_of_a_cluster(world: World, rng: Random) -> None:
    """The name that cluster DNS gives to another's Service, which may not exist or not be exposed."""
    service = _any(world, rng)
    if service:
        service.claims.append(f"{rng.choice(NAMES)}.{rng.choice(world.namespaces)}")


def host_moves(one: Service, other: Service) -> None:
    if one.claims:
        other.claims.append(one.claims.pop(0))


def hosts_swap(one: Service, other: Service) -> None:
    one.claims, other.claims = other.claims, one.claims


# --- endpoints --------------------------------------------------------------------------------------------


def endpoints_move(service: Service, rng: Random) -> None:
    """All of them, as when a rollout ends."""
    before = {endpoint.address for endpoint in service.endpoints}
    free = [address for address in STABLE if address not in before]
    service.endpoints = [Endpoint(address) for address in rng.sample(free, rng.randint(1, 3))]


def endpoints_swap(one: Service, other: Service) -> None:
    one.endpoints, other.endpoints = other.endpoints, one.endpoints


def endpoint_comes(service: Service, rng: Random) -> None:
    before = {endpoint.address for endpoint in service.endpoints}
    free = [address for address in STABLE if address not in before]
    if len(before) < 4:
        service.endpoints.insert(0, Endpoint(rng.choice(free)))


def endpoint_goes(service: Service, rng: Random) -> None:
    if service.endpoints:
        service.endpoints.remove(rng.choice(service.endpoints))


def ready_flips(service: Service, rng: Random) -> None:
    if service.endpoints:
        endpoint = rng.choice(service.endpoints)
        endpoint.ready = not endpoint.ready


def all_ready(service: Service, _: Random) -> None:
    for endpoint in service.endpoints:
        endpoint.ready = True


def bad_addresses(service: Service, rng: Random) -> None:
    service.bad = rng.sample(BAD_ADDRESSES, rng.randint(1, 3))


def bad_port(service: Service, rng: Random) -> None:
    service.bad_port = rng.choice((None, *BAD_PORTS))


def corrected(world: World, _: Random) -> None:
    """Everybody's bad addresses."""
    for service in world.services.values():
        service.bad, service.bad_port = [], None


def slices_split(service: Service, _: Random) -> None:
    service.slices = min(3, service.slices + 1)


def slices_merge(service: Service, _: Random) -> None:
    service.slices = 1


# --- canaries ---------------------------------------------------------------------------------------------


def canary_comes(world: World, rng: Random) -> None:
    """Marked or not; behind the selector of its Service or not."""
    service = _any(world, rng)
    free = sorted(set(CANARIES) - {canary.address for canary in world.canaries.values()})
    if service is None or not free:
        return
    others = [canary for canary in world.canaries.values() if canary.namespace == service.namespace]
    joined = None if any(canary.joined == service.name for canary in others) else service.name
    canary = Canary(
        service.namespace,
        f"canary-{free[0].replace('.', '-')}",
        free[0],
        shadow_of=rng.choice((None, service.name, service.name)),
        joined=rng.choice((None, joined)),
    )
    world.canaries[canary.namespace, canary.name] = canary


def of_canary(change: Callable[[Canary, Random], None]) -> Change:
    """A change of any canary."""

    def apply(world: World, rng: Random) -> None:
        if world.canaries:
            change(world.canaries[rng.choice(sorted(world.canaries))], rng)

    apply.__name__ = change.__name__
    return apply


def canary_goes(world: World, rng: Random) -> None:
    if world.canaries:
        del world.canaries[rng.choice(sorted(world.canaries))]


def mark(canary: Canary, rng: Random) -> None:
    """Of its Service, of another, or of one that there is not."""
    canary.shadow_of = rng.choice((canary.joined or "web", *NAMES, "wbe"))


def unmark(canary: Canary, _: Random) -> None:
    canary.shadow_of = None


def policy(canary: Canary, rng: Random) -> None:
    canary.annotations = dict(rng.choice(POLICIES))


def canary_flips(canary: Canary, _: Random) -> None:
    canary.ready = not canary.ready


CHANGES: Final[tuple[Change, ...]] = (
    *map(
        of_service,
        (
            renumber_port,
            renumber_port,
            rename_port,
            swap_numbers,
            first_port_goes,
            first_port_goes,
            add_port,
            turn_ports_round,
            another_target,
            expose,
            add_claim,
            add_claim,
            drop_claim,
            bad_claim,
            endpoints_move,
            endpoints_move,
            endpoint_comes,
            endpoint_goes,
            ready_flips,
            all_ready,
            bad_addresses,
            bad_addresses,
            bad_port,
            slices_split,
            slices_merge,
        ),
    ),
    *map(of_two, (host_moves, host_moves, hosts_swap, hosts_swap, endpoints_swap)),
    *map(of_canary, (mark, mark, unmark, policy, policy, canary_flips)),
    delete_service,
    delete_owner,
    make_again,
    make_again,
    deleted_and_made_again,
    claim_of_a_cluster,
    corrected,
    canary_comes,
    canary_comes,
    canary_goes,
)
"""As often as they are meant to happen."""
