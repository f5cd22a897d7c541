"""How much of the event loop the requests of one address may take. Everything that is sent is made on it, so
a peer that sends requests without end would make all others wait.

What counts is the time that requests took. Small ones, as acknowledgements are, and large ones are counted
apart, so that who shares an address with a peer that sends large ones is still heard. Of the large ones, one
that takes long counts for more than its time: nobody is served during it. Over its share, a peer's next
request is not looked at for a while, and as nothing more is read of it then, TCP holds it up. Pure: time is
an argument.
"""

from dataclasses import dataclass
from typing import Final

from xds_server.base.errors import RequestLimitError
from xds_server.base.sizes import MIB

_MANY: Final = 1_000
"""Accounts from which on those that are even are looked for."""

_LEAST_S: Final = 1e-6
"""Less than this nobody waits for: a clock may not tell it from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """Of the requests of one address: of a second, they may take a `small_share` and a `large_share`, after a
    first `small_burst` and `large_burst` seconds. Requests are large from `large` bytes on. One of those
    that takes `long` seconds counts twice its time, one of twice as many three times, and so on. `waiting`
    bytes of them may wait."""

    large: int = 64 * 1024
    small_share: float = 0.25
    small_burst: float = 3.0
    large_share: float = 0.5
    large_burst: float = 1.0
    long: float = 0.1
    waiting: int = 128 * MIB


@dataclass(slots=True)
class _Account:
    """Seconds that a peer may still take, `left` as of `at`."""

    share: float
    burst: float
    left: float
    at: float

    def earn(self, now: float) -> None:
        self.left = min(self.burst, self.left + max(0.0, now - self.at) * self.share)
        self.at = now


class Pace:
    """Knows what every address took lately. Times are seconds of any clock that goes on."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._small: dict[str, _Account] = {}
        self._large: dict[str, _Account] = {}
        self._waiting: dict[str, int] = {}
        self._most = _MANY

    def wait(self, peer: str, size: int, now: float) -> float:
        """For how long a request of so many bytes may not be looked at yet; 0 if it may."""
        accounts = self._small if size < self._limits.large else self._large
        if (account := accounts.get(peer)) is None:
            return 0.0
        account.earn(now)
        return -account.left / account.share if account.left < -_LEAST_S else 0.0

    def spend(self, peer: str, size: int, seconds: float, now: float) -> None:
        """A request took so long."""
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
        """A request of so many bytes waits from now on.

        Raises:
            RequestLimitError: too much of this peer's waits already.
        """
        waiting = self._waiting.get(peer, 0) + size
        if waiting > self._limits.waiting:
            shown = self._limits.waiting // MIB
            raise RequestLimitError(f"the requests of this address that wait take more than {shown} MiB")
        self._waiting[peer] = waiting

    def release(self, peer: str, size: int) -> None:
        """It waits no more."""
        self._waiting[peer] -= size
        if not self._waiting[peer]:
            del self._waiting[peer]

    def _forget_even(self, now: float) -> None:
        """Forget who has all of a burst again, once there are many."""
        if len(self._small) + len(self._large) < self._most:
            return
        for accounts in (self._small, self._large):
            for peer, account in tuple(accounts.items()):
                account.earn(now)
                if account.left >= account.burst:
                    del accounts[peer]
        self._most = max(_MANY, 2 * (len(self._small) + len(self._large)))
