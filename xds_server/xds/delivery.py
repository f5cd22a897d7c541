"""How long changes take to reach the fleet: from seeing one to the last acknowledgement of what it led to."""

from dataclasses import dataclass, field

from xds_server.base.latency import Latencies, Latency


@dataclass(frozen=True, slots=True)
class Delivered:
    """Of those that have arrived, how long it took; of those that have not, for how many seconds the eldest
    has been under way, or 0."""

    took: Latency = field(default_factory=Latency)
    waiting_s: float = 0.0


class Delivery:
    """Follows commits by their numbers. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}  # in order
        self._took = Latencies()

    def committed(self, generation: int, *, seen: float) -> None:
        """A commit whose eldest change was seen then; numbers grow."""
        self._seen[generation] = seen

    def converged(self, generation: int, *, answered: bool, at: float) -> None:
        """The fleet has all commits up to this one; what nobody had to answer is not measured."""
        while self._seen and (first := next(iter(self._seen))) <= generation:
            seen = self._seen.pop(first)
            if answered:
                self._took.note(at - seen)

    def view(self, now: float) -> Delivered:
        """As it is `now`."""
        eldest = min(self._seen.values(), default=now)
        return Delivered(self._took.view(), max(0.0, now - eldest))
