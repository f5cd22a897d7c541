"""The door: what of an object may not become an endpoint is taken off it on its way into the world.

An address that Envoy cannot parse makes it reject everything that it is sent with it, and one of the control
plane or of the machine itself lends the gateway's place in the network to whoever wrote it. So each address
is parsed once, when its object changes; what is left out is a problem of its object, and the rest of the
object stands. What an address means to a Service is decided elsewhere (`core.backends`).
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from msgspec.structs import replace

from xds_server.base.text import shown
from xds_server.core.conditions import Condition, about
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

INVALID_ADDRESS: Final = "InvalidAddress"
INVALID_PORT: Final = "InvalidPort"

_LAST_PORT: Final = 65535
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUP: Final = r"[1-9a-f][0-9a-f]{0,3}"
# Nearly every address passes one of these, at a tenth of what `ipaddress` costs. What they admit is canonical
# and may be an endpoint; what they do not admit is looked at by `_judged`.
_PLAIN: Final = {
    "IPv4": re.compile(
        rf"(?!(?:0|127|22[4-9]|23[0-9])\.|169\.254\.|255\.255\.255\.255)(?:{_OCTET}\.){{3}}{_OCTET}"
    ).fullmatch,
    "IPv6": re.compile(
        # Without a group of zeros but those that one :: stands for, of which there are two or more.
        rf"(?!f[ef]|64:ff9b:|2002:|fd00:ec2:|fd20:ce:)"
        rf"(?:{_GROUP}(?::{_GROUP}){{7}}|(?=(?:[^:]*:){{2,6}}[^:]*\Z){_GROUP}(?::{_GROUP})*::{_GROUP}(?::{_GROUP})*)"
    ).fullmatch,
}
_METADATA: Final = frozenset(
    {"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"}
)
"""Where clouds serve their instances' metadata and credentials, besides 169.254.169.254: AWS, Google,
Alibaba, Azure and Oracle."""

_WRAPPED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""Of which the last four bytes are an IPv4 address: NAT64 (RFC 6052, RFC 8215), IPv4-compatible,
translated."""


class DoorRules(NamedTuple):
    """What is refused besides what nobody may have as an endpoint: loopback addresses unless `loopback`; the
    addresses `own` at any port, and those of the slices in `namespace` that list one of them, which are of
    other replicas; `listeners` at their port; `everywhere`, ports that the control plane listens on at every
    loopback address. Addresses are canonical."""

    loopback: bool = False
    own: frozenset[str] = frozenset()
    namespace: str = ""
    listeners: frozenset[tuple[str, int]] = frozenset()
    everywhere: frozenset[int] = frozenset()


_STRICT: Final = DoorRules()
_LookedAt = EndpointSlice | Pod | Service
_KINDS_LOOKED_AT: Final = frozenset({Kind.ENDPOINT_SLICE, Kind.POD, Kind.SERVICE})


class Door:
    """Every change passes it once, in order."""

    def __init__(self, rules: DoorRules = _STRICT) -> None:
        self._rules = rules
        self._ports = rules.everywhere | {port for _, port in rules.listeners}
        self._first = rules.own
        self._replicas: dict[Ref, frozenset[str]] = {}
        self._seen: dict[Ref, EndpointSlice | Pod] = {}
        self._reported: set[Ref] = set()

    def admit(self, changes: Iterable[Change]) -> list[Change]:
        """The changes with cleaned objects, and reports of what was left out of which."""
        admitted: list[Change] = []
        own = self._rules.own
        for change in changes:
            match change:
                case Upsert(EndpointSlice() | Pod() | Service() as obj):
                    admitted += self._admitted(change, obj, self._noted(obj))
                case Delete(ref) if ref.kind in _KINDS_LOOKED_AT:
                    self._forget(ref)
                    admitted += [change, *self._reports(ref, ())]
                case _:
                    admitted.append(change)
        return admitted if self._rules.own == own else [*admitted, *self._again()]

    def _noted(self, obj: _LookedAt) -> Ref:
        """Remember the object as it came, and whose its addresses are."""
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
        """Note the addresses of replicas that a slice lists, if it is of the control plane's Service."""
        if self._replicas.pop(ref, None) != addresses:
            own = self._first.union(*self._replicas.values(), addresses or ())
            self._rules = self._rules._replace(own=own)
        if addresses is not None:
            self._replicas[ref] = addresses

    def _again(self) -> Iterator[Change]:
        """What is decided otherwise, or may be, since the control plane's own addresses changed."""
        for ref, obj in self._seen.items():
            was_reported = ref in self._reported
            admitted = self._admitted(Upsert(obj), obj, ref)
            if was_reported or len(admitted) > 1:
                yield from admitted

    def _admitted(self, change: Change, obj: _LookedAt, ref: Ref) -> list[Change]:
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

    def _cleaned(self, obj: _LookedAt, ref: Ref) -> tuple[Object, tuple[Condition, ...]]:
        match obj:
            case EndpointSlice():
                if ref in self._replicas:
                    return replace(obj, endpoints=()), ()  # nobody's mistake
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
        found = _LeftOut(ref_of(obj))
        endpoints: list[SliceEndpoint] = []
        for endpoint in obj.endpoints or ():
            verdicts = [_judged(each, obj.address_type, self._rules, numbers) for each in endpoint.addresses]
            kept = found.addresses(verdicts)
            if kept:
                endpoints.append(replace(endpoint, addresses=kept))
        ports = tuple(port for port in obj.ports or () if port.port is None or found.port(port.port))
        return replace(obj, endpoints=tuple(endpoints), ports=ports), found.problems()

    def _pod(self, obj: Pod) -> tuple[Pod, tuple[Condition, ...]]:
        found = _LeftOut(ref_of(obj))
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
        # In order, the first its main one: as `core.backends` reads them.
        ips = tuple(PodIP(ip=ip) for ip in kept)
        status = replace(status, pod_ip=kept[0] if kept else None, pod_ips=ips)
        return replace(
            obj, spec=replace(spec, containers=containers, init_containers=before), status=status
        ), problems


