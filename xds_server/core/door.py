"""The door: removes addresses and ports that may not be endpoints from objects, before the world has them.

Envoy rejects a whole response if it cannot parse one address in it. An address of the control plane or of the
gateway's own machine would let the author of an object reach it from the gateway's place in the network. So
each address is checked once, when its object changes. What is removed is reported as a problem of its object,
and the rest of the object stays in use. `core.backends` decides what an address means to a Service.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from msgspec.structs import replace

from xds_server.base.address import MAX_PORT
from xds_server.base.text import shown
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.objects import (
    Container,
    EndpointSlice,
    Kind,
    Object,
    Pod,
    PodIP,
    Ref,
    Service,
    SliceEndpoint,
    ref_of,
)
from xds_server.core.world import Change, Delete, Report, Upsert

_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUP: Final = r"[1-9a-f][0-9a-f]{0,3}"
# Nearly every address matches one of these, at a tenth of the cost of `ipaddress`. An address that matches is
# canonical and may be an endpoint. `_judged` checks the others.
_PLAIN: Final = {
    "IPv4": re.compile(
        rf"(?!(?:0|127|22[4-9]|23[0-9])\.|169\.254\.|255\.255\.255\.255)(?:{_OCTET}\.){{3}}{_OCTET}"
    ).fullmatch,
    "IPv6": re.compile(
        # Without a group of zeros, except the two or more that one :: stands for.
        rf"(?!f[ef]|64:ff9b:|2002:|fd00:ec2:|fd20:ce:)"
        rf"(?:{_GROUP}(?::{_GROUP}){{7}}|(?=(?:[^:]*:){{2,6}}[^:]*\Z){_GROUP}(?::{_GROUP})*::{_GROUP}(?::{_GROUP})*)"
    ).fullmatch,
}
_METADATA: Final = frozenset(
    {"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"}
)
"""The addresses at which clouds serve metadata and credentials to instances, besides 169.254.169.254: AWS,
Google, Alibaba, Azure and Oracle."""

_WRAPPED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""Networks in which the last four bytes of an address are an IPv4 address: NAT64 (RFC 6052, RFC 8215),
IPv4-compatible, translated."""


class DoorRules(NamedTuple):
    """What is rejected besides the addresses that can never be endpoints. Loopback addresses are rejected
    unless `loopback`. The addresses `own` are the control plane's, and are rejected at any port. An
    EndpointSlice in `namespace` that lists one of them belongs to the control plane's Service, so all of its
    addresses are rejected as well: they are other replicas. `listeners` are addresses that are rejected at
    one port. `everywhere` are ports that are rejected at every loopback address, because the control plane
    listens on them. Addresses are in canonical form."""

    loopback: bool = False
    own: frozenset[str] = frozenset()
    namespace: str = ""
    listeners: frozenset[tuple[str, int]] = frozenset()
    everywhere: frozenset[int] = frozenset()


_STRICT: Final = DoorRules()
_Checked = EndpointSlice | Pod | Service
_CHECKED_KINDS: Final = frozenset({Kind.ENDPOINT_SLICE, Kind.POD, Kind.SERVICE})


