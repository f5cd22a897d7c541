"""Limits how many streams may be opened. If a whole fleet reconnects at once, streams are admitted at a
bounded rate (rule 22), so that the first ones are served before the last ones arrive. Denied clients retry
with their own backoff. Pure: time is an argument."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from xds_server.xds.stream_events import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """`rate` streams per second after an initial `burst`; at most `per_peer` open streams from one
    address."""

    rate: float = 200.0
    burst: int = 1000
    per_peer: int = 2000


class Denial(NamedTuple):
    """Why a stream is not admitted: a cause for metrics, and a reason for the client."""

    cause: Cause
    reason: str


class Admission:
    """Counts open streams and enforces the limits."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._tokens = float(limits.burst)
        self._at: float | None = None
        self._open: Counter[str] = Counter()

    def admit(self, peer: str, *, now: float) -> Denial | None:
        """Admit a stream of the peer and return None; it counts until `leave`. Or return why it is denied."""
        if self._open[peer] >= self._limits.per_peer:
            return Denial(
                Cause.PEER, f"{self._limits.per_peer} streams are open from this address, which is the limit"
            )
        if self._at is not None:
            earned = max(0.0, now - self._at) * self._limits.rate
            self._tokens = min(float(self._limits.burst), self._tokens + earned)
        self._at = now
        if self._tokens < 1:
            return Denial(Cause.RATE, "too many streams are being opened; try again later")
        self._tokens -= 1
        self._open[peer] += 1
        return None

    def leave(self, peer: str) -> None:
        """An admitted stream has ended."""
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]


def host_of(peer: str) -> str:
    """The address without the port, from gRPC's notation of a peer: ``ipv4:10.0.0.1:5000``,
    ``ipv6:%5B::1%5D:5000``."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer
