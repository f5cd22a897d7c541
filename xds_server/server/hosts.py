"""Checks the ``Host`` of requests for the live page, against DNS rebinding.

A foreign web page can let its own host name resolve to this server's address and then read the API from the
user's browser. Its requests have that host name in ``Host``. Pure.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LOCAL: Final = "localhost"


def is_ours(host: str, listening: str, names: Collection[str]) -> bool:
    """Whether the header ``Host`` is localhost, a loopback address, the local address of the connection
    (`listening`) or one of `names`. The port is ignored."""
    name = without_port(host).lower().removesuffix(".")
    address = _address(name)
    if address is None:
        return name == LOCAL or name in names
    return address.is_loopback or address == _address(listening) or name in names


def without_port(host: str) -> str:
    """The name or address in a header ``Host``."""
    return host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