class Door:
    """Filters changes. Every change has to pass it once, in order."""

    def __init__(self, rules: DoorRules = _STRICT) -> None:
        self._rules = rules
        self._ports = rules.everywhere | {port for _, port in rules.listeners}
        self._first = rules.own
        self._replicas: dict[Ref, frozenset[str]] = {}
        self._seen: dict[Ref, EndpointSlice | Pod] = {}
        self._reported: set[Ref] = set()

    def admit(self, changes: Iterable[Change]) -> list[Change]:
        """The changes with filtered objects, and reports of what was removed from them."""
        admitted: list[Change] = []
        own = self._rules.own
        for change in changes:
            match change:
                case Upsert(EndpointSlice() | Pod() | Service() as obj):
                    admitted += self._admitted(change, obj, self._noted(obj))
                case Delete(ref) if ref.kind in _CHECKED_KINDS:
                    self._forget(ref)
                    admitted += [change, *self._reports(ref, ())]
                case _:
                    admitted.append(change)
        return admitted if self._rules.own == own else [*admitted, *self._again()]

    def _noted(self, obj: _Checked) -> Ref:
        """Keep the object as received, and note the addresses of replicas."""
        ref = ref_of(obj)
        if not isinstance(obj, Service):
            self._seen[ref] = obj
        if isinstance(obj, EndpointSlice) and obj.namespace == self._rules.namespace:
            addresses = frozenset(_addresses(obj))
            self._replace(ref, None if self._first.isdisjoint(addresses) else addresses)
        return ref

    def _forget(self, ref: Ref) -> None:
        self._seen.pop(ref, None)
        self._replace(ref, None)

    def _replace(self, ref: Ref, addresses: frozenset[str] | None) -> None:
        """Set the addresses of replicas that a slice lists; None if it lists none."""
        if self._replicas.pop(ref, None) != addresses:
            own = self._first.union(*self._replicas.values(), addresses or ())
            self._rules = self._rules._replace(own=own)
        if addresses is not None:
            self._replicas[ref] = addresses

    def _again(self) -> Iterator[Change]:
        """Filter the known objects again after the control plane's own addresses changed. Returns those that
        have, or had, something removed."""
        for ref, obj in self._seen.items():
            was_reported = ref in self._reported
            admitted = self._admitted(Upsert(obj), obj, ref)
            if was_reported or len(admitted) > 1:
                yield from admitted

    def _admitted(self, change: Change, obj: _Checked, ref: Ref) -> list[Change]:
        cleaned, problems = self._cleaned(obj, ref)
        if cleaned is obj and ref not in self._reported:
            return [change]
        return [Upsert(cleaned), *self._reports(ref, problems)]

    def _reports(self, ref: Ref, problems: tuple[Condition, ...]) -> Iterator[Report]:
        if problems:
            self._reported.add(ref)
            yield Report(f"door: {ref}", problems)
        elif ref in self._reported:
            self._reported.remove(ref)
            yield Report(f"door: {ref}", ())

    def _cleaned(self, obj: _Checked, ref: Ref) -> tuple[Object, tuple[Condition, ...]]:
        match obj:
            case EndpointSlice():
                if ref in self._replicas:
                    return replace(obj, endpoints=()), ()  # the control plane's own Service, not a mistake
                return self._slice(obj)
            case Pod():
                return self._pod(obj)
            case Service():
                return _service(obj)

    def _slice(self, obj: EndpointSlice) -> tuple[EndpointSlice, tuple[Condition, ...]]:
        addresses = _addresses(obj)
        numbers = [port.port for port in obj.ports or () if port.port is not None]
        plain = _PLAIN.get(obj.address_type)
        if (
            plain is not None
            and all(map(plain, addresses))
            and self._rules.own.isdisjoint(addresses)
            and _METADATA.isdisjoint(addresses)
            and self._ports.isdisjoint(numbers)
            and all(map(_is_port, numbers))
        ):
            return obj, ()
        found = _Removed(ref_of(obj))
        endpoints: list[SliceEndpoint] = []
        for endpoint in obj.endpoints or ():
            verdicts = [_judged(each, obj.address_type, self._rules, numbers) for each in endpoint.addresses]
            kept = found.addresses(verdicts)
            if kept:
                endpoints.append(replace(endpoint, addresses=kept))
        ports = tuple(port for port in obj.ports or () if port.port is None or found.port(port.port))
        return replace(obj, endpoints=tuple(endpoints), ports=ports), found.problems()

    def _pod(self, obj: Pod) -> tuple[Pod, tuple[Condition, ...]]:
        found = _Removed(ref_of(obj))
        status, spec = obj.status, obj.spec
        texts = list(
            filter(None, dict.fromkeys((status.pod_ip, *(each.ip for each in status.pod_ips or ()))))
        )
        kept = found.addresses(_judged(text, "", self._rules, ()) for text in texts)
        containers = tuple(_container(each, found) for each in spec.containers or ())
        before = tuple(_container(each, found) for each in spec.init_containers or ())
        problems = found.problems()
        if not problems and kept == tuple(texts):
            return obj, ()
        # In order, the primary one first, as `core.backends` expects.
        ips = tuple(PodIP(ip=ip) for ip in kept)
        status = replace(status, pod_ip=kept[0] if kept else None, pod_ips=ips)
        return replace(
            obj, spec=replace(spec, containers=containers, init_containers=before), status=status
        ), problems


class _Verdict(NamedTuple):
    """The result for one address: its canonical `text`, and `why` it is removed, or ""."""

    text: str
    why: str = ""


