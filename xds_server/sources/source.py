"""The contract between a source of Kubernetes objects and the pipeline that consumes them.

It holds no buffer and no policy: `base.aio.Mailbox` behind a `Sink` does the coalescing.
"""

from collections.abc import Iterable
from typing import Protocol

from xds_server.model.world import Change


class Sink(Protocol):
    """Takes what a source observes. Neither call waits, so a source never stalls behind its consumer."""

    def put(self, changes: Iterable[Change]) -> None:
        """Take changes that belong together, in order."""

    def synced(self) -> None:
        """Called once, after the changes of the first full sync were put."""


class Source(Protocol):
    """Observes Kubernetes objects for as long as it runs."""

    async def run(self, sink: Sink) -> None:
        """Put changes until cancelled, and leave no task, thread or session behind.

        Raises `SourceError` if the source cannot be opened at all. Anything that goes wrong later is a
        `Report`: what was last known stays, and the source tries again.
        """