class _Verdict(NamedTuple):
    """On one address: as it is to be written, or `why` it is left out."""

    text: str
    why: str = ""


class _LeftOut:
    """What was left out of one object: how much of each, and the first in words."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._seen = {INVALID_ADDRESS: 0, INVALID_PORT: 0}
        self._bad = {INVALID_ADDRESS: 0, INVALID_PORT: 0}
        self._first: dict[str, str] = {}

    def addresses(self, verdicts: Iterable[_Verdict]) -> tuple[str, ...]:
        """Those that stay."""
        return tuple(verdict.text for verdict in verdicts if self._noted(INVALID_ADDRESS, verdict))

    def port(self, number: int) -> bool:
        """Whether it stays."""
        why = "" if _is_port(number) else f"is not a number from 1 to {_LAST_PORT}"
        return self._noted(INVALID_PORT, _Verdict(str(number), why))

    def _noted(self, reason: str, verdict: _Verdict) -> bool:
        self._seen[reason] += 1
        if verdict.why:
            self._bad[reason] += 1
            self._first.setdefault(reason, f"{verdict.text} {verdict.why}")
        return not verdict.why

    def problems(self) -> tuple[Condition, ...]:
        """One for each kind of mistake."""
        return tuple(
            Condition(about(self._ref), reason, self._sentence(reason, what))
            for reason, what in ((INVALID_ADDRESS, "address"), (INVALID_PORT, "port"))
            if reason in self._first
        )

    def _sentence(self, reason: str, what: str) -> str:
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
    found = _LeftOut(ref_of(obj))
    ports = tuple(each for each in obj.ports if found.port(each.port) and _fits(each.target_port, found.port))
    return replace(obj, spec=replace(obj.spec, ports=ports)), found.problems()


def _fits(target: int | str | None, is_port: Callable[[int], bool]) -> bool:
    return not isinstance(target, int) or target == 0 or is_port(target)  # 0: the port's own number


def _container(obj: Container, found: _LeftOut) -> Container:
    kept = tuple(port for port in obj.ports or () if found.port(port.container_port))
    return obj if len(kept) == len(obj.ports or ()) else replace(obj, ports=kept)


def _judged(text: str, family: str, rules: DoorRules, ports: Collection[int]) -> _Verdict:
    """On one address of an object with these `ports`; an empty `family` is either."""
    if family not in ("IPv4", "IPv6", ""):
        return _Verdict(shown(text), f"is of addressType {shown(family)}, and only IPv4 and IPv6 are routed")
    try:
        # A zone (fe80::1%eth0) means something on its own machine only.
        address = None if "%" in text else ip_address(text)
    except ValueError:
        address = None
    if address is None or (family and family != f"IPv{address.version}"):
        return _Verdict(shown(text), f"is not an {family or 'IP'} address in its canonical form")
    why = _unfit(address, rules, ports)
    return _Verdict(shown(text), why) if why else _Verdict(str(address))


def _unfit(address: IPv4Address | IPv6Address, rules: DoorRules, ports: Collection[int]) -> str:
    """Why the address cannot be an endpoint, if so."""
    text, loopback = str(address), address.is_loopback
    own = text in rules.own or any((text, port) in rules.listeners for port in ports)
    own = own or (loopback and not rules.everywhere.isdisjoint(ports))
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    found = (
        (own, "is the control plane's own"),
        (loopback and not rules.loopback, "is a loopback address (--allow-loopback-endpoints admits these)"),
        (address.is_link_local or text in _METADATA, "is a link-local address, or one of a cloud's metadata"),
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
    return 0 < number <= _LAST_PORT
