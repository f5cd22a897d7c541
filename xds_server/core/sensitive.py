"""Text that must not appear in logs, tracebacks or assertions."""

from typing import Final

_HIDDEN: Final = "(hidden)"


class Sensitive:
    """Holds a text in `reveal` and never prints it. Two are equal if their texts are."""

    __slots__ = ("reveal",)

    def __init__(self, reveal: str) -> None:
        self.reveal: Final = reveal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self.reveal == other.reveal

    def __hash__(self) -> int:
        return hash(self.reveal)

    def __repr__(self) -> str:
        return _HIDDEN
