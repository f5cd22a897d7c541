"""The incremental engine: an output for each key, made one key at a time, with a boundary around each.

What raises for one key costs that key its update and nobody else anything: it keeps its last good output, the
error is kept beside it, and it is made again when its inputs change.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Engine(Generic[K, V]):
    """`make` gives a key's output from its last good one; an output equal to `nothing` is not kept."""

    def __init__(self, make: Callable[[K, V], V], nothing: V) -> None:
        self._make = make
        self._nothing = nothing
        self._outputs: dict[K, V] = {}
        self._errors: dict[K, Exception] = {}

    @property
    def errors(self) -> Mapping[K, Exception]:
        """Of the keys that could not be made when last tried."""
        return self._errors

    def get(self, key: K) -> V:
        """The last good output of a key."""
        return self._outputs.get(key, self._nothing)

    def fail(self, key: K, error: Exception) -> None:
        """Note that a key could not be made, for a reason that lies outside of `make`."""
        self._errors[key] = error

    def restore(self, key: K, output: V, error: Exception) -> None:
        """Take an output back: it cannot be used."""
        self._errors[key] = error
        self._outputs.pop(key, None)
        if output != self._nothing:
            self._outputs[key] = output

    def update(self, keys: Iterable[K]) -> dict[K, V]:
        """Make `keys` anew, in order; return those whose output is not what it was, with what it was."""
        moved: dict[K, V] = {}
        for key in keys:
            before = self.get(key)
            try:
                after = self._make(key, before)
            except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it costs this key alone
                self._errors[key] = error
                continue
            self._errors.pop(key, None)
            if after == before:
                continue
            moved[key] = before
            if after == self._nothing:
                del self._outputs[key]
            else:
                self._outputs[key] = after
        return moved
