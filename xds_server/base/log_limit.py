"""Limits how many log lines a peer can cause. Pure: time is an argument.

What a peer does repeatedly is logged once per minute; the next line has the number of lines that were
omitted.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

EVERY_S: Final = 60.0
_KEYS: Final = 1000
_OTHERS: Final = object()


@dataclass(slots=True)
class _Window:
    began: float
    written: int = 0
    omitted_lines: int = 0


class LogLimit:
    """Admits `lines` lines of a key in `EVERY_S` seconds. Up to `keys` keys have a window of their own; all
    others share one."""

    def __init__(self, *, lines: int = 1, keys: int = _KEYS) -> None:
        self._lines = lines
        self._keys = keys
        self._windows: dict[Hashable, _Window] = {}  # in the order in which the windows began

    def admit(self, key: Hashable, *, now: float) -> int | None:
        """The number of lines of `key` that were omitted since the last one; None if this one must be
        omitted. `now` is in seconds of any clock; if the clock is set back, a new window begins."""
        window = self._windows.get(key)
        if window is None:
            self._make_room(now)
            if len(self._windows) >= self._keys:
                key = _OTHERS
            window = self._windows.setdefault(key, _Window(now))
        omitted_lines = 0
        if _is_over(window, now):
            omitted_lines = window.omitted_lines
            del self._windows[key]
            window = self._windows[key] = _Window(now)
        if window.written >= self._lines:
            window.omitted_lines += 1
            return None
        window.written += 1
        return omitted_lines

    def _make_room(self, now: float) -> None:
        """Drop windows that have ended, and their counts of omitted lines."""
        while len(self._windows) >= self._keys:
            key, window = next(iter(self._windows.items()))
            if not _is_over(window, now):
                return
            del self._windows[key]


def _is_over(window: _Window, now: float) -> bool:
    return not 0 <= now - window.began < EVERY_S


def omitted(count: int) -> dict[str, int]:
    """A field for a log line with the number of omitted lines, if any."""
    return {"omitted": count} if count else {}
