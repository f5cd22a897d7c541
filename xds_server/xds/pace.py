"""Limits how much time the requests of one address may take on the event loop. All responses are made on the
same loop, so a peer that floods it with requests would delay all others.

The limit is on processing time. Small requests, such as ACKs, and large requests have separate accounts, so a
client that shares its address with a peer that sends large requests is still served. A large request that
takes long counts for more than its time, because nothing else runs meanwhile. A peer over its share has its
next request delayed. Meanwhile nothing more is read from it, so TCP flow control slows it down. Pure: time is
an argument.
"""

from dataclasses import dataclass
from typing import Final

from xds_server.base.errors import RequestLimitError
from xds_server.base.sizes import MIB

_MANY: Final = 1_000
"""From this many accounts on, full accounts are removed."""

_LEAST_S: Final = 1e-6
"""Shorter delays are ignored: a clock may not resolve them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """The limits for the requests of one address. In each second they may take `small_share` and
    `large_share` of the loop's time, after initial bursts of `small_burst` and `large_burst` seconds. A
    request is large from `large` bytes on. A large request that takes `long` seconds counts twice its time,
    one that takes twice as long three times, and so on. At most `waiting` bytes of requests may wait."""

    large: int = 64 * 1024
    small_share: float = 0.25
    small_burst: float = 3.0
    large_share: float = 0.5
    large_burst: float = 1.0
    long: float = 0.1
    waiting: int = 128 * MIB


@dataclass(slots=True)
class _Account:
    """The seconds that a peer may still take: `left` as of `at`."""

    share: float
    burst: float
    left: float
    at: float

    def earn(self, now: float) -> None:
        self.left = min(self.burst, self.left + max(0.0, now - self.at) * self.share)
        self.at = now


class Pace:
    """Counts the recent processing time of every address. Times are in seconds of a monotonic clock."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._small: dict[str, _Account] = {}
        self._large: dict[str, _Account] = {}
        self._waiting: dict[str, int] = {}
        self._most = _MANY

    def wait(self, peer: str, size: int, now: float) -> float:
        """For how many seconds a request of `size` bytes must wait; 0 if it may be handled now."""
        accounts = self._small if size < self._limits.large else self._large
        if (account := accounts.get(peer)) is None:
            return 0.0
        account.earn(now)
        return -account.left / account.share if account.left < -_LEAST_S else 0.0

    def spend(self, peer: str, size: int, seconds: float, now: float) -> None:
        """A request was handled and took this time."""
        limits = self._limits
        if size < limits.large:
            accounts, share, burst, cost = self._small, limits.small_share, limits.small_burst, seconds
        else:
            accounts, share, burst = self._large, limits.large_share, limits.large_burst
            cost = seconds * (1 + seconds / limits.long)
        account = accounts.get(peer)
        if account is None:
            self._forget_even(now)
            account = accounts[peer] = _Account(share, burst, burst, now)
        account.earn(now)
        account.left -= cost

    def hold(self, peer: str, size: int) -> None:
        """A request of `size` bytes starts to wait.

        Raises:
            RequestLimitError: the waiting requests of this peer take too much memory.
        """
        waiting = self._waiting.get(peer, 0) + size
        if waiting > self._limits.waiting:
            shown = self._limits.waiting // MIB
            raise RequestLimitError(f"the waiting requests of this address take more than {shown} MiB")
        self._waiting[peer] = waiting

    def release(self, peer: str, size: int) -> None:
        """A request no longer waits."""
        self._waiting[peer] -= size
        if not self._waiting[peer]:
            del self._waiting[peer]

    def _forget_even(self, now: float) -> None:
        """Once there are many accounts, remove those that have their full burst again."""
        if len(self._small) + len(self._large) < self._most:
            return
        for accounts in (self._small, self._large):
            for peer, account in tuple(accounts.items()):
                account.earn(now)
                if account.left >= account.burst:
                    del accounts[peer]
        self._most = max(_MANY, 2 * (len(self._small) + len(self._large)))
