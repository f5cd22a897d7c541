"""How many log lines a peer can cause. Pure: time is an argument.

What a peer does in a loop is logged once a minute; the next line says how many were left out in between.
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
    left_out: int = 0


class LogLimit:
    """Admits `lines` lines of a key in `EVERY_S` seconds. So many keys are remembered as `keys` says; those
    beyond share one."""

    def __init__(self, *, lines: int = 1, keys: int = _KEYS) -> None:
        self._lines = lines
        self._keys = keys
        self._windows: dict[Hashable, _Window] = {}  # the one that began first comes first

    def admit(self, key: Hashable, *, now: float) -> int | None:
        """How many lines of `key` were left out since the last one; None if this one is to be left out. `now`
        is in seconds of any clock; one that is set back begins a new window."""
        window = self._windows.get(key)
        if window is None:
            self._make_room(now)
            if len(self._windows) >= self._keys:
                key = _OTHERS
            window = self._windows.setdefault(key, _Window(now))
        left_out = 0
        if _is_over(window, now):
            left_out = window.left_out
            del self._windows[key]
            window = self._windows[key] = _Window(now)
        if window.written >= self._lines:
            window.left_out += 1
            return None
        window.written += 1
        return left_out

    def _make_room(self, now: float) -> None:
        """Forget windows that are over, and with them what was left out."""
        while len(self._windows) >= self._keys:
            key, window = next(iter(self._windows.items()))
            if not _is_over(window, now):
                return
            del self._windows[key]


def _is_over(window: _Window, now: float) -> bool:
    return not 0 <= now - window.began < EVERY_S


def omitted(count: int) -> dict[str, int]:
    """For a log line: how many were left out since the last, if any."""
    return {"left_out": count} if count else {}
