"""Where the source puts its changes, and how long the pipeline's loop gathers them."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final

from xds_server.base.aio import Debounce, Mailbox
from xds_server.core.world import Awaiting, Change, key_of

AT_MOST_S: Final = 0.5
DEBOUNCE: Final = partial(Debounce, quiet=0.02, at_most=AT_MOST_S, few=4, lately=0.25)
"""A burst of changes is one push. The Pods of a canary end the wait that its label began."""


def _ends_a_wait(change: Change) -> bool:
    return isinstance(change, Awaiting) and not change.waiting


class Intake:
    """Sources put the changes that they observe here; the pipeline's loop takes them."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[Change] = Mailbox(key_of, _ends_a_wait)
        self.complete = asyncio.Event()

    def put(self, changes: Iterable[Change]) -> None:
        self.mailbox.put(changes)

    def synced(self) -> None:
        self.complete.set()
