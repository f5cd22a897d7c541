"""Limits the rate of Events. Time is an argument, in seconds of any monotonic clock.

A shadow that changes every second is reported a few times, and then its latest state now and then. However
much changes at once, the API server gets a few requests a second.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from xds_server.core.conditions import Condition, Subject
from xds_server.core.objects import Kind

MAX_WAITING: Final = 10_000
"""Conditions. Beyond it the oldest is dropped; `status` still shows it."""

_MAX_BUCKETS: Final = 10_000
_MOMENT_S: Final = 1e-6  # sums of floats are not exact


@dataclass(slots=True)
class _Bucket:
    """A token bucket that admits `burst` at once, and then one in every `every` seconds."""

    burst: int
    every: float
    tokens: float
    at: float

    def wait(self, now: float) -> float:
        """Seconds until the next is admitted; 0 means now."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) / self.every)
        self.at = now
        wait = (1.0 - self.tokens) * self.every
        return wait if wait > _MOMENT_S else 0.0

    def full(self, now: float) -> bool:
        """Whether `burst` would be admitted at once."""
        self.wait(now)
        return self.tokens >= self.burst

    def take(self) -> None:
        """Admit one."""
        self.tokens -= 1.0


class _Waiting(NamedTuple):
    """A condition, when it was put, and whether it is fresh."""

    condition: Condition
    since: float
    fresh: bool


def _topic(condition: Condition) -> tuple[Subject, str]:
    """Of two conditions on one topic only the later is written. A shadow has one state at a time, and a
    Service may have several conditions."""
    return condition.subject, condition.reason if condition.subject.kind == Kind.SERVICE else ""


class EventQueue:
    """A queue of conditions, the latest of each topic, oldest topic first. One that is not `fresh` may have
    been written by another replica. Times have to be given in ascending order."""

    def __init__(
        self,
        *,
        object_burst: int = 5,
        object_every: float = 10.0,
        all_burst: int = 50,
        all_every: float = 0.1,
    ) -> None:
        self.dropped = 0
        self._object = (object_burst, object_every)
        self._all = _Bucket(all_burst, all_every, all_burst, 0.0)
        self._buckets: dict[Subject, _Bucket] = {}
        self._waiting: dict[tuple[Subject, str], _Waiting] = {}
        self._held: dict[str, float] = {}  # until when, by namespace

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, condition: Condition, *, now: float, fresh: bool) -> None:
        """Queue `condition`. It replaces an older one on its topic."""
        self._waiting.pop(_topic(condition), None)
        self._waiting[_topic(condition)] = _Waiting(condition, now, fresh)
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1

    def put_back(self, condition: Condition, *, now: float, fresh: bool) -> None:
        """Queue `condition` again, which was taken and could not be written, unless a newer one on its topic
        is queued. The attempt does not count against the rate."""
        self._all.tokens += 1.0
        if condition.subject in self._buckets:
            self._buckets[condition.subject].tokens += 1.0
        if _topic(condition) not in self._waiting:
            self.put(condition, now=now, fresh=fresh)

    def hold(self, namespace: str, *, now: float, seconds: float) -> None:
        """Take nothing of `namespace` for a while. The other namespaces are not affected."""
        self._held = {each: until for each, until in self._held.items() if until > now}
        self._held[namespace] = now + seconds

    def forget(self, *, before: float) -> None:
        """Drop what was put before that time, because the leader has written it."""
        while self._waiting and next(iter(self._waiting.values())).since < before:
            del self._waiting[next(iter(self._waiting))]

    def doubt(self) -> None:
        """Mark everything that is queued as not fresh."""
        self._waiting = {topic: each._replace(fresh=False) for topic, each in self._waiting.items()}

    def take(self, now: float) -> tuple[Condition, bool] | None:
        """The condition to write now, and whether it is fresh; None if there is none yet (see `wait`)."""
        if self._all.wait(now):
            return None
        for topic, (condition, _, fresh) in self._waiting.items():
            if not self._wait_of(condition.subject, now):
                del self._waiting[topic]
                self._bucket(condition.subject, now).take()
                self._all.take()
                return condition, fresh
        return None

    def wait(self, now: float) -> float | None:
        """Seconds until `take` returns a condition; None if none is queued."""
        if not self._waiting:
            return None
        soonest = float("inf")
        for condition, _, _ in self._waiting.values():
            soonest = min(soonest, self._wait_of(condition.subject, now))
            if not soonest:  # usually the first can be taken, so thousands need not be checked
                break
        return max(self._all.wait(now), soonest)

    def _wait_of(self, subject: Subject, now: float) -> float:
        bucket = self._buckets.get(subject)
        held = self._held.get(subject.namespace, now) - now
        return max(0.0, held, bucket.wait(now) if bucket else 0.0)

    def _bucket(self, subject: Subject, now: float) -> _Bucket:
        found = self._buckets.get(subject)
        if found is None:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._buckets = {
                    each: bucket for each, bucket in self._buckets.items() if not bucket.full(now)
                }
            burst, every = self._object
            found = self._buckets[subject] = _Bucket(burst, every, burst, now)
        return found
