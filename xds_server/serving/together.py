"""Several servers as if they were one: the fleet has a commit when the streams of all servers have it."""

from collections.abc import Callable, Hashable

from xds_server.ads.convergence import Converged


class Together:
    """`tell` is called as one server would call it. A server may have skipped commits: the next one that it
    was given includes them."""

    def __init__(self, tell: Callable[[Converged], None]) -> None:
        self._tell = tell
        self._reached: dict[Hashable, int] = {}
        self._told = 0
        self._answered: list[tuple[int, int]] = []  # the first and the last commit of those that were
        self._at = 0.0

    def join(self, server: Hashable, generation: int, at: float) -> None:
        """A server that has no stream yet, and so nothing to catch up with."""
        self._reached[server] = generation
        self._advance(at)

    def leave(self, server: Hashable, at: float) -> None:
        """A server has ended, and so have its streams."""
        self._reached.pop(server, None)
        self._advance(at)

    def note(self, server: Hashable, converged: Converged) -> None:
        """What a server says."""
        before, self._reached[server] = self._reached[server], converged.generation
        if converged.answered:
            self._answered.append((before + 1, converged.generation))
        self._advance(converged.at)

    def _advance(self, at: float) -> None:
        self._at = max(self._at, at)
        least = min(self._reached.values(), default=self._told)
        if least > self._told:
            self._told = least
            answered = any(first <= least for first, _ in self._answered)
            self._answered = [(first, last) for first, last in self._answered if last > least]
            self._tell(Converged(least, answered, self._at))
