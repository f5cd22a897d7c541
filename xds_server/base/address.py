"""Addresses to listen on or connect to."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

from xds_server.base.errors import UsageError

MAX_PORT: Final = 65535


class Address(NamedTuple):
    """A host and a port to listen on or connect to. With port 0 the system chooses one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def ip_text(text: str) -> str | None:
    """An IP address in its canonical form; None if the text is not an IP address. An address with an
    interface, such as ``fe80::1%eth0``, is not accepted."""
    try:
        return None if "%" in text else str(ip_address(text))
    except ValueError:
        return None


def outward_addresses() -> Iterator[str]:
    """The addresses of this machine as others see them, one for each address family with a route. Nothing is
    sent: connecting a datagram socket only selects the address."""
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((anywhere, 9))
                yield str(probe.getsockname()[0])
        except OSError:
            continue


def parse_addresses(text: str, *, option: str) -> frozenset[str]:
    """Comma-separated IP addresses, in canonical form.

    Raises:
        UsageError: an entry is not an IP address; the message names `option`.
    """
    found = {entry: ip_text(entry.strip()) for entry in text.split(",") if entry.strip()}
    for entry, address in found.items():
        if address is None:
            raise UsageError(f"{option}: {entry.strip()!r} is not an IP address; write 10.0.0.5,fd00::5")
    return frozenset(address for address in found.values() if address)


def parse_address(text: str, *, option: str, example: int = 18000) -> Address:
    """``HOST:PORT`` or ``[IPv6]:PORT``. `example` is the port that an error message shows.

    Raises:
        UsageError: the text has another form; the message names `option`.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in bare) != host.startswith("[") or not port.isdecimal():
        raise UsageError(
            f"{option}: {text!r} is not HOST:PORT, such as 127.0.0.1:{example} or [::1]:{example}"
        )
    if int(port) > MAX_PORT:
        raise UsageError(f"{option}: port {port} is above {MAX_PORT}")
    return Address(bare, int(port))
