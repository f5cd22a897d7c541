"""Measures how long changes take to reach the fleet: from reading a change to the last ACK or NACK for it."""

from dataclasses import dataclass, field

from xds_server.base.latency import Latencies, Latency


@dataclass(frozen=True, slots=True)
class Delivered:
    """The durations of converged commits, and for how many seconds the oldest change that has not converged
    has waited; 0 if there is none."""

    took: Latency = field(default_factory=Latency)
    waiting_s: float = 0.0


class Delivery:
    """Follows commits by number. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}  # in ascending order
        self._took = Latencies()

    def committed(self, generation: int, *, seen: float) -> None:
        """A commit whose oldest change was read at `seen`. Numbers ascend."""
        self._seen[generation] = seen

    def converged(self, generation: int, *, answered: bool, at: float) -> None:
        """The fleet has converged on all commits up to this one. Commits that no stream had to answer are not
        measured."""
        while self._seen and (first := next(iter(self._seen))) <= generation:
            seen = self._seen.pop(first)
            if answered:
                self._took.note(at - seen)

    def view(self, now: float) -> Delivered:
        """The figures as of `now`."""
        oldest = min(self._seen.values(), default=now)
        return Delivered(self._took.view(), max(0.0, now - oldest))
