"""The interface between a source of Kubernetes objects and the pipeline.

It has no buffer. `base.aio.Mailbox`, behind a `Sink`, coalesces changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xds_server.core.objects import Kind
from xds_server.core.world import Change


@dataclass(slots=True)
class WatchCounts:
    """Counters of the watches of one kind, since the start. `lists` are complete lists, with the first one.
    `resumes` are watches that resumed at the version at which another had ended."""

    lists: int = 0
    resumes: int = 0
    events: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The health of a source. `message` describes it, without the last full stop. `outage_s` is for how many
    seconds requests have failed or been rejected; None if they succeed. `outages` is the same for each kind,
    with 0 if requests succeed. `silence` is, for each watched kind, the longest time in seconds for which one
    of its watches has received nothing, not even a bookmark. `outages`, `watches` and `silence` are empty for
    a source without watches."""

    message: str
    outage_s: float | None = None
    outages: Mapping[Kind, float] = field(default_factory=dict)
    watches: Mapping[Kind, WatchCounts] = field(default_factory=dict)
    silence: Mapping[Kind, float] = field(default_factory=dict)


class Sink(Protocol):
    """Takes the changes that a source observes. Its methods do not wait, so a slow consumer never blocks a
    source."""

    def put(self, changes: Iterable[Change]) -> None:
        """Take changes that belong together, in order."""

    def synced(self) -> None:
        """Called once, after the changes of the first full sync were put."""


class Source(Protocol):
    """Observes Kubernetes objects while it runs."""

    def health(self) -> Health:
        """The current health."""

    async def run(self, sink: Sink) -> None:
        """Put changes until cancelled, and then end all tasks, threads and sessions.

        Raises `SourceError` if the source cannot be opened. A later failure is a `Report`: the objects last
        known stay in use, and the source retries.
        """
