"""Bytes that no one may read by accident: in a log, a traceback, an assertion."""

from typing import Final

_HIDDEN: Final = "(hidden)"


class Sensitive:
    """Holds `reveal`; shows nothing of it. Equal if what they hold is."""

    __slots__ = ("reveal",)

    def __init__(self, reveal: str) -> None:
        self.reveal: Final = reveal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self.reveal == other.reveal

    def __hash__(self) -> int:
        return hash(self.reveal)

    def __repr__(self) -> str:
        return _HIDDEN
