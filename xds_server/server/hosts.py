"""Under which names the page is answered.

A page from elsewhere can have its own name point to this server's address (DNS rebinding), and would then
read what is for this machine alone; its requests say that name in ``Host``. Pure.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LOCAL: Final = "localhost"


def is_ours(host: str, listening: str, names: Collection[str]) -> bool:
    """Whether the header ``Host`` says localhost, a loopback address, the address that the connection came
    to (`listening`), or one of `names`, whatever the port."""
    name = _without_port(host).lower().removesuffix(".")
    address = _address(name)
    if address is None:
        return name == LOCAL or name in names
    return address.is_loopback or address == _address(listening) or name in names


def _without_port(host: str) -> str:
    return host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
