"""Who connects to the fleet's port with TLS and leaves without a call, as whoever is refused in the handshake
does.

gRPC keeps a failed handshake to itself: it says why in its own log if asked to (``GRPC_VERBOSITY=INFO``), and
nowhere who it was. But it asks for the certificates at every handshake, and the connection is among the files
of this process then (Linux). One that is gone later, and had no call, led to nothing. Why is not known here.

Sockets are looked at by number and never duplicated, which would hold them open.
"""

import asyncio
import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import unquote

from xds_server.ads.events import Cause, StreamDenied
from xds_server.base.ids import StreamId

_LEFT: Final = (
    "its connection ended without a call: it has no certificate, or one that has expired or that"
    " --tls-client-ca did not sign, or speaks plain text, or does not trust --tls-cert, or only tried whether"
    " the port is open"
)
_FILES: Final = "/proc/self/fd"
_SWEPT_EVERY_S: Final = 0.5
_SHARE: Final = 0.1
_SAVED_S: Final = 0.1
"""Handshakes may make for looks during a tenth of the time, and of what was not used of it so much is kept: a
look costs the more the more connections there are, and a whole fleet may come back at once. Who is missed by
that comes again, as those do who are refused."""


class _Peer(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        """In gRPC's words."""
        return f"ipv6:%5B{self.host}%5D:{self.port}" if ":" in self.host else f"ipv4:{self.host}:{self.port}"


def left(peer: str) -> StreamDenied:
    """The event of it."""
    return StreamDenied(stream=StreamId(0), peer=peer, reason=_LEFT, cause=Cause.HANDSHAKE)


_Sockets = Mapping[int, _Peer | None]
"""The sockets of this process by inode; None is one that is no connection to the port."""


class Handshakes:
    """Does nothing until `start`. `left` is called on the event loop with whoever left without a call, in
    gRPC's words."""

    def __init__(self, left: Callable[[str], None]) -> None:
        self._left = left
        self._lock = threading.Lock()
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._allowed_s = _SAVED_S
        self._looked = time.monotonic()
        self._sockets: _Sockets = {}
        self._waiting: set[_Peer] = set()  # were seen, and have had no call yet
        self._unseen: set[_Peer] = set()  # have had a call since the last look
        self._gone: set[_Peer] = set()  # of those who wait, at the last sweep

    def start(self, port: int) -> None:
        """The running loop's server listens there."""
        self._port, self._loop = port, asyncio.get_running_loop()

    def stop(self) -> None:
        """Tell of no one any more: from now on it is this server that ends connections."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    def begun(self) -> None:
        """A handshake is about to begin; from any thread, which has just accepted the connection."""
        if (loop := self._loop) is None:
            return
        with self._lock:
            if self._allowed_s + _SHARE * (time.monotonic() - self._looked) > 0:
                self._look()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._sweep_later)

    def called(self, peer: str) -> None:
        """A call has come from `peer`, in gRPC's words: its handshake is done."""
        if self._loop is None or (found := _parsed(peer)) is None:
            return
        with self._lock:
            if found in self._waiting:
                self._waiting.remove(found)
            else:
                self._unseen.add(found)

    def _look(self) -> None:
        began = time.monotonic()
        sockets = _sockets(self._port, self._sockets)
        new = {peer for inode, peer in sockets.items() if peer is not None and inode not in self._sockets}
        self._waiting |= new - self._unseen
        # Whoever called before is known now, or has gone.
        self._unseen.clear()
        self._sockets = sockets
        saved = min(_SAVED_S, self._allowed_s + _SHARE * (began - self._looked))
        self._looked = time.monotonic()
        self._allowed_s = saved - (self._looked - began)

    def _sweep_later(self) -> None:
        if self._loop is not None and self._timer is None:
            self._timer = self._loop.call_later(_SWEPT_EVERY_S, self._sweep)

    def _sweep(self) -> None:
        """Tell of those that were gone at the last sweep, too: a call that came before the end may still be
        on its way through the event loop."""
        self._timer = None
        with self._lock:
            self._look()
            gone = self._waiting.difference(self._sockets.values())
            left = gone & self._gone
            self._waiting -= left
            self._gone = gone - left
            more = bool(self._waiting)
        for peer in sorted(left):
            self._left(str(peer))
        if more:
            self._sweep_later()


def _sockets(port: int, known: _Sockets) -> _Sockets:
    """Those of now; none where the system does not tell. Only those that are not `known` are asked."""
    found: dict[int, _Peer | None] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(_FILES):
            with contextlib.suppress(OSError):  # it was closed meanwhile
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode):
                    inode = status.st_ino
                    found[inode] = known[inode] if inode in known else _peer_of(int(name), port)
    return found


def _peer_of(descriptor: int, port: int) -> _Peer | None:
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.getsockname()[1] != port:
            return None
        host, number = borrowed.getpeername()[:2]
        return _Peer(_plain(host), number)
    except OSError:  # it listens, or was cut already
        return None
    finally:
        borrowed.detach()  # it is gRPC's


def _parsed(peer: str) -> _Peer | None:
    """What gRPC calls a peer: ``ipv4:10.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``."""
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    try:
        return _Peer(_plain(host.strip("[]")), int(port)) if kind in ("ipv4", "ipv6") else None
    except ValueError:  # not what is known of gRPC; it costs no call
        return None


def _plain(host: str) -> str:
    """Without a zone, and IPv4 as such: gRPC and the system write them differently."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
