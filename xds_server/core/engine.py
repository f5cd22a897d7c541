"""The incremental engine: computes one output for each key, one key at a time.

Keys are Services. An exception for one Service affects only that Service: it keeps its last valid output, the
engine records the error, and the output is computed again when an input changes.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Engine(Generic[K, V]):
    """`make` computes the output of a key; its second argument is the last valid output. An output equal to
    `nothing` is not stored."""

    def __init__(self, make: Callable[[K, V], V], nothing: V) -> None:
        self._make = make
        self._nothing = nothing
        self._outputs: dict[K, V] = {}
        self._errors: dict[K, Exception] = {}

    @property
    def errors(self) -> Mapping[K, Exception]:
        """The errors of the keys whose last computation failed."""
        return self._errors

    def get(self, key: K) -> V:
        """The last valid output of a key."""
        return self._outputs.get(key, self._nothing)

    def fail(self, key: K, error: Exception) -> None:
        """Record an error of a key that occurred outside of `make`."""
        self._errors[key] = error

    def restore(self, key: K, output: V, error: Exception) -> None:
        """Replace the output of a key with an earlier one, because of an error with the current one."""
        self._errors[key] = error
        self._outputs.pop(key, None)
        if output != self._nothing:
            self._outputs[key] = output

    def update(self, keys: Iterable[K]) -> dict[K, V]:
        """Compute `keys` again, in order; return the previous output of each key whose output changed."""
        moved: dict[K, V] = {}
        for key in keys:
            before = self.get(key)
            try:
                after = self._make(key, before)
            except Exception as error:  # noqa: BLE001 - the boundary: it affects this key only
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
