"""Keeps an error of ours that one Service or shadow causes from all others. What is served has its own
(`core.engine`); this is for what is counted and shown beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_log = structlog.stdlib.get_logger(__name__)


@contextmanager
def alone(what: str, subject: object) -> Iterator[None]:
    """Log an exception of the block instead of raising it. `what` was being done for the `subject`."""
    try:
        yield
    except Exception:  # noqa: BLE001 - a bug in one must not cost the others anything
        _log.exception("shadow failed", subject=str(subject), what=what)