class _Removed:
    """What was removed from one object: the number of addresses and ports, and the first of each as text."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._seen = {Reason.INVALID_ADDRESS: 0, Reason.INVALID_PORT: 0}
        self._bad = {Reason.INVALID_ADDRESS: 0, Reason.INVALID_PORT: 0}
        self._first: dict[Reason, str] = {}

    def addresses(self, verdicts: Iterable[_Verdict]) -> tuple[str, ...]:
        """The addresses that stay."""
        return tuple(verdict.text for verdict in verdicts if self._noted(Reason.INVALID_ADDRESS, verdict))

    def port(self, number: int) -> bool:
        """Whether the port stays."""
        why = "" if _is_port(number) else f"is not a number from 1 to {MAX_PORT}"
        return self._noted(Reason.INVALID_PORT, _Verdict(str(number), why))

    def _noted(self, reason: Reason, verdict: _Verdict) -> bool:
        self._seen[reason] += 1
        if verdict.why:
            self._bad[reason] += 1
            self._first.setdefault(reason, f"{verdict.text} {verdict.why}")
        return not verdict.why

    def problems(self) -> tuple[Condition, ...]:
        """One condition for each reason."""
        return tuple(
            Condition(about(self._ref), reason, self._sentence(reason, what))
            for reason, what in ((Reason.INVALID_ADDRESS, "address"), (Reason.INVALID_PORT, "port"))
            if reason in self._first
        )

    def _sentence(self, reason: Reason, what: str) -> str:
        bad, seen, first = self._bad[reason], self._seen[reason], self._first[reason]
        if seen == 1:
            return f"Its only {what} is left out: {first}."
        plural = {"address": "addresses", "port": "ports"}[what]
        if bad == 1:
            return f"One of its {seen} {plural} is left out: {first}."
        return f"{bad} of its {seen} {plural} are left out; the first: {first}."


def _service(obj: Service) -> tuple[Service, tuple[Condition, ...]]:
    if all(_is_port(each.port) and _fits(each.target_port, _is_port) for each in obj.ports):
        return obj, ()
    found = _Removed(ref_of(obj))
    ports = tuple(each for each in obj.ports if found.port(each.port) and _fits(each.target_port, found.port))
    return replace(obj, spec=replace(obj.spec, ports=ports)), found.problems()


def _fits(target: int | str | None, is_port: Callable[[int], bool]) -> bool:
    return not isinstance(target, int) or target == 0 or is_port(target)  # 0: the port's own number


def _container(obj: Container, found: _Removed) -> Container:
    kept = tuple(port for port in obj.ports or () if found.port(port.container_port))
    return obj if len(kept) == len(obj.ports or ()) else replace(obj, ports=kept)


def _judged(text: str, family: str, rules: DoorRules, ports: Collection[int]) -> _Verdict:
    """Check one address of an object with these `ports`. An empty `family` means either."""
    if family not in ("IPv4", "IPv6", ""):
        return _Verdict(shown(text), f"is of addressType {shown(family)}, and only IPv4 and IPv6 are routed")
    try:
        # A zone (fe80::1%eth0) has a meaning on its own machine only.
        address = None if "%" in text else ip_address(text)
    except ValueError:
        address = None
    if address is None or (family and family != f"IPv{address.version}"):
        return _Verdict(shown(text), f"is not an {family or 'IP'} address in its canonical form")
    why = _unfit(address, rules, ports)
    return _Verdict(shown(text), why) if why else _Verdict(str(address))


def _unfit(address: IPv4Address | IPv6Address, rules: DoorRules, ports: Collection[int]) -> str:
    """Why the address cannot be an endpoint, or ""."""
    text, loopback = str(address), address.is_loopback
    own = text in rules.own or any((text, port) in rules.listeners for port in ports)
    own = own or (loopback and not rules.everywhere.isdisjoint(ports))
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    found = (
        (own, "is the control plane's own"),
        (loopback and not rules.loopback, "is a loopback address (--allow-loopback-endpoints admits these)"),
        (address.is_link_local or text in _METADATA, "is a link-local or cloud metadata address"),
        (address.is_multicast or text == "255.255.255.255", "is a multicast or broadcast address"),
        (address.is_unspecified or text.startswith("0."), "is the address of no host"),
        (mapped, "is an IPv4 address written as IPv6"),
    )
    why = next((why for unfit, why in found if unfit), "")
    if why or isinstance(address, IPv4Address):
        return why
    wrapped = not loopback and any(address in network for network in _WRAPPED)
    inside = IPv4Address(address.packed[-4:]) if wrapped else address.sixtofour
    return _unfit(inside, rules, ports) if inside else ""


def _addresses(obj: EndpointSlice) -> list[str]:
    return [address for endpoint in obj.endpoints or () for address in endpoint.addresses]


def _is_port(number: int) -> bool:
    return 0 < number <= MAX_PORT
