"""One Envoy's side of a stream, without I/O: a response in, the requests that answer it out, and a count of
what came.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.peers.requests import Requests
from bench.peers.wire import Head, head_of


@dataclass(frozen=True, slots=True)
class Expected:
    """What is due to every stream: so many responses by type, and the mark in one of each of `marked`.
    `renames` says that the names of the assignments change with the clusters."""

    need: Mapping[bytes, int]
    mark: bytes = b""
    marked: Sequence[bytes] = ()
    renames: bool = False


@dataclass(slots=True)
class Tally:
    """What a stream got since it was last told what to expect."""

    responses: Counter[bytes] = field(default_factory=Counter)
    size: int = 0
    unmarked: set[bytes] = field(default_factory=set)
    """Types of which the marked response is still missing."""


class Envoy:
    """`types` begins with clusters, then assignments. Everything is accepted at once: a real Envoy warms
    first, which the servers must not wait for."""

    def __init__(self, requests: Requests, types: Sequence[bytes]) -> None:
        self.tally = Tally()
        self.satisfied = False
        self._requests = requests
        self._types = types
        self._clusters, self._assignments = types[0], types[1]
        self._last: dict[bytes, Head] = {}
        self._expected = Expected({})
        self._to_open: Sequence[bytes] = ()
        self._to_rename = False

    def opening(self, *, resume: bool) -> list[bytes]:
        """The requests with which a stream begins. Only who comes back knows more types than clusters."""
        self._last.clear()
        at_once = self._types if resume else self._types[:1]
        self._to_open = self._types[len(at_once) :]
        return [
            self._requests.opening(type_url, first=not number, resume=resume)
            for number, type_url in enumerate(at_once)
        ]

    def expect(self, expected: Expected) -> None:
        """Count anew from here."""
        self._expected = expected
        self._to_rename = expected.renames
        self.tally = Tally(unmarked=set(expected.marked))
        self.satisfied = False

    def answers(self, raw: bytes) -> list[bytes]:
        """What to send for a response.

        Raises:
            ValueError: it cannot be read.
        """
        head = head_of(raw, self._types)
        type_url = head.type_url
        self._last[type_url] = head
        tally = self.tally
        tally.responses[type_url] += 1
        tally.size += len(raw)
        if type_url in tally.unmarked and self._expected.mark in raw:
            tally.unmarked.discard(type_url)
        found = [self._requests.ack(head)]
        if type_url == self._clusters and (self._to_open or self._to_rename):
            found += self._follow_up()
        return found

    def newly_satisfied(self) -> bool:
        """Whether all that is due has come with the last response; true once."""
        if self.satisfied or self.tally.unmarked:
            return False
        responses = self.tally.responses
        self.satisfied = all(responses[each] >= number for each, number in self._expected.need.items())
        return self.satisfied

    def _follow_up(self) -> list[bytes]:
        """Clusters have come: ask for what they need."""
        found = [self._requests.opening(each, first=False, resume=False) for each in self._to_open]
        self._to_open = ()
        if self._to_rename and self._assignments in self._last:
            found.append(self._requests.renamed(self._last[self._assignments]))
        self._to_rename = False
        return found
