"""The contract between a source of Kubernetes objects and the pipeline that consumes them.

It holds no buffer and no policy: `base.aio.Mailbox` behind a `Sink` does the coalescing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xds_server.core.objects import Kind
from xds_server.core.world import Change


@dataclass(slots=True)
class WatchCounts:
    """What the watches of one kind have done since the start. `lists` counts complete lists, the first one
    included; `resumes` watches that went on where another had ended."""

    lists: int = 0
    resumes: int = 0
    events: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a source is. `outage_s` says for how many seconds it has not been answered, or has been refused, or
    is None; `message` is for people; `outages`, `watches` and `silence` are empty for a source without
    watches. `outages` says the same of each kind, 0 if all is well; `silence` of each kind that is followed
    for how many seconds a watch of it has said nothing, no bookmark either: the longest."""

    message: str
    outage_s: float | None = None
    outages: Mapping[Kind, float] = field(default_factory=dict)
    watches: Mapping[Kind, WatchCounts] = field(default_factory=dict)
    silence: Mapping[Kind, float] = field(default_factory=dict)


class Sink(Protocol):
    """Takes what a source observes. Neither call waits, so a source never stalls behind its consumer."""

    def put(self, changes: Iterable[Change]) -> None:
        """Take changes that belong together, in order."""

    def synced(self) -> None:
        """Called once, after the changes of the first full sync were put."""


class Source(Protocol):
    """Observes Kubernetes objects for as long as it runs."""

    def health(self) -> Health:
        """How it is now."""

    async def run(self, sink: Sink) -> None:
        """Put changes until cancelled, and leave no task, thread or session behind.

        Raises `SourceError` if the source cannot be opened at all. Anything that goes wrong later is a
        `Report`: what was last known stays, and the source tries again.
        """
