"""Parsers for the values of a gateway file: strings, lists and mappings of untyped YAML.

Every error message says what to write instead. The caller prefixes the key.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple, TypeVar

from xds_server.base.address import MAX_PORT, ip_text
from xds_server.base.dns import LABEL
from xds_server.base.text import shown

EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - a gateway
EVERY_IPV6: Final = "::"

_MOST_HOPS: Final = 10
_MOST_ENTRIES: Final = 64
_MOST_UPGRADES: Final = 8
_SHORTEST_S: Final = 0.1
_LONGEST_S: Final = 24 * 3600
_DURATION: Final = re.compile(r"([0-9]{1,6})(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_NAME: Final = re.compile(LABEL)
_UPGRADE: Final = re.compile(r"[A-Za-z][!#$%&'*+.^_`|~0-9A-Za-z-]*(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
_LONGEST_UPGRADE: Final = 32
_TUNNELS: Final = ("connect", "connect-udp", "connect-ip")
_NEVER: Final = "none"
_NETWORK: Final = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")
_MAPPED: Final = IPv6Network("::ffff:0.0.0.0/96")
_BROADCAST: Final = "255.255.255.255"

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class ValueProblem(Exception):  # noqa: N818 - never leaves `translate.gateway`
    """A value is invalid."""


class Cidr(NamedTuple):
    """A network: its canonical first address and its prefix length."""

    address: str
    bits: int


def mapping(found: object, example: str) -> Mapping[str, object]:
    """A mapping with these keys."""
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueProblem(f"write keys and values, such as {example}")
    return found


def entries(found: object, example: str, read: Callable[[object], T], most: int = _MOST_ENTRIES) -> list[T]:
    """A list. The message for an entry begins with its index in brackets."""
    if not isinstance(found, list):
        raise ValueProblem(f"write a list, such as {example}")
    if len(found) > most:
        raise ValueProblem(f"has {len(found)} entries, and {most} are the most")
    values = []
    for index, each in enumerate(found):
        try:
            values.append(read(each))
        except ValueProblem as problem:
            raise ValueProblem(f"[{index}]: {problem}") from None
    return values


def text(found: object) -> str:
    """A string."""
    if not isinstance(found, str):
        raise ValueProblem("write one value, not a list or a mapping")
    return found


def one_of(kind: type[E]) -> Callable[[object], E]:
    """One of a fixed set of values."""

    def read(found: object) -> E:
        if found not in list(kind):
            raise ValueProblem(f"{shown(text(found))} is none of {', '.join(kind)}")
        return kind(text(found))

    return read


def yes_or_no(found: object) -> bool:
    """``true`` or ``false``, spelled exactly so."""
    if found not in ("true", "false"):
        raise ValueProblem(f"{shown(text(found))} is neither true nor false")
    return found == "true"


def duration(found: object) -> float | None:
    """Seconds; None for ``none``. Less than 0.1 s is rejected, because no request would succeed."""
    written = text(found)
    if written == _NEVER:
        return None
    match = _DURATION.fullmatch(written)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueProblem(f"{shown(written)} is not a duration from 100ms to 24h; write 30s, 5m, 1h or none")
    return seconds


def number(found: object, least: int, most: int) -> int:
    """A decimal integer."""
    written = text(found)
    if not re.fullmatch(r"[0-9]{1,9}", written) or not least <= int(written) <= most:
        raise ValueProblem(f"{shown(written)} is not a number from {least} to {most}")
    return int(written)


def hops(found: object) -> int | None:
    """A number of proxies; None if it is not set."""
    return None if found == "" else number(found, 0, _MOST_HOPS)


def port(found: object) -> int:
    """A port number."""
    return number(found, 1, MAX_PORT)


def name(found: object) -> str:
    """A listener's name: a DNS label."""
    written = text(found)
    if not _NAME.fullmatch(written):
        raise ValueProblem(
            f"{shown(written)} is not a name; write lower-case letters, digits and '-', such as internal"
        )
    return written


def addresses(found: object) -> tuple[str, ...]:
    """IP addresses to listen on, at least one, without duplicates."""
    listed = entries(found, f"[{EVERY_IPV4}]", _address)
    if not listed:
        raise ValueProblem(f'is empty; write ["{EVERY_IPV6}"] for every address of this machine')
    if len(set(listed)) < len(listed):
        raise ValueProblem("has an address twice; write each once")
    return tuple(listed)


def cidrs(found: object) -> tuple[Cidr, ...]:
    """Networks without duplicates, which Envoy rejects in a filter chain."""
    return tuple(dict.fromkeys(entries(found, "[10.0.0.0/8]", _cidr)))


def upgrades(found: object) -> tuple[str, ...]:
    """Tokens of the Upgrade header in lower case, sorted."""
    return tuple(sorted(set(entries(found, "[websocket]", _upgrade, _MOST_UPGRADES))))


def _address(found: object) -> str:
    written = text(found)
    address = ip_text(written)
    if address is None:
        raise ValueProblem(f"{shown(written)} is no IP address; write {EVERY_IPV4} or {EVERY_IPV6}")
    known = ip_address(address)
    if known in _MAPPED:
        raise ValueProblem(f"{shown(written)} is IPv4 written as IPv6; write {_unmapped(known.packed)}")
    if known.version == 6 and known.is_link_local:  # noqa: PLR2004 - IPv6
        raise ValueProblem(f"{shown(written)} needs an interface, which is not supported; write {EVERY_IPV6}")
    if known.is_multicast or address == _BROADCAST:
        raise ValueProblem(
            f"{shown(written)} is not an address to listen on; write {EVERY_IPV4} or {EVERY_IPV6}"
        )
    return address


def _unmapped(packed: bytes) -> IPv4Address:
    return IPv4Address(packed[-4:])


def _cidr(found: object) -> Cidr:
    written = text(found)
    wrong = ValueProblem(f"{shown(written)} is no network; write 10.0.0.0/8 or fd00::/8")
    # No interface (%eth0), and no netmask, whose two notations could be confused.
    if not _NETWORK.fullmatch(written):
        raise wrong
    try:
        network = ip_network(written, strict=False)
    except ValueError:
        raise wrong from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        plain = f"{_unmapped(network.network_address.packed)}/{network.prefixlen - _MAPPED.prefixlen}"
        raise ValueProblem(f"{shown(written)} is IPv4 written as IPv6; write {plain}")
    try:
        ip_network(written)
    except ValueError:
        raise ValueProblem(f"{shown(written)} names a host in a network; write {network}") from None
    return Cidr(str(network.network_address), network.prefixlen)


def _upgrade(found: object) -> str:
    written = text(found)
    if not _UPGRADE.fullmatch(written) or len(written) > _LONGEST_UPGRADE:
        raise ValueProblem(f"{shown(written)} is not a protocol for Upgrade; write websocket")
    if written.lower() in _TUNNELS:
        raise ValueProblem(f"{shown(written)} would make the gateway an open proxy; leave it out")
    if written.lower() == "h2c":
        raise ValueProblem("'h2c' is never forwarded by Envoy; leave it out, clients can begin with HTTP/2")
    return written.lower()
